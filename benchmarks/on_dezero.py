"""The workloads on DeZero, with its own functions where they do what the workload asks."""

import numpy as np

from .data import RATE

np.int = int  # it is older than NumPy 1.24, which dropped the name

from dezero import Parameter, Variable, functions  # noqa: E402
from dezero.functions import conv2d, linear, relu, sigmoid, tanh  # noqa: E402


def leaves(arrays):
    return [Parameter(np.asarray(array)) for array in arrays]


def gradients(output, inputs):
    for x in inputs:
        x.cleargrad()
    output.backward()
    return [x.grad.data for x in inputs]


def descend(parameters):
    for p in parameters:
        p.data -= RATE * p.grad.data


def w1(data, ops=1000):
    h0, w, b, x = inputs = leaves(data.values())

    def step():
        h = h0
        for _ in range(ops // 4):
            h = tanh(h * w + b) + x
        return gradients(h, inputs)

    return step


def w2(data):
    # Its matmul takes matrices only: one row, and W the other way round.
    w, x, b = inputs = leaves(data.values())

    def step():
        return gradients(functions.sum(sigmoid(linear(x.reshape(1, -1), w.T, b))), inputs)

    return step


def w3(data, residual):
    x, *parameters = inputs = leaves([data["x"], *(p for layer in data["layers"] for p in layer)])
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))

    def step():
        y = x
        for i, (w, b) in enumerate(layers):
            f = sigmoid(linear(y, w, b))
            y = f + y if residual(i) else f
        return gradients(functions.sum(y), inputs)

    return step


def w3f(data):
    return w3(data, lambda i: False)


def w3g(data):
    return w3(data, lambda i: i == 2)


def w3r(data):
    return w3(data, lambda i: True)


def w4(data):
    x, labels = Variable(data["x"]), Variable(data["labels"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        h = relu(linear(relu(linear(x, w1, b1)), w2, b2))
        loss = functions.softmax_cross_entropy(linear(h, w3, b3), labels)
        found = gradients(loss, parameters)
        descend(parameters)
        return found

    return step


def w5(data):
    x, w = inputs = leaves(data.values())

    def step():
        y = conv2d(x, w)
        return gradients(functions.sum(y * y), inputs)

    return step


def w5k(data):
    # It has no leaf without a gradient: that of the image is computed too.
    x, w = Variable(data["x"]), Parameter(data["w"])

    def step():
        x.cleargrad()
        y = conv2d(x, w)
        return gradients(functions.sum(y * y), [w])

    return step


def w6(data):
    x, target = Variable(data["x"]), Variable(data["target"])
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        x.cleargrad()
        h = relu(conv2d(x, w1, b1, pad=1))
        h = relu(conv2d(h, w2, b2, pad=1))
        # Its mean_squared_error divides by the number of images, not of pixels.
        error = conv2d(h, w3, b3, pad=1) - target
        found = gradients(functions.sum(error * error) / error.size, parameters)
        descend(parameters)
        return found

    return step


def w8(data):
    a, b, c = inputs = leaves(data.values())
    return lambda: gradients(functions.sum(sigmoid(a * b + c)), inputs)
