"""The workloads on PyTorch, eager, on one thread of the processor."""

import torch
from torch.nn import functional

from .data import RATE

torch.set_num_threads(1)


def leaves(arrays):
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def gradients(output, inputs):
    for x in inputs:
        x.grad = None
    output.backward()
    return [x.grad for x in inputs]


def descend(parameters):
    with torch.no_grad():
        for p in parameters:
            p -= RATE * p.grad


def w1(data, ops=1000):
    h0, w, b, x = inputs = leaves(data.values())

    def step():
        h = h0
        for _ in range(ops // 4):
            h = torch.tanh(h * w + b) + x
        return gradients(h, inputs)

    return step


def w2(data):
    w, x, b = inputs = leaves(data.values())
    return lambda: gradients(torch.sigmoid(w @ x + b).sum(), inputs)


def w3(data, residual):
    x, *parameters = inputs = leaves([data["x"], *(p for layer in data["layers"] for p in layer)])
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))

    def step():
        y = x
        for i, (w, b) in enumerate(layers):
            f = torch.sigmoid(y @ w + b)
            y = f + y if residual(i) else f
        return gradients(y.sum(), inputs)

    return step


def w3f(data):
    return w3(data, lambda i: False)


def w3g(data):
    return w3(data, lambda i: i == 2)


def w3r(data):
    return w3(data, lambda i: True)


def w4(data):
    x, labels = torch.tensor(data["x"]), torch.tensor(data["labels"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        logits = functional.relu(functional.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        found = gradients(functional.cross_entropy(logits, labels), parameters)
        descend(parameters)
        return found

    return step


def w5(data):
    x, w = inputs = leaves(data.values())

    def step():
        y = functional.conv2d(x, w)
        return gradients((y * y).sum(), inputs)

    return step


def w5k(data):
    x, w = torch.tensor(data["x"]), torch.tensor(data["w"], requires_grad=True)

    def step():
        y = functional.conv2d(x, w)
        return gradients((y * y).sum(), [w])

    return step


def w6(data):
    x, target = torch.tensor(data["x"]), torch.tensor(data["target"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        h = functional.relu(functional.conv2d(x, w1, b1, padding=1))
        h = functional.relu(functional.conv2d(h, w2, b2, padding=1))
        loss = functional.mse_loss(functional.conv2d(h, w3, b3, padding=1), target)
        found = gradients(loss, parameters)
        descend(parameters)
        return found

    return step


def w8(data):
    a, b, c = inputs = leaves(data.values())
    return lambda: gradients(torch.sigmoid(a * b + c).sum(), inputs)


def conv(data):
    x, w = leaves([data["x"], data["w"]])
    options = data["options"]
    cotangent = torch.ones_like(functional.conv2d(x, w, **options)).detach()

    def step():
        x.grad = w.grad = None
        functional.conv2d(x, w, **options).backward(cotangent)
        return [x.grad, w.grad]

    return step
