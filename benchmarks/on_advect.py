"""The workloads on advect, with its `grad` of a function in plain NumPy. It has no layers; a
convolution is a product with a sliding window, as its users write it."""

import advect
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .data import RATE


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gradients(loss, inputs):
    slope, inputs = advect.grad(loss, argnums=tuple(range(len(inputs)))), list(inputs)
    return lambda: slope(*inputs)


def training(loss, parameters):
    slope, parameters = advect.grad(loss, argnums=tuple(range(len(parameters)))), list(parameters)

    def step():
        found = slope(*parameters)
        parameters[:] = [p - RATE * d for p, d in zip(parameters, found, strict=True)]
        return found

    return step


def w1(data, ops=1000):
    def loss(h, w, b, x):
        for _ in range(ops // 4):
            h = np.tanh(h * w + b) + x
        return h

    return gradients(loss, data.values())


def w2(data):
    return gradients(lambda w, x, b: np.sum(sigmoid(w @ x + b)), data.values())


def w3(data, residual):
    def loss(y, *parameters):
        for i, (w, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            f = sigmoid(y @ w + b)
            y = f + y if residual(i) else f
        return np.sum(y)

    return gradients(loss, [data["x"], *(p for layer in data["layers"] for p in layer)])


def w3f(data):
    return w3(data, lambda i: False)


def w3g(data):
    return w3(data, lambda i: i == 2)


def w3r(data):
    return w3(data, lambda i: True)


def w4(data):
    x, labels, rows = data["x"], data["labels"], np.arange(128)

    def loss(w1, b1, w2, b2, w3, b3):
        h = np.maximum(x @ w1 + b1, 0)
        h = np.maximum(h @ w2 + b2, 0)
        logits = h @ w3 + b3
        top = logits - np.max(logits, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(top), axis=1)) - top[rows, labels])

    return training(loss, [p for layer in data["layers"] for p in layer])


def conv2d(x, w):
    seen = sliding_window_view(x, w.shape[2:], axis=(2, 3))
    return np.moveaxis(np.tensordot(seen, w, ((1, 4, 5), (1, 2, 3))), -1, 1)


def w5(data):
    def loss(x, w):
        y = conv2d(x, w)
        return np.sum(y * y)

    return gradients(loss, data.values())


def w5k(data):
    def loss(w):
        y = conv2d(data["x"], w)
        return np.sum(y * y)

    return gradients(loss, [data["w"]])


def pad(x):
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))


def w6(data):
    def loss(w1, b1, w2, b2, w3, b3):
        h = np.maximum(conv2d(pad(data["x"]), w1) + b1[:, None, None], 0)
        h = np.maximum(conv2d(pad(h), w2) + b2[:, None, None], 0)
        error = conv2d(pad(h), w3) + b3[:, None, None] - data["target"]
        return np.mean(error * error)

    return training(loss, [p for layer in data["layers"] for p in layer])


def w8(data):
    return gradients(lambda a, b, c: np.sum(sigmoid(a * b + c)), data.values())
