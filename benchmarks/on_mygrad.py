"""The workloads on MyGrad, with its own layers where it has them."""

import mygrad as mg
from mygrad.nnet.activations import relu, sigmoid
from mygrad.nnet.layers import conv_nd
from mygrad.nnet.losses import softmax_crossentropy

from .data import RATE


def leaves(arrays):
    return [mg.tensor(array) for array in arrays]


def gradients(output, inputs):
    for x in inputs:
        x.null_grad()
    output.backward()
    return [x.grad for x in inputs]


def descend(parameters):
    for p in parameters:
        p.data -= RATE * p.grad


def w1(data, ops=1000):
    h0, w, b, x = inputs = leaves(data.values())

    def step():
        h = h0
        for _ in range(ops // 4):
            h = mg.tanh(h * w + b) + x
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
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def step():
        logits = relu(relu(data["x"] @ w1 + b1) @ w2 + b2) @ w3 + b3
        found = gradients(softmax_crossentropy(logits, data["labels"]), parameters)
        descend(parameters)
        return found

    return step


def w5(data):
    x, w = inputs = leaves(data.values())

    def step():
        y = conv_nd(x, w, stride=1)
        return gradients((y * y).sum(), inputs)

    return step


def w5k(data):
    (w,) = leaves([data["w"]])

    def step():
        y = conv_nd(data["x"], w, stride=1)
        return gradients((y * y).sum(), [w])

    return step


def w6(data):
    parameters = leaves(p for layer in data["layers"] for p in layer)
    w1, b1, w2, b2, w3, b3 = parameters

    def conv(x, w, b):
        return conv_nd(x, w, stride=1, padding=1) + b.reshape(-1, 1, 1)

    def step():
        error = conv(relu(conv(relu(conv(data["x"], w1, b1)), w2, b2)), w3, b3) - data["target"]
        found = gradients((error * error).mean(), parameters)
        descend(parameters)
        return found

    return step


def w8(data):
    a, b, c = inputs = leaves(data.values())
    return lambda: gradients(sigmoid(a * b + c).sum(), inputs)
