# %% [markdown]
# # F and G learn to denoise
#
# Exercise 4 says that a skip keeps the gradient from vanishing. Does a network that has one learn
# better? Here f1, f2, f3 are the layers of exercise 4, with a convolution for the matrix: 8
# channels, each the sigmoid of a 3x3 convolution. A last convolution r, linear and 1x1, makes a
# photograph of them again:
#
#     z = f1(x),   y = f2(z),   F(x) = r(f3(y)),   G(x) = r(f3(y) + y).
#
# Both get the same first weights, the same noisy crops in the same order, the same steps.

# %%
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from denoising import JUDGE, LEARN, crops, photograph, psnr, with_noise
from pictures import quick, save
from tqdm import trange

from tinygrad_lite import History, Tensor, conv2d, mse_loss, no_grad, scope, sigmoid
from tinygrad_lite.training import SGD, xavier_normal

CHANNELS, SIGMA = 8, 20
STEPS = 20 if quick else 600
photos = [photograph(name) for name in LEARN]
judges = [photograph(name) for name in JUDGE]
if quick:
    judges = [photo[100:164, 100:164] for photo in judges]


def parameters(stages, saturated):
    """(W, b) of each stage, the last one's b at 20 if it is to be saturated, and of r."""
    rng = np.random.default_rng(0)
    channels = (1, *[CHANNELS] * stages, 1)
    layers = []
    for i in range(stages + 1):
        size, scale = (3, 1.0) if i < stages else (1, 0.1)  # r starts small, and its output too
        W = scale * xavier_normal(rng, (channels[i + 1], channels[i], size, size))
        b = np.full(channels[i + 1], 20 if saturated and i == stages - 1 else 0, np.float32)
        name = str(i + 1) if i < stages else "r"
        layers.append(
            (
                Tensor(W, requires_grad=True, name=f"W{name}"),
                Tensor(b, requires_grad=True, name=f"b{name}"),
            )
        )
    return layers


def network(x, layers, skips):
    """`skips` are the numbers of the stages that have one."""
    h = x
    *stages, readout = layers
    for i, (W, b) in enumerate(stages, start=1):
        with scope(f"f{i}"):
            f = sigmoid(conv2d(h, W, b, padding=1))
        h = h + f if i in skips else f
    return conv2d(h, *readout)


