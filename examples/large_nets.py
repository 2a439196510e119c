# %% [markdown]
# # Large networks, each in one picture
#
# A picture of a network with hundreds of values is a wall of boxes. So what repeats is drawn once,
# with curves of what the gradient does from repeat to repeat. It is found by the structure of what
# was computed: the networks here are plain loops, and all but one name nothing.

# %%
from contextlib import nullcontext

import numpy as np
from pictures import save

from tinygrad_lite import (
    Tensor,
    broadcast_to,
    concatenate,
    conv2d,
    flow,
    gelu,
    graph,
    log_softmax,
    relu,
    scope,
    softmax,
    sqrt,
    tanh,
)

rng = np.random.default_rng(0)


def parameter(*shape, gain=1.0):
    return Tensor(rng.standard_normal(shape) * gain / shape[-1] ** 0.5, requires_grad=True)


def zeros(*shape):
    return Tensor(np.zeros(shape), requires_grad=True)


def show(output, name, drawn=None):
    """Save the picture, and print what it says at its top."""
    drawn = drawn or graph(output)
    for repeat in drawn.picture().repeats.values():
        print(f"{repeat.times} {repeat.word}s. {repeat.finding}")
    save(drawn, name)
    print()


# %% [markdown]
# ## Fifty residual blocks
#
# `h = h + tanh(W h + b)`, fifty times. The curves tell the gradient on the stream from that of the
# parameters, and show in which blocks the branch opposes the skip.


# %%
def residual_net(blocks=50, width=16):
    x, W_in, W_out = Tensor(rng.standard_normal(8)), parameter(width, 8), parameter(3, width)
    Ws = [parameter(width, width) for _ in range(blocks)]
    bs = [zeros(width) for _ in range(blocks)]
    h = W_in @ x
    for W, b in zip(Ws, bs, strict=True):
        h = h + tanh(W @ h + b)
    return (W_out @ h).sum(), {"x": x, "W_in": W_in, "W_out": W_out, "W": Ws, "b": bs}


y, named = residual_net()
y.name = "y"
y.backward()
show(y, "residual.svg", graph(y, names=named))

# %% [markdown]
# ## A recurrent net over a hundred steps
#
# All steps share W, U and b. The gradient that comes back to the first steps is nothing: what the
# parameters learn, they learn from the last ones.


# %%
def recurrent_net(steps=100, width=8):
    W, U, V = parameter(width, width, gain=0.5), parameter(width, 4), parameter(1, width)
    b, h = zeros(width), Tensor(np.zeros(width), name="h0")
    xs = [Tensor(rng.standard_normal(4)) for _ in range(steps)]
    for x in xs:
        h = tanh(W @ h + U @ x + b)
    return (V @ h).sum(), {"W": W, "U": U, "V": V, "b": b, "x": xs}


loss, named = recurrent_net()
loss.name = "loss"
loss.backward()
show(loss, "recurrent.svg", graph(loss, names=named))

# %% [markdown]
# ## Six blocks of a transformer
#
# Here the halves of a block have names, `attention` and `mlp`: each is a box. The second picture
# is of the same loop without names, and a flow: it says how much of the gradient of the embedding
# E came through each half.


# %%
def norm(x, gain):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / sqrt((centred * centred).mean(axis=-1, keepdims=True) + 1e-5) * gain


def transformer(scope=scope, blocks=6, tokens=8, width=16, words=11):
    E, P = parameter(words, width, gain=2), parameter(tokens, width, gain=2)
    g, U = Tensor(np.ones(width), requires_grad=True), parameter(width, words)
    future = np.triu(np.full((tokens, tokens), -1e9), 1)
    text = rng.integers(words, size=tokens + 1)
    h = E[text[:-1]] + P
    for i in range(blocks):
        Q, K, V, M = (parameter(width, width) for _ in range(4))
        W1, W2 = parameter(width, 4 * width, gain=2), parameter(4 * width, width)
        g1, g2 = (Tensor(np.ones(width), requires_grad=True) for _ in range(2))
        with scope(f"block{i + 1}"):
            with scope("attention"):
                z = norm(h, g1)
                weights = softmax((z @ Q) @ (z @ K).T / width**0.5 + future)
                a = weights @ (z @ V) @ M
            h = h + a
            with scope("mlp"):
                m = gelu(norm(h, g2) @ W1) @ W2
            h = h + m
    chosen = log_softmax(norm(h, g) @ U)[np.arange(tokens), text[1:]]
    return -chosen.mean(), {"E": E, "P": P, "g": g, "U": U}


loss, named = transformer()
loss.name = "loss"
loss.backward()
show(loss, "transformer.svg", graph(loss, names=named))

loss, named = transformer(scope=nullcontext)
loss.name = "loss"
loss.backward()
show(loss, "transformer_flow.svg", flow(loss, named["E"], names=named))

# %% [markdown]
# ## A U-Net
#
# Nothing repeats exactly, as the shapes change. Then stretches that hand on one value are drawn as
# one box, up to where a skip starts or arrives.


# %%
def conv(x, channels):
    kernel = parameter(channels, x.shape[1], 3, 3, gain=(6 / 9 / x.shape[1]) ** 0.5)
    return relu(conv2d(x, kernel, padding=1) + zeros(channels, 1, 1))


def halved(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def doubled(x):
    n, c, h, w = x.shape
    fourfold = broadcast_to(x.reshape(n, c, h, 1, w, 1), (n, c, h, 2, w, 2))
    return fourfold.reshape(n, c, 2 * h, 2 * w)


def u_net(image, levels=3, channels=4):
    kept, h = [], image
    for level in range(levels):
        h = conv(conv(h, channels << level), channels << level)
        kept.append(h)
        h = halved(h)
    h = conv(conv(h, channels << levels), channels << levels)
    for level in reversed(range(levels)):
        h = concatenate([kept[level], doubled(h)], axis=1)
        h = conv(conv(h, channels << level), channels << level)
    return conv2d(h, parameter(1, channels, 1, 1))


image = rng.standard_normal((1, 1, 16, 16))
noisy = Tensor(image + 0.3 * rng.standard_normal(image.shape), name="noisy")
loss = ((u_net(noisy) - image) ** 2).mean()
loss.name = "loss"
loss.backward()
show(loss, "u_net.svg")

# %% [markdown]
# ## A CNN
#
# It is small enough to be drawn op by op, and too long for a line: it goes on in the next row.


# %%
def cnn(image):
    h = image
    for i, channels in enumerate((8, 8, 16, 16)):
        h = conv(h, channels)
        if i % 2:
            h = halved(h)
    h = h.reshape(len(image.data), -1)
    h = relu(h @ parameter(h.shape[1], 32) + zeros(32))
    return log_softmax(h @ parameter(32, 10) + zeros(10))


image = Tensor(rng.standard_normal((2, 1, 16, 16)), name="image")
loss = -cnn(image)[[0, 1], [3, 7]].mean()
loss.name = "loss"
loss.backward()
show(loss, "cnn.svg")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/large_nets.py:loss`
