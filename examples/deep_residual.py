# %% [markdown]
# # Fifty layers, without and with skips
#
# Exercise 4 puts a skip over one layer. Here every one of 50 layers f_i(h) = sigmoid(W_i h + b_i)
# has its own:
#
#     F:  h <- f_i(h)             G:  h <- h + f_i(h),   i = 1 ... 50
#
# with the same random weights. In G a path of the gradient takes, at each layer, either the
# skip or the residual branch f_i: 2^50 paths from the output to x.

# %%
from math import comb

import matplotlib.pyplot as plt
import numpy as np
from pictures import save

from tinygrad_lite import (
    Tensor,
    flow,
    grad,
    path_classes,
    profile,
    relu,
    scope,
    sigmoid,
    tanh,
    what_if,
)

DEPTH, WIDTH = 50, 8


def network(x, layers, skip, activation=sigmoid):
    h = x
    for i, (W, b) in enumerate(layers, start=1):
        with scope(f"f{i}"):
            f = activation(W @ h + b)
        h = h + f if skip else f
    h.name = "G" if skip else "F"
    return h


def random_parameters(rng, depth=DEPTH):
    x = Tensor(rng.standard_normal(WIDTH), requires_grad=True, name="x")
    layers = []
    for i in range(1, depth + 1):
        W = rng.standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)
        b = Tensor(rng.standard_normal(WIDTH), requires_grad=True, name=f"b{i}")
        layers.append((Tensor(W, requires_grad=True, name=f"W{i}"), b))
    return x, layers, rng.standard_normal(WIDTH)


x, layers, v = random_parameters(np.random.default_rng(0))
F = network(x, layers, skip=False)
G = network(x, layers, skip=True)

# %% [markdown]
# ## The size of the gradient, layer by layer
#
# The gradient is that of v^T F and v^T G, with one random v for both. The derivative of the
# sigmoid is at most 1/4, so each layer of F leaves at most a quarter of what a matrix W_i makes
# of the gradient. In G the skip hands it on as it is.

# %%
profile_F, profile_G = profile(F, v), profile(G, v)

print("The gradient of the parameters of layer i")
print("    i        F        G")
for i in (1, 2, 3, 10, 20, 30, 40, 49, 50):
    print(f"  {i:3d}  {profile_F[i - 1].parameters:7.1e}  {profile_G[i - 1].parameters:7.1e}")
for name, found in (("F", profile_F), ("G", profile_G)):
    vanishing = sum(one.verdict == "vanishing" for one in found)
    print(f"\nOf {name}'s 50 layers {vanishing} vanish.", found.culprit)
save(profile_F, "deep_profile_F.svg")
save(profile_G, "deep_profile_G.svg")

# %% [markdown]
# ## How deep are the paths?
#
# Veit, Wilber and Belongie (2016, "Residual Networks Behave Like Ensembles of Relatively Shallow
# Networks") asked how long the paths are that carry the gradient. Of the 2^50 paths C(50, k) go
# through k residual branches: nearly nine in ten through 20 to 30. But each branch makes the
# gradient smaller. Here all are summed, exactly, k by k: |part| is the size of what the paths
# through k branches bring to x together, and its share how much of the gradient that is.

# %%
classes = path_classes(G, wrt=x, by="depth", gradient=v)

assert all(classes[k].count == comb(50, k) for k in range(51))
total = np.sum([one.contribution for one in classes.values()], axis=0)
assert np.allclose(total, grad(G, x, v).data, rtol=1e-12)

print("\nThe gradient at x, by how many residual branches its paths go through")
print("   k               paths    |part|    share   summed")
summed = 0.0
for k, one in classes.items():
    summed += one.share
    if k < 8 or k in (25, 50):
        size = np.linalg.norm(one.contribution)
        print(f"  {k:2d}  {one.count:18,d}   {size:7.1e}  {one.share:+7.1%}  {summed:+7.1%}")


def mean_depth(classes):
    """The mean of k over the gradient: sum of k share(k)."""
    return np.sum([k * one.share for k, one in classes.items()])


print(f"\nThe mean k: of the paths {DEPTH / 2:.1f}, of the gradient {mean_depth(classes):.1f}")

# %% [markdown]
# The classes partly oppose each other, so some shares are negative.
#
# ## Which layers does it pass?
#
# At every layer the branch and the skip beside it carry 100 % of the gradient together; and the
# shares of the 50 branches add up to the mean k.
#
# Is the share of a branch also what the gradient loses when the branch is taken out? Only if all
# values stay. Without it the later layers see another h, and pass on another gradient. A share says
# how this gradient is made up, not what another network would do.

# %%
traffic, cut = flow(G, wrt=x, gradient=v), what_if(G, wrt=x, gradient=v)  # a row for each f_i
shares = [row.share for row in cut]
assert np.allclose(shares, list(traffic.scopes.values()))
assert np.isclose(sum(shares), mean_depth(classes))

g = cut.gradient
lost = [1 - np.vdot(row.ablated, g) / np.vdot(g, g) for row in cut]

print("\nThe branches with the largest shares")
print("    i    share   lost without f_i")
for i in np.argsort(np.abs(shares))[:-7:-1]:
    print(f"  {i + 1:3d}  {shares[i]:+7.1%}  {lost[i]:+17.1%}")
