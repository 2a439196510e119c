"""The inputs of each workload, the same for every engine, and what the workload is."""

from itertools import pairwise

import numpy as np

WHAT = {
    "w1": "chain of 1,000 ops on a number: h = tanh(h*w + b) + x, float64",
    "w1s": "the same in float32",
    "w2": "layer: sum(sigmoid(W x + b)), W 4x3",
    "w3f": "F: three layers of width 64, batch 32",
    "w3g": "G: the same with a skip around the last layer",
    "w3r": "50 residual layers of width 64, batch 32",
    "w4": "MLP 784-512-512-10, batch 128, relu, cross-entropy, SGD",
    "w5": "conv2d: one 512x512 image, 16 filters of 4x4, both gradients",
    "w5k": "the same, gradient of the filters only",
    "w6": "CNN on 8x1x64x64: 3x3 conv 1-32-32-1, relu, MSE, SGD",
    "w6d": "the same in float64",
    "w8": "sum(sigmoid(a*b + c)), 10 million elements",
}

# The same in many sizes: to see from which on an engine's own work no longer matters.
SIZES = {
    "chain of ops on a number, as w1": [f"w1 ops={n}" for n in (12, 100, 1000, 10_000, 100_000)],
    "width of three layers, batch 32, as w3f": [f"w3f width={n}" for n in (4, 16, 64, 256, 1024)],
    "batch, three layers of width 64, as w3f": [
        f"w3f batch={n}" for n in (1, 4, 16, 64, 256, 1024)
    ],
}

RATE = 1e-3  # of gradient descent, small enough that the numbers hardly move


def data(name, scale=1.0):
    """The arrays of a workload by name; a `scale` below 1 makes the large ones smaller. A name may
    go on with sizes, as in `w3f width=16`."""
    rng, sizes = np.random.default_rng(0), sizes_of(name)
    name = name if name.startswith("conv ") else name.split()[0]

    def normal(*shape, by=1.0):
        return (by * rng.standard_normal(shape)).astype(dtype)

    dtype = np.float64 if name in ("w1", "w6d") else np.float32
    if name in ("w1", "w1s"):
        # Near the fixed point of tanh, where 250 steps keep a gradient far from 0.
        return {"h": dtype(0.15), "w": dtype(1.0), "b": dtype(0.001), "x": dtype(0.0005)}
    if name == "w2":
        return {"w": normal(4, 3), "x": normal(3), "b": normal(4)}
    if name in ("w3f", "w3g", "w3r"):
        n, depth = sizes.get("width", 64), 50 if name == "w3r" else 3
        layers = [(normal(n, n, by=0.8 * n**-0.5), normal(n)) for _ in range(depth)]
        return {"x": normal(sizes.get("batch", 32), n), "layers": layers}
    if name == "w4":
        sizes = [784, 512, 512, 10]
        return {
            "x": normal(128, 784),
            "labels": rng.integers(0, 10, 128),
            "layers": [(normal(m, n, by=m**-0.5), normal(n)) for m, n in pairwise(sizes)],
        }
    if name in ("w5", "w5k"):
        side = int(512 * scale)
        return {"x": normal(1, 1, side, side), "w": normal(16, 1, 4, 4)}
    if name in ("w6", "w6d"):
        side = int(64 * scale)
        x = normal(8, 1, side, side)
        kernels = [normal(32, 1, 3, 3, by=0.3), normal(32, 32, 3, 3, by=0.1), normal(1, 32, 3, 3)]
        return {
            "x": x,
            "target": normal(*x.shape),
            "layers": [(w, normal(len(w))) for w in kernels],
        }
    if name == "w8":
        n = int(10_000_000 * scale)
        return {"a": normal(n), "b": normal(n), "c": normal(n)}
    if name.startswith("conv "):
        n, c, side, o, k = (sizes[key] for key in ("n", "c", "side", "o", "k"))
        dtype = np.dtype(sizes["dtype"]).type
        return {
            "x": normal(n, c, side, side),
            "w": normal(o, c // sizes["groups"], k, k),
            "options": {key: sizes[key] for key in ("stride", "padding", "groups")},
        }
    raise ValueError(f"no workload {name!r}")


def sizes_of(name):
    """`n=4 c=16 ...` after a workload's name, as a dict; every value is an int but the dtype."""
    pairs = (part.split("=") for part in name.split()[1:])
    return {key: value if key == "dtype" else int(value) for key, value in pairs}


def conv_grid(quick=False):
    """The convolutions of the grid, by name: 4 images of 32x32, and small and many images."""
    for dtype in ("float32", "float64"):
        shapes = [(c, o) for c in (1, 4, 16, 64) for o in (1, 4, 16, 64)]
        cases = [
            (4, c, 32, o, k, s, k // 2, 1) for c, o in shapes for k in (1, 3, 5, 7) for s in (1, 2)
        ]
        cases += [
            (4, c, 32, c, k, s, k // 2, g)
            for c in (16, 64)
            for g in (4, c)
            for k in (3, 5)
            for s in (1, 2)
        ]
        cases += [(4, c, 32, c, k, 1, 0, 1) for c in (1, 16, 64) for k in (2, 3, 7)]
        cases += [(n, c, 8, c, 3, 1, 1, 1) for n in (1, 64) for c in (1, 16, 64)]
        for n, c, side, o, k, s, p, g in cases[:: 29 if quick else 1]:
            sizes = f"n={n} c={c} side={side} o={o} k={k}"
            yield f"conv {sizes} stride={s} padding={p} groups={g} dtype={dtype}"
