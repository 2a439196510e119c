# %% [markdown]
# # Reading handwritten digits
#
# 1797 digits of 8x8 pixels, which come with scikit-learn, and a small convolutional network:
# two convolutions, the largest of each 2x2, and one matrix.

# %%
from time import perf_counter

import numpy as np
from pictures import gallery, out, quick, save
from sklearn.datasets import load_digits
from tqdm import trange

from tinygrad_lite import Tensor, conv2d, cross_entropy, max_pool2d, no_grad, relu
from tinygrad_lite.training import Adam, batches, he_normal, load
from tinygrad_lite.training import save as save_parameters

digits = load_digits()
x = (digits.images[:, None] / 16).astype(np.float32)
y = digits.target


def network(x, W1, b1, W2, b2, W3, b3):
    h = relu(conv2d(x, W1, b1, padding=1))
    h = max_pool2d(relu(conv2d(h, W2, b2, padding=1)), 2)
    return h.reshape(len(h), -1) @ W3.T + b3


SHAPES = {"W1": (16, 1, 3, 3), "W2": (32, 16, 3, 3), "W3": (10, 32 * 4 * 4)}


def parameters(rng):
    return [
        Tensor(array, requires_grad=True, name=name)
        for i, (W, shape) in enumerate(SHAPES.items(), start=1)
        for name, array in ((W, he_normal(rng, shape)), (f"b{i}", np.zeros(shape[0], np.float32)))
    ]


@no_grad()
def accuracy(parameters, which):
    return np.mean(network(x[which], *parameters).argmax(axis=1) == y[which])


def learn(train, check, rng, epochs=20, patience=4):
    """Parameters learned from `train`: those of the epoch that read `check` best, once there
    was none better for `patience` epochs."""
    found = parameters(rng)
    optimiser = Adam(found, lr=2e-3)
    best, best_epoch = 0, 0
    bar = trange(epochs, desc="learning")
    for epoch in bar:
        for batch in batches(rng, len(train), 32):
            cross_entropy(network(x[train[batch]], *found), y[train[batch]]).backward()
            optimiser.step()
        if (read := accuracy(found, check)) > best:
            best, best_epoch, kept = read, epoch, [p.data for p in found]
            bar.set_postfix_str(f"{best:.1%} read")
        elif epoch - best_epoch >= patience:
            break
    for p, values in zip(found, kept, strict=True):
        p.data = values
    return found


# %% [markdown]
# ## How well?
#
# A quarter of the digits is for the test. Of the others, a sixth tells when to stop. Drawn at
# random, the test has the same handwritings as what was learned from. But the digits are listed in
# the order in which people wrote them. So the last quarter is mostly by other people, and a
# fairer question: can it read a handwriting that it has never seen?

# %%
start = perf_counter()
rng = np.random.default_rng(0)
orders = {
    "the last, by other people": np.arange(len(x)),
    "drawn at random": rng.permutation(len(x)),
}

print("A quarter of the digits       read right    wrong")
for name, order in orders.items():
    rest, test = rng.permutation(order[:1347]), order[1347:]
    learned = learn(rest[225:], rest[:225], rng, epochs=2 if quick else 20)
    right = accuracy(learned, test)
    print(f"  {name:28}{right:10.1%} {round((1 - right) * len(test)):4d} of {len(test)}")
print(f"{perf_counter() - start:.0f} seconds")
assert quick or right >= 0.97

# %% [markdown]
# The digits of the random quarter that it reads wrong, or, where those are fewer than 12, also
# those that it read right with the least confidence.

# %%
with no_grad():
    scores = network(x[test], *learned).data
read = scores.argmax(axis=1)
margin = scores[np.arange(len(test)), y[test]] - np.sort(scores)[:, -2]  # below 0: read wrong
hardest = np.argsort(margin)[:12]
tiles = [x[test[i], 0] for i in hardest]
labels = [f"{y[test[i]]} read as {read[i]}" for i in hardest]
print()
save(gallery(tiles, labels, columns=6, zoom=11), "digits.png")

# %% [markdown]
# The parameters go to a file, and come back the same.

# %%
save_parameters(out / "digits.npz", learned)
print("wrote", out / "digits.npz")
fresh = parameters(np.random.default_rng(1))
load(out / "digits.npz", fresh)
assert accuracy(fresh, test) == right

# %% [markdown]
# One step of learning, to look at: `tinygrad-lite step examples/digits.py:loss`.

# %%
loss = cross_entropy(network(x[:4], *learned), y[:4])
loss.backward()

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/digits.py:loss -- --quick`