print(f"The correlation of the two over all 50 is {np.corrcoef(shares, lost)[0, 1]:.2f}.")

print()
save(traffic, "deep_flow.svg")

save(cut, "deep_branches.svg")

# A branch left out is a layer that is not there: the gradient is that of the other 49 layers.
for i, row in enumerate(cut):
    shorter = network(x, layers[:i] + layers[i + 1 :], skip=True)
    assert np.allclose(row.ablated, grad(shorter, x, v).data, rtol=0, atol=1e-12)

# %% [markdown]
# ## Is that the skip, or the sigmoid?
#
# How shallow the gradient's paths are depends on what a branch does to it. The same network with
# other activations, ten random weights each: the mean k, and the coherence of the classes,
# |gradient| / sum of |part|, which is 1 if all point the same way.
#
# - sigmoid: G adds up 50 outputs between 0 and 1, so h grows, and the later layers saturate.
#   Nearly the whole gradient skips them.
# - tanh: a branch passes on more. But the classes largely cancel, so that the shares swing far
#   above and below 0, and their mean says less.
# - relu: h grows, and nothing saturates. The classes agree, the gradient explodes, and its
#   paths are not shallow.


# %%
def depths(activation, rng):
    x, layers, v = random_parameters(rng)
    found = path_classes(network(x, layers, True, activation), wrt=x, by="depth", gradient=v)
    return found, np.linalg.norm(found.gradient) / np.linalg.norm(v)


print("\nOver 10 random weights    mean k           coherence        |gradient| / |v|")
ranges = "  {:8}          {:5.1f} to {:4.1f}     {:.2f} to {:.2f}     {:7.1e} to {:.1e}"
runs = {}
for activation in (sigmoid, tanh, relu):
    rng = np.random.default_rng(1)
    found, sizes = zip(*(depths(activation, rng) for _ in range(10)), strict=True)
    ks, agree = [mean_depth(run) for run in found], [run.coherence for run in found]
    ends = (f(numbers) for numbers in (ks, agree, sizes) for f in (min, max))
    print(ranges.format(activation.name, *ends))
    runs[activation.name] = found

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 2.8), sharex=True, layout="constrained")
for axis, (name, (found, *_)) in zip(axes, runs.items(), strict=True):
    axis.bar(range(51), [comb(50, k) / 2**50 for k in range(51)], color="0.8", label="of the paths")
    shares = [one.share for one in found.values()]
    axis.bar(range(51), shares, width=0.5, color="#0072B2", label="of the gradient")
    axis.axhline(0, color="black", linewidth=0.5)
    axis.set(title=name, xlabel="residual branches on the path, k")
axes[0].set_ylabel("share")
axes[0].legend()
save(figure, "deep_depths.png")

# %% [markdown]
# ## Two readings of "most of the gradient"
#
# Veit et al. did not sum. They drew single paths of a trained network of 54 modules, and took the
# mean length of the gradient on a path through k modules (`magnitude`) times the number of such
# paths. So read, nearly all of the gradient came over 5 to 17 modules: over 0.45 % of the paths,
# which they call the effective ones. Here are both readings of three networks of 54 layers.

# %%
MODULES, EFFECTIVE = 54, range(5, 18)


def readings(classes):
    """The part of the gradient on effective paths: by single lengths, and by signed share."""
    lengths = {k: one.count * one.magnitude for k, one in classes.items()}
    by_length = sum(lengths[k] for k in EFFECTIVE) / sum(lengths.values())
    return by_length, sum(classes[k].share for k in EFFECTIVE)


of_paths = sum(comb(MODULES, k) for k in EFFECTIVE) / 2**MODULES
print(f"\nThe {of_paths:.2%} of the paths that go through 5 to 17 of 54 modules carry")
print("            by length   by share   mean k by length   e^entropy of 2^54 paths")
effective = {}
for activation in (sigmoid, tanh, relu):
    deep, wide, u = random_parameters(np.random.default_rng(0), MODULES)
    found = path_classes(network(deep, wide, True, activation), deep, by="depth", gradient=u)
    effective[activation.name] = by_length, by_share = readings(found)
    print(
        f"  {activation.name:8}    {by_length:5.1%}     {by_share:+6.1%}              "
        f"{found.effective_depth:4.1f}                  {np.exp(found.entropy):7.1e}"
    )

# %% [markdown]
# Where this differs from the paper, and why:
#
# - By length only tanh is like their network: 98 % on the effective paths. Sigmoid leaves so little
#   of a gradient that 77 % of the length is on fewer than 5 branches, relu so much that 78 % is on
#   more than 17. Their network was trained, and its branches were convolutions with batch
#   normalization; these are random matrices.
# - By share no network is. Lengths add up as if all paths pointed one way, but the gradient is a
#   sum of vectors that largely cancel: 10^12 of length make a gradient of 4 * 10^8 with relu. So
#   the gradient is on shorter paths than the length: with sigmoid nearly all on fewer than 5
#   branches, with tanh half of it, with relu half on the effective paths.

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/deep_residual.py:G`
