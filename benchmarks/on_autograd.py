"""The workloads on HIPS autograd, with its `grad` of a function of the inputs."""

import autograd.numpy as np
from autograd import grad
from autograd.scipy.signal import convolve
from autograd.scipy.special import logsumexp

from .data import RATE


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gradients(loss, inputs):
    slope = grad(lambda inputs: loss(*inputs))
    return lambda: slope(inputs)


def training(loss, parameters):
    slope, parameters = grad(lambda parameters: loss(*parameters)), list(parameters)

    def step():
        found = slope(parameters)
        parameters[:] = [p - RATE * d for p, d in zip(parameters, found, strict=True)]
        return found

    return step


def w1(data, ops=1000):
    def loss(h, w, b, x):
        for _ in range(ops // 4):
            h = np.tanh(h * w + b) + x
        return h

    return gradients(loss, list(data.values()))


def w2(data):
    return gradients(lambda w, x, b: np.sum(sigmoid(np.dot(w, x) + b)), list(data.values()))


def w3(data, residual):
    def loss(y, *parameters):
        for i, (w, b) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
            f = sigmoid(np.dot(y, w) + b)
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
        h = np.maximum(np.dot(x, w1) + b1, 0)
        h = np.maximum(np.dot(h, w2) + b2, 0)
        logits = np.dot(h, w3) + b3
        return np.mean(logsumexp(logits, axis=1) - logits[rows, labels])

    return training(loss, [p for layer in data["layers"] for p in layer])


def conv2d(x, w):
    w = w[:, :, ::-1, ::-1]  # its convolve turns the kernel
    return convolve(x, w, axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")


def w5(data):
    def loss(x, w):
        y = conv2d(x, w)
        return np.sum(y * y)

    return gradients(loss, list(data.values()))


def w5k(data):
    def loss(w):
        y = conv2d(data["x"], w)
        return np.sum(y * y)

    return gradients(loss, [data["w"]])


def pad(x):
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "constant")


def w6(data):
    def loss(w1, b1, w2, b2, w3, b3):
        h = np.maximum(conv2d(pad(data["x"]), w1) + b1[:, None, None], 0)
        h = np.maximum(conv2d(pad(h), w2) + b2[:, None, None], 0)
        error = conv2d(pad(h), w3) + b3[:, None, None] - data["target"]
        return np.mean(error * error)

    return training(loss, [p for layer in data["layers"] for p in layer])


def w8(data):
    return gradients(lambda a, b, c: np.sum(sigmoid(a * b + c)), list(data.values()))
