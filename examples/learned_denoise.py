# %% [markdown]
# # Learning a better DCT
#
# DCT denoising is a small network: a convolution, a threshold, and the vjp of the convolution. So
# it can be improved by gradient descent on photographs: first the thresholds, one for each wave,
# then the waves themselves. It is judged by photographs that it has not seen. (Herbreteau and
# Kervrann 2022, "DCT2net: an Interpretable Shallow CNN for Image Denoising", learn larger
# filters from 432 photographs; here are four.)

# %%
import math
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from denoising import JUDGE, LEARN, crops, dct_filters, photograph, psnr, with_noise
from pictures import gallery, out, quick, save
from tqdm import tqdm

from tinygrad_lite import Tensor, conv2d, conv_transpose2d, log, no_grad, sigmoid
from tinygrad_lite.training import Adam, load
from tinygrad_lite.training import save as save_parameters

N, SIGMA = 8, 20

# %% [markdown]
# ## The network
#
# DCT denoising drops the small coefficients of the noisy x, and puts the rest together. That is
# the same as to put together the small ones, and to subtract them:
#
#     x - K^T (drop * K x) / n^2.
#
# So written, what is learned can only be about what to take away. And each wave is kept at mean 0
# (all but the constant one, which is never dropped and so is left out): then, whatever the waves
# become, a flat patch stays as it is.
#
# A threshold that is exceeded or not has no gradient (exercise 1). The way out is again the
# sigmoid: drop = sigmoid(s (t - |y| / sigma)) for a coefficient y of size t sigma or less.

# %%
K = Tensor(dct_filters(N)[1:], requires_grad=True, name="K")
t = Tensor(np.full((N * N - 1, 1, 1), 3, np.float32), requires_grad=True, name="t")
s = Tensor(np.full((N * N - 1, 1, 1), 6, np.float32), requires_grad=True, name="s")


def smooth_threshold(y, sigma):
    return sigmoid(s * (t - abs(y) / sigma))


def hard_threshold(y, sigma):
    return abs(y) <= 3 * sigma


def network(x, sigma, drop=smooth_threshold):
    waves = K - K.mean(axis=(2, 3), keepdims=True)
    y = conv2d(x, waves)
    return x - conv_transpose2d(y * drop(y, sigma), waves) / N**2


@no_grad()
def denoise(noisy, sigma, drop=smooth_threshold):
    padded = np.pad(noisy, N - 1, mode="reflect")[None, None]
    inner = np.s_[N - 1 : 1 - N]
    return network(Tensor(padded), np.float32(sigma / 255), drop).data[0, 0, inner, inner]


# %% [markdown]
# ## Learning
#
# The loss is the logarithm of the squared error of each crop, which is its PSNR but for a factor:
# otherwise the crops with most detail would decide alone. The rate of Adam rises for 100 steps, and
# falls to 0 along a cosine. Every 50 steps, the right quarters of the four photographs, which are
# not learned from, tell how good the network is. The best parameters are kept, and learning stops
# when for 300 steps there were none better.

