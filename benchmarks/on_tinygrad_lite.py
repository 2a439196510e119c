"""The workloads on tinygrad_lite. Each function makes a step: forward, backward, gradients."""

import numpy as np

from tinygrad_lite import Tensor, conv2d, cross_entropy, mse_loss, relu, sigmoid, tanh

from .data import RATE


def leaves(arrays):
    return [Tensor(array, requires_grad=True) for array in arrays]


def eager(f, inputs, descends=False):
    """The step that computes f() and its gradients, and moves the inputs if it `descends`."""

    def step():
        for x in inputs:
            x.zero_grad()
        f().backward()
        found = [x.grad for x in inputs]
        if descends:
            for x in inputs:
                x.data = x.data - RATE * x.grad
        return found

    return step


def w1(data, ops=1000, step=eager):
    h0, w, b, x = inputs = leaves(data.values())

    def output():
        h = h0
        for _ in range(ops // 4):
            h = tanh(h * w + b) + x
        return h

    return step(output, inputs)


def w2(data, step=eager):
    w, x, b = inputs = leaves(data.values())
    return step(lambda: sigmoid(w @ x + b).sum(), inputs)


def w3(data, residual, step):
    x, *parameters = inputs = leaves([data["x"], *(p for layer in data["layers"] for p in layer)])
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))

    def output():
        y = x
        for i, (w, b) in enumerate(layers):
            f = sigmoid(y @ w + b)
            y = f + y if residual(i) else f
        return y.sum()

    return step(output, inputs)


def w3f(data, step=eager):
    return w3(data, lambda i: False, step)


def w3g(data, step=eager):
    return w3(data, lambda i: i == 2, step)


def w3r(data, step=eager):
    return w3(data, lambda i: True, step)


def w4(data, step=eager):
    x, labels = Tensor(data["x"]), data["labels"]
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def output():
        return cross_entropy(relu(relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3, labels)

    return step(output, parameters, descends=True)


def w5(data, step=eager):
    x, w = inputs = leaves(data.values())

    def output():
        y = conv2d(x, w)
        return (y * y).sum()

    return step(output, inputs)


def w5k(data, step=eager):
    x, w = Tensor(data["x"]), Tensor(data["w"], requires_grad=True)

    def output():
        y = conv2d(x, w)
        return (y * y).sum()

    return step(output, [w])


def w6(data, step=eager):
    x, target = Tensor(data["x"]), Tensor(data["target"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def output():
        h = relu(conv2d(x, w1, b1, padding=1))
        h = relu(conv2d(h, w2, b2, padding=1))
        return mse_loss(conv2d(h, w3, b3, padding=1), target)

    return step(output, parameters, descends=True)


def w8(data, step=eager):
    a, b, c = inputs = leaves(data.values())
    return step(lambda: sigmoid(a * b + c).sum(), inputs)


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
