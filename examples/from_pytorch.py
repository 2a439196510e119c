# %% [markdown]
# # A network of PyTorch, and where its gradient travels
#
# Nothing here is written with this package: two networks of `torch.nn` learn to read digits, and
# `from_torch` takes in what they compute. Their gradients are PyTorch's; what is asked of them is
# what the other chapters ask.

# %%
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import torch
from pictures import quick, save
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

from tinygrad_lite import flow, from_torch, path_classes, profile

torch.set_num_threads(1)
torch.manual_seed(0)
STEPS = 100 if quick else 600

digits = load_digits()
pixels = torch.tensor(digits.images, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels))
train, held = order[:1400], order[1400:]


def learn(model, rate=1e-3):
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(STEPS):
        batch = train[torch.randint(len(train), (64,))]
        optimiser.zero_grad()
        cross_entropy(model(pixels[batch]), labels[batch]).backward()
        optimiser.step()
    model.eval()
    with torch.no_grad():
        right = (model(pixels[held]).argmax(1) == labels[held]).float().mean()
    model.train()
    return float(right)


# %% [markdown]
# ## With and without skips
#
# Ten blocks of two layers each, between a first layer and a last. With skips a block adds to what
# it was given, h + f(h); without, it is f(h).


# %%
class Block(nn.Module):
    def __init__(self, width, skip):
        super().__init__()
        self.norm, self.skip = nn.LayerNorm(width), skip
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        f = self.outer(torch.tanh(self.inner(self.norm(h))))
        return h + f if self.skip else f


class Reader(nn.Module):
    def __init__(self, skip, depth=10, width=32):
        super().__init__()
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 10)
        self.blocks = nn.Sequential(*(Block(width, skip) for _ in range(depth)))

    def forward(self, images):
        return self.last(self.blocks(self.first(images.flatten(1))))


def loss_of(model):
    """The loss on 64 digits that are always the same, as a graph of ours: of a copy of the model,
    as the graph shares its memory, and the model goes on to learn."""
    some, model = held[:64], deepcopy(model)

    def loss(images):
        return cross_entropy(model(images), labels[some])

    return from_torch(loss, pixels[some])


readers = {"with skips": Reader(skip=True), "without": Reader(skip=False)}
start = {name: loss_of(model) for name, model in readers.items()}
read = {name: learn(model) for name, model in readers.items()}
end = {name: loss_of(model) for name, model in readers.items()}

print("Ten blocks     digits read   |gradient| of the first layer, before and after learning")
for name in readers:
    norms = [profile(loss)[0].parameters for loss in (start[name], end[name])]
    print(f"{name:10}  {read[name]:13.1%}   {norms[0]:.2e}, {norms[1]:.2e}")

# %% [markdown]
# With skips, 2^10 paths lead from the loss to the first layer. How many residual branches are on
# those that carry its gradient? Each path passes ten joins, and where it does not pass one straight
# it comes through the branch. So the paths are grouped by how many skips they take.
#
# Two readings stand side by side. The signed share says how much of the gradient the paths of a
# class carry together. Veit, Wilber and Belongie (2016) draw single paths, and multiply the mean
# length of what one carries by the number of paths: parts that cancel add up there.


# %%
def by_branches(loss, depth=10):
    classes = path_classes(loss, "model.first.weight", by="skips")
    shares, weights = np.zeros(depth + 1), np.zeros(depth + 1)
    for skips, one in classes.items():
        shares[depth - skips] = one.share
        weights[depth - skips] = one.count * one.magnitude
    assert sum(one.count for one in classes.values()) == 2**depth
    return shares, weights / weights.sum()


found = {when: by_branches(loss["with skips"]) for when, loss in (("start", start), ("end", end))}
print("\nOf the gradient of the first layer, with skips, by residual branches on the path")
print("              before learning            after")
print("branches    share  Veit et al.     share  Veit et al.")
for k in range(11):
    numbers = [f"{found[when][i][k]:+8.1%}" for when in found for i in (0, 1)]
    print(f"{k:8d} {numbers[0]} {numbers[1]:>12} {numbers[2]:>9} {numbers[3]:>12}")
means = [float(np.arange(11) @ found[when][1]) for when in found]
print(f"mean number of branches, as Veit et al. weigh paths: {means[0]:.1f}, then {means[1]:.1f}")

figure, axes = plt.subplots(1, 2, figsize=(10, 3), layout="constrained", sharey=True)
for axis, (when, (shares, weights)) in zip(axes, found.items(), strict=True):
    axis.bar(np.arange(11) - 0.2, shares, 0.4, color="#0072B2", label="signed share")
    axis.bar(np.arange(11) + 0.2, weights, 0.4, color="#D55E00", label="Veit et al.")
    axis.axhline(0, color="black", linewidth=0.5)
    title = {"start": "before learning", "end": "after"}[when]
    axis.set(xlabel="residual branches on the path", title=title, xticks=range(11))
axes[0].set(ylabel="of the gradient of the first layer")
axes[0].legend()
save(figure, "from_pytorch_depths.png")

# %% [markdown]
# ## A transformer block
#
# A digit as a sequence of its eight rows. Each row is embedded, a block lets the rows look at each
# other, and their mean is read. From the loss to the embedding the gradient has four kinds of ways:
# along the residual stream alone, through the attention, through the MLP, or through both.


# %%
class Attention(nn.Module):
    def __init__(self, width, heads=4):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, x):
        x = self.norm(x)
        return self.mix(x, x, x, need_weights=False)[0]


class Transformer(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(0.1 * torch.randn(8, width))
        self.attention = Attention(width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.last = nn.Linear(width, 10)

    def forward(self, images):
        x = self.embed(images) + self.place
        x = x + self.attention(x)
        x = x + self.mlp(x)
        return self.last(x.mean(1))


def by_way(loss):
    """The share of each kind of way to the embedding."""
    shares = {"residual stream": 0.0, "attention": 0.0, "MLP": 0.0, "both": 0.0}
    for scopes, one in path_classes(loss, "model.embed.weight").items():
        attention = any("attention" in scope for scope in scopes)
        mlp = any("mlp" in scope for scope in scopes)
        way = "both" if attention and mlp else "attention" if attention else "MLP" if mlp else None
        shares[way or "residual stream"] += one.share
    return shares


transformer = Transformer()
before = by_way(loss_of(transformer))
right = learn(transformer)
after = by_way(loss_of(transformer))
print(f"\nA transformer block reads {right:.1%}. Its gradient to the embedding goes by way of")
for way in before:
    print(f"  {way:16} {before[way]:+7.1%} before learning, {after[way]:+7.1%} after")
assert abs(sum(after.values()) - 1) < 1e-4

print()
loss = loss_of(transformer)
save(flow(loss, "model.embed.weight"), "from_pytorch.svg")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/from_pytorch.py:loss`
