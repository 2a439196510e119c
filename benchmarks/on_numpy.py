"""The workloads in NumPy by hand, as a textbook writes them: the forward pass, then the
backward pass, line by line. These are also the gradients that every engine must agree with.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .data import RATE


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def w1(data, ops=1000):
    h0, w, b, x = data.values()

    def step():
        h, inputs, tanhs = h0, [], []
        for _ in range(ops // 4):
            inputs.append(h)
            t = np.tanh(h * w + b)
            tanhs.append(t)
            h = t + x
        dh, dw, db, dx = type(h)(1), type(h)(0), type(h)(0), type(h)(0)
        for h, t in zip(reversed(inputs), reversed(tanhs), strict=True):
            dx = dx + dh
            ds = dh * (1 - t * t)
            db = db + ds
            dw = dw + ds * h
            dh = ds * w
        return [dh, dw, db, dx]

    return step


def w2(data):
    w, x, b = data.values()

    def step():
        s = sigmoid(w @ x + b)
        s.sum()
        dh = s * (1 - s)
        return [np.outer(dh, x), w.T @ dh, dh]

    return step


def w3(data, residual):
    x, layers = data["x"], data["layers"]

    def step():
        y, inputs, outputs = x, [], []
        for i, (w, b) in enumerate(layers):
            inputs.append(y)
            f = sigmoid(y @ w + b)
            outputs.append(f)
            y = f + y if residual(i) else f
        y.sum()
        dy, found = np.ones_like(y), []
        for i in reversed(range(len(layers))):
            dh = dy * outputs[i] * (1 - outputs[i])
            found += [dh.sum(axis=0), inputs[i].T @ dh]
            dx = dh @ layers[i][0].T
            dy = dx + dy if residual(i) else dx
        return [dy, *reversed(found)]

    return step


def w3f(data):
    return w3(data, lambda i: False)


def w3g(data):
    return w3(data, lambda i: i == 2)


def w3r(data):
    return w3(data, lambda i: True)


def w4(data):
    x, labels, rows = data["x"], data["labels"], np.arange(128)
    parameters = [p.copy() for layer in data["layers"] for p in layer]

    def step():
        w1, b1, w2, b2, w3, b3 = parameters
        h1 = np.maximum(x @ w1 + b1, 0)
        h2 = np.maximum(h1 @ w2 + b2, 0)
        logits = h2 @ w3 + b3
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        np.log(p[rows, labels]).mean()
        d3 = p.copy()
        d3[rows, labels] -= 1
        d3 /= len(x)
        d2 = (d3 @ w3.T) * (h2 > 0)
        d1 = (d2 @ w2.T) * (h1 > 0)
        found = [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
        for p, d in zip(parameters, found, strict=True):
            p -= RATE * d
        return found

    return step


def patches(x, w, stride, padding):
    """The pixels that each output sees, as a textbook lays them out: the whole im2col."""
    p, (kh, kw) = padding, w.shape[2:]
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))) if p else x
    return sliding_window_view(x, (kh, kw), axis=(2, 3))[:, :, ::stride, ::stride]


def conv_forward(x, w, stride=1, padding=0, groups=1):
    """The result, and the columns (N, groups, C/groups*KH*KW, OH*OW) for the backward pass."""
    seen = patches(x, w, stride, padding)
    n, c, oh, ow, kh, kw = seen.shape
    columns = seen.transpose(0, 1, 4, 5, 2, 3).reshape(n, groups, c // groups * kh * kw, oh * ow)
    return (w.reshape(groups, len(w) // groups, -1) @ columns).reshape(n, -1, oh, ow), columns


def conv_kernel(dy, columns, w, groups=1):
    n, o = dy.shape[:2]
    return (dy.reshape(n, groups, o // groups, -1) @ columns.swapaxes(2, 3)).sum(0).reshape(w.shape)


def conv_image(dy, x, w, stride=1, padding=0, groups=1):
    (n, o, oh, ow), (_, c, h, wd), (kh, kw), p = dy.shape, x.shape, w.shape[2:], padding
    d = w.reshape(groups, o // groups, -1).swapaxes(1, 2) @ dy.reshape(n, groups, o // groups, -1)
    d = d.reshape(n, c, kh, kw, oh, ow)
    dx = np.zeros((n, c, h + 2 * p, wd + 2 * p), dy.dtype)
    for u in range(kh):
        for v in range(kw):
            dx[:, :, u : u + stride * oh : stride, v : v + stride * ow : stride] += d[:, :, u, v]
    return dx[:, :, p : p + h, p : p + wd]


def w5(data):
    x, w = data.values()

    def step():
        y, columns = conv_forward(x, w)
        (y * y).sum()
        dy = 2 * y
        return [conv_image(dy, x, w), conv_kernel(dy, columns, w)]

    return step


def w5k(data):
    x, w = data.values()

    def step():
        y, columns = conv_forward(x, w)
        (y * y).sum()
        return [conv_kernel(2 * y, columns, w)]

    return step


def w6(data):
    x, target = data["x"], data["target"]
    parameters = [p.copy() for layer in data["layers"] for p in layer]

    def step():
        w1, b1, w2, b2, w3, b3 = parameters
        y1, columns1 = conv_forward(x, w1, padding=1)
        h1 = np.maximum(y1 + b1[:, None, None], 0)
        y2, columns2 = conv_forward(h1, w2, padding=1)
        h2 = np.maximum(y2 + b2[:, None, None], 0)
        y3, columns3 = conv_forward(h2, w3, padding=1)
        error = y3 + b3[:, None, None] - target
        (error * error).mean()
        d3 = error * (2 / error.size)
        d2 = conv_image(d3, h2, w3, padding=1) * (h2 > 0)
        d1 = conv_image(d2, h1, w2, padding=1) * (h1 > 0)
        found = []
        for d, columns, w in ((d1, columns1, w1), (d2, columns2, w2), (d3, columns3, w3)):
            found += [conv_kernel(d, columns, w), d.sum(axis=(0, 2, 3))]
        for p, d in zip(parameters, found, strict=True):
            p -= RATE * d
        return found

    return step


def w8(data):
    a, b, c = data.values()

    def step():
        s = sigmoid(a * b + c)
        s.sum()
        dc = s * (1 - s)
        return [dc * b, dc * a, dc]

    return step


def conv(data):
    x, w, options = data["x"], data["w"], data["options"]
    groups = options["groups"]
    cotangent = np.ones_like(conv_forward(x, w, **options)[0])

    def step():
        _, columns = conv_forward(x, w, **options)
        return [conv_image(cotangent, x, w, **options), conv_kernel(cotangent, columns, w, groups)]

    return step