def learn(name, rate, stages, skips=(), saturated=False):
    """The PSNR step by step, the history of the gradients, and the PSNR of the photographs that are
    not learned from."""
    layers, rng = parameters(stages, saturated), np.random.default_rng(1)
    optimiser = SGD([t for layer in layers for t in layer], lr=rate, momentum=0.9)
    errors, history = [], History(every=STEPS // 60 or 1, shares_every=5, by="depth")
    for _ in trange(STEPS, desc=name):
        clean = crops(photos, 8, 32, rng)
        loss = mse_loss(network(with_noise(clean, SIGMA, rng), layers, skips), clean)
        loss.backward()
        errors.append(loss.item())
        history.record(loss)
        optimiser.step()
    with no_grad():
        found = [
            psnr(
                photo, network(with_noise(photo, SIGMA, rng)[None, None], layers, skips).data[0, 0]
            )
            for photo in judges
        ]
    return -10 * np.log10(errors), history, np.mean(found)


# %% [markdown]
# ## Three variants
#
# - Three stages, as they are.
# - Saturated: b3 starts at 20, and f3 lets no gradient through.
# - Twenty stages. G has a skip over each but the first: h <- h + f_i(h). Its outputs add up, so it
#   needs a small rate; F gets a larger one too, in case the small one is what holds it up.

# %%
every = set(range(2, 21))
start = perf_counter()
runs = {
    "three stages": {"F": learn("F", 0.1, 3), "G": learn("G", 0.1, 3, {3})},
    "three, saturated": {
        "F": learn("F, saturated", 0.03, 3, saturated=True),
        "G": learn("G, saturated", 0.03, 3, {3}, saturated=True),
    },
    "twenty stages": {
        "F": learn("F, twenty stages", 0.003, 20),
        "G": learn("G, twenty stages", 0.003, 20, every),
        "F, rate x 30": learn("F, twenty stages, rate x 30", 0.1, 20),
    },
}
print(f"Learned in {perf_counter() - start:.0f} seconds\n")

print("                                PSNR, dB                   |gradient| of W1")
print("                          first    last  others           first      last")
for variant, found in runs.items():
    for name, (errors, history, others) in found.items():
        first, last = errors[: STEPS // 60 or 1].mean(), errors[-STEPS // 12 :].mean()
        norms = [row.norms["W1"] for row in history.rows]
        a, b = norms[0], np.mean(norms[-5:])
        print(
            f"  {variant if name == 'F' else '':17} {name:12}{first:7.1f} {last:7.1f} {others:7.1f}"
            f"         {a:7.1e}   {b:7.1e}"
        )
noisy = np.mean([psnr(p, with_noise(p, SIGMA, np.random.default_rng(0))) for p in judges])
print(f"  the noisy photographs{noisy:26.1f}")
if quick:
    print(
        f"\nThese are {STEPS} steps instead of 600, on pieces of 64 x 64 pixels. They are good for"
    )
    print("seeing that all of it runs, and where the gradient of W1 vanishes. They do not say who")
    print("learns: in 600 steps G leaves the plateau after 150, and F after 500.")

# %% [markdown]
# What is seen:
#
# - Both begin with a plateau: the network paints one grey. G leaves it after 150 steps. F takes
#   500: the gradient of its first stage is three to ten times smaller there. So with three stages
#   F is late, not lost; how late depends on the first weights. (With r ten times larger F takes
#   some 50 steps more than G, and ends 0.5 dB below it.) The textbook is right, and the effect is
#   modest.
# - Saturated, F's gradient is 0 in float32, in all three stages: only r learns, and the best it
#   can do is one grey. G does without f3, as a network of two stages. f3 itself gets no gradient
#   in G either: a skip saves the stages before it, and not the stage that it skips.
# - With twenty stages F's first stage gets 1e-14, at either rate, and F stays on the plateau. G
#   learns. But it begins badly (its outputs are sums of 20 sigmoids), needs the small rate, and is
#   after 600 steps 5 dB behind three stages: skips make the depth bearable here, not useful.


# %%
def smooth(numbers, n):
    """The mean of each n numbers in a row; of less than are 4 n, of as many less."""
    n = max(1, min(n, len(numbers) // 4))
    return np.convolve(numbers, np.ones(n) / n, "valid")


BLUE, ORANGE, DASHES = "#0072B2", "#D55E00", ("-", "--", ":")
figure, axes = plt.subplots(2, 3, figsize=(10, 5.5), sharex="col", layout="constrained")
for (above, below), (variant, found) in zip(axes.T, runs.items(), strict=True):
    above.set_title(variant)
    below.set(yscale="log", xlabel="step")
    for name, color in (("F", BLUE), ("G", ORANGE)):
        errors, history, _ = found[name]
        above.plot(smooth(errors, 20), color=color, label=name)
        last = len(history.rows[0].norms) // 2 - 1  # without r
        stages = {"first": 1, "middle": last // 2 + 1, "last": last}
        for (which, i), dash in zip(stages.items(), DASHES, strict=True):
            norms = smooth([row.norms[f"W{i}"] for row in history.rows], 5)
            norms[norms == 0] = np.nan  # a log axis has no 0
            at = [row.step for row in history.rows[: len(norms)]]
            label = f"{name}, {which} stage"
            below.plot(at, norms, color=color, linestyle=dash, linewidth=1, label=label)
axes[0, 0].set_ylabel("-10 log10(loss): PSNR, dB")
axes[1, 0].set_ylabel("|gradient|")
axes[0, 0].legend(loc="upper left")
figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
if quick:
    figure.suptitle(f"{STEPS} steps only: this does not say who learns")
print()
save(figure, "skip_or_not.png")

# %% [markdown]
# ## Where G's gradient travels
#
# The shares of W1's gradient, by the number of stages on its paths, as they change: two paths in
# three stages, 2^19 in twenty.

# %%
save(runs["three stages"]["G"][1], "skip_or_not_three.svg")
save(runs["twenty stages"]["G"][1], "skip_or_not_twenty.svg")
print(f"\nG of twenty stages: {runs['twenty stages']['G'][1]}")

# %% [markdown]
# At first f3 works against the skip, at the end with it; but it is the skip that carries most of
# W1's gradient throughout. With twenty stages the path along all skips brings 72 % of it at first
# and 100 % at the end: what f1 learns from has gone through no other stage.

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/skip_or_not.py:loss -- --quick`