# %%
photos = [photograph(name) for name in LEARN]
to_learn = [photo[:, : photo.shape[1] * 3 // 4] for photo in photos]
rng = np.random.default_rng(0)
checks = [
    (part, with_noise(part, SIGMA, rng)) for part in (p[:, -(p.shape[1] // 4) :] for p in photos)
]


def check():
    return np.mean([psnr(part, denoise(noisy, SIGMA)) for part, noisy in checks])


def loss():
    clean = crops(to_learn, 2 if quick else 8, 48 + 2 * (N - 1), rng)
    error = network(with_noise(clean, SIGMA, rng), np.float32(SIGMA / 255)) - clean
    whole = error[:, :, N - 1 : 1 - N, N - 1 : 1 - N]  # what all patches around it have seen
    return log((whole * whole).mean(axis=(1, 2, 3))).mean()


def learn(what, rates, steps, every=10 if quick else 50, patience=300):
    """Minimise the loss over some parameters, each with its first rate."""
    optimisers = [Adam([p], lr=rate) for p, rate in zip(what, rates, strict=True)]
    best, best_step, kept = check(), 0, [p.data for p in what]
    bar = tqdm(range(1, steps + 1), desc="learning " + ", ".join(p.name for p in what))
    for step in bar:
        loss().backward()
        for optimiser, rate in zip(optimisers, rates, strict=True):
            optimiser.lr = rate * min(1, step / 100) * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.step()
        K.zero_grad()  # when it is not learned yet
        if step % every == 0 and (found := check()) > best:
            best, best_step, kept = found, step, [p.data for p in what]
            bar.set_postfix_str(f"{best:.2f} dB")
        if step - best_step >= patience:
            break
    for p, values in zip(what, kept, strict=True):
        p.data = values
    print(f"  {', '.join(p.name for p in what):9} {step:5d} steps, the best {best_step:5d}")


# %% [markdown]
# ## Judged by other photographs
#
# Four photographs not learned from, at the sigma that was learned and at two that were not: the
# thresholds are in units of sigma, so the network can be told another.

# %%
JUDGED = {name: photograph(name) for name in JUDGE}
if quick:
    JUDGED = {name: photo[100:228, 100:228] for name, photo in JUDGED.items()}
SIGMAS = (SIGMA,) if quick else (10, SIGMA, 30)
noisy = {
    (name, sigma): with_noise(photo, sigma, np.random.default_rng(sigma))
    for name, photo in JUDGED.items()
    for sigma in SIGMAS
}


def denoise_all(drop=smooth_threshold):
    return {(name, sigma): denoise(y, sigma, drop) for (name, sigma), y in noisy.items()}


found = {"DCT, hard threshold": denoise_all(hard_threshold), "DCT, smooth threshold": denoise_all()}
before, start = K.numpy(), perf_counter()
print("Learning at sigma 20")
learn([t, s], [0.05, 0.05], 10 if quick else 200)
found["thresholds learned"] = denoise_all()
learn([t, s, K], [0.02, 0.02, 0.003], 20 if quick else 900)
found["waves learned"] = denoise_all()
print(f"  {perf_counter() - start:.0f} seconds")

for sigma in SIGMAS:
    print(f"\nPSNR at sigma {sigma}        ", *(f"{name:>8}" for name in JUDGED), "    mean")
    for method, results in {"noisy": noisy, **found}.items():
        row = [psnr(photo, results[name, sigma]) for name, photo in JUDGED.items()]
        print(f"  {method:22}", *(f"{value:8.2f}" for value in row), f"{np.mean(row):8.2f}")
gain = np.mean(
    [
        psnr(photo, found["waves learned"][key, SIGMA])
        - psnr(photo, found["DCT, hard threshold"][key, SIGMA])
        for key, photo in JUDGED.items()
    ]
)
print(f"\nGained at sigma {SIGMA}: {gain:.2f} dB")
assert quick or gain >= 0.2

# %% [markdown]
# What was learned:
#
# - The thresholds alone gain next to nothing: 3 sigma is a good choice. Coarse waves get a lower
#   threshold, fine ones a higher, as photographs have more to lose there and here.
# - The waves gain on all four photographs, over the DCT with its hard threshold: at sigma 20, which
#   was learned, 0.49 dB in the mean, at sigma 10 0.25, at sigma 30 0.56. A wave of the DCT that
#   varies along both axes is a chequered pattern, the sum of two waves in two directions; an edge
#   has one direction, and needs many of them. Of the learned waves the coarser ones have one.


# %%
def side_by_side(w):
    """The waves in 8 rows, each at its own contrast; the constant one is left out."""
    w = w - w.mean(axis=(2, 3), keepdims=True)
    w = np.concatenate([np.zeros((1, 1, N, N)), w / np.abs(w).max(axis=(1, 2, 3), keepdims=True)])
    w = np.pad(w[:, 0], ((0, 0), (1, 1), (1, 1)), constant_values=1).reshape(N, N, N + 2, N + 2)
    return w.swapaxes(1, 2).reshape(N * (N + 2), -1)


figure, axes = plt.subplots(1, 3, figsize=(10, 3.4), layout="constrained")
for axis, title, w in zip(axes, ("waves of the DCT", "learned"), (before, K.data), strict=False):
    axis.imshow(side_by_side(w), cmap="gray", vmin=-1, vmax=1)
    axis.set_title(title)
shown = axes[2].imshow(np.append(np.nan, t.data).reshape(N, N))
axes[2].set_title("thresholds, in units of sigma")
figure.colorbar(shown, ax=axes[2])
for axis in axes:
    axis.set(xticks=(), yticks=())
print()
save(figure, "learned_waves.png")

# %%
photo = JUDGED["coins"]
seen, dct, learned = (
    results["coins", SIGMA]
    for results in (noisy, found["DCT, hard threshold"], found["waves learned"])
)
tiles = {
    "photograph": photo,
    f"noisy {psnr(photo, seen):.1f} dB": seen,
    f"DCT {psnr(photo, dct):.1f} dB": dct,
    f"learned {psnr(photo, learned):.1f} dB": learned,
    "removed by learned": seen - learned + 0.5,
    "error of the DCT": dct - photo + 0.5,
    "error of learned": learned - photo + 0.5,
    "learned - DCT, x 2": 2 * (learned - dct) + 0.5,
}
part = np.s_[30:158, 60:188] if not quick else np.s_[:, :]
save(gallery([tile[part] for tile in tiles.values()], list(tiles)), "learned_denoise.png")

# %% [markdown]
# The parameters go to a file, and come back the same.

# %%
save_parameters(out / "learned_denoise.npz", [K, t, s])
print("wrote", out / "learned_denoise.npz")
K.data, t.data, s.data = before, np.zeros_like(t.data), np.zeros_like(s.data)
load(out / "learned_denoise.npz", [K, t, s])
assert np.array_equal(denoise(seen, SIGMA), learned)

# %%
error = loss()

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/learned_denoise.py:error -- --quick`
