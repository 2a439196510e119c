"""Some workloads in NumPy with everything done to make them fast: in place, in cache-sized
blocks, into buffers kept from step to step. What an engine that allocates cannot pass."""

import math

import numpy as np

BLOCK = 1 << 16


def w1(data, ops=1000):
    h0, w, b, x = (float(value) for value in data.values())
    dtype = type(data["h"])

    def step():
        h, tape = h0, []
        for _ in range(ops // 4):
            t = math.tanh(h * w + b)
            tape.append((h, t))
            h = t + x
        dh, dw, db, dx = 1.0, 0.0, 0.0, 0.0
        for h, t in reversed(tape):
            dx += dh
            ds = dh * (1 - t * t)
            db += ds
            dw += ds * h
            dh = ds * w
        return [dtype(dh), dtype(dw), dtype(db), dtype(dx)]

    return step


def w2(data):
    w, x, b = data.values()
    half, column = w.dtype.type(0.5), x[None, :]

    def step():
        s = w.dot(x)
        s += b
        s *= half
        np.tanh(s, s)
        s *= half
        s += half
        s.sum()
        dh = s * s
        np.subtract(s, dh, dh)
        return [dh[:, None] * column, dh.dot(w), dh]

    return step


def w3(data, residual):
    x, layers = data["x"], data["layers"]
    half, ones = np.float32(0.5), np.ones(len(x), np.float32)
    outputs = [np.empty_like(x) for _ in layers]
    sums = [np.empty_like(x) for _ in layers]
    found = [array for w, b in layers for array in (np.empty_like(w), np.empty_like(b))]
    dh, dx, dy = np.empty_like(x), np.empty_like(x), np.empty_like(x)

    def step():
        y, inputs = x, []
        for i, (w, b) in enumerate(layers):
            inputs.append(y)
            f = np.dot(y, w, out=outputs[i])
            f += b
            f *= half
            np.tanh(f, f)
            f *= half
            f += half
            y = np.add(f, y, out=sums[i]) if residual(i) else f
        y.sum()
        dy.fill(1)
        for i in reversed(range(len(layers))):
            f = outputs[i]
            np.multiply(f, f, dh)
            np.subtract(f, dh, dh)
            np.multiply(dh, dy, dh)
            np.dot(ones, dh, out=found[2 * i + 1])
            np.dot(inputs[i].T, dh, out=found[2 * i])
            if residual(i):
                np.dot(dh, layers[i][0].T, out=dx)
                np.add(dy, dx, dy)
            else:
                np.dot(dh, layers[i][0].T, out=dy)
        return [dy, *found]

    return step


def w3f(data):
    return w3(data, lambda i: False)


def w3g(data):
    return w3(data, lambda i: i == 2)


def w3r(data):
    return w3(data, lambda i: True)


def w8(data):
    a, b, c = data.values()
    da, db, dc = (np.empty_like(a) for _ in range(3))
    half = a.dtype.type(0.5)

    def step():
        for i in range(0, len(a), BLOCK):
            block = slice(i, i + BLOCK)
            s = a[block] * b[block]
            s += c[block]
            s *= half
            np.tanh(s, s)
            s *= half
            s += half
            s.sum()
            d = np.multiply(s, s, out=dc[block])
            np.subtract(s, d, d)
            np.multiply(d, b[block], out=da[block])
            np.multiply(d, a[block], out=db[block])
        return [da, db, dc]

    return step
