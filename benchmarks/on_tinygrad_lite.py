"""The workloads on tinygrad_lite. Each function makes a step: forward, backward, gradients."""

import numpy as np

from tinygrad_lite import Tensor, conv2d, cross_entropy, mse_loss, relu, sigmoid, tanh

from .data import RATE


def leaves(arrays):
    return [Tensor(array, requires_grad=True) for array in arrays]


def gradients(output, inputs):
    for x in inputs:
        x.zero_grad()
    output.backward()
    return [x.grad for x in inputs]


def descend(parameters):
    for p in parameters:
        p.data = p.data - RATE * p.grad


def w1(data, ops=1000):
    h0, w, b, x = inputs = leaves(data.values())

    def step():
        h = h0
        for _ in range(ops // 4):
            h = tanh(h * w + b) + x
        return gradients(h, inputs)

    return step


def w2(data):
    w, x, b = inputs = leaves(data.values())
    return lambda: gradients(sigmoid(w @ x + b).sum(), inputs)


def w3(data, residual):
    x, *parameters = inputs = leaves([data["x"], *(p for layer in data["layers"] for p in layer)])
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))

    def step():
        y = x
        for i, (w, b) in enumerate(layers):
            f = sigmoid(y @ w + b)
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
    x, labels = Tensor(data["x"]), data["labels"]
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        logits = relu(relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3
        found = gradients(cross_entropy(logits, labels), parameters)
        descend(parameters)
        return found

    return step


def w5(data):
    x, w = inputs = leaves(data.values())

    def step():
        y = conv2d(x, w)
        return gradients((y * y).sum(), inputs)

    return step


def w5k(data):
    x, w = Tensor(data["x"]), Tensor(data["w"], requires_grad=True)

    def step():
        y = conv2d(x, w)
        return gradients((y * y).sum(), [w])

    return step


def w6(data):
    x, target = Tensor(data["x"]), Tensor(data["target"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        h = relu(conv2d(x, w1, b1, padding=1))
        h = relu(conv2d(h, w2, b2, padding=1))
        loss = mse_loss(conv2d(h, w3, b3, padding=1), target)
        found = gradients(loss, parameters)
        descend(parameters)
        return found

    return step


def w8(data):
    a, b, c = inputs = leaves(data.values())
    return lambda: gradients(sigmoid(a * b + c).sum(), inputs)


def conv(data):
    x, w = inputs = leaves([data["x"], data["w"]])
    options = data["options"]
    cotangent = np.ones_like(conv2d(data["x"], data["w"], **options))

    def step():
        for p in inputs:
            p.zero_grad()
        conv2d(x, w, **options).backward(cotangent)
        return [x.grad, w.grad]

    return step
