# %% [markdown]
# # Denoising photographs with the DCT
#
# What exercise 2 is for. Noise spreads evenly over all DCT coefficients of a patch, the photograph
# gathers in a few. So drop the small coefficients of every patch, overlaps included, and
# average the patches again (Yu and Sapiro 2011, "DCT Image Denoising: a Simple and Effective Image
# Denoising Algorithm", IPOL).

# %%
import warnings
from time import perf_counter

import numpy as np
from denoising import dct_filters, photograph, psnr, ssim, with_noise
from pictures import gallery, quick, save
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_tv_chambolle, denoise_wavelet

from tinygrad_lite import Tensor, conv2d, vjp, where

# %% [markdown]
# ## The method is one convolution and its vjp
#
# The convolution with the filters gives the coefficients of every patch. A coefficient of pure
# noise is normal with the noise's own sigma, as the filters are orthonormal; above 3 sigma it is
# hardly ever noise, and kept (so is the mean, coefficient 0). The vjp of the same convolution puts
# the patches back and adds them up. Padded by n-1 pixels, every pixel lies in n*n patches.


# %%
def denoise_dct(noisy, sigma, n=8, stride=1):
    padded = np.pad(noisy, n - 1, mode="reflect")[None, None].astype(np.float32)
    y, synthesis = vjp(lambda x: conv2d(x, dct_filters(n), stride=stride), padded)
    keep = np.abs(y.data) > 3 * sigma
    keep[:, 0] = True
    total = synthesis(y.data * keep).data / (n // stride) ** 2
    return total[0, 0, n - 1 : 1 - n, n - 1 : 1 - n]


# %% [markdown]
# ## The peers, from scikit-image
#
# All are told sigma. Where a peer has something to choose, the best is chosen by looking at the
# photograph, which the DCT may not: it always uses 3 sigma.
#
# - total variation: the best of seven weights;
# - wavelets: the best of three, with BayesShrink's own thresholds; and the same averaged over
#   4x4 shifts of the photograph;
# - non-local means: the best of four h, for patches of 5x5 found within 13x13.


# %%
def total_variation(noisy, sigma):
    return [denoise_tv_chambolle(noisy, c * sigma) for c in (0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2)]


def wavelets(noisy, sigma, shifts=0):
    with warnings.catch_warnings(action="ignore"):  # about the number of levels of sym8
        return [
            cycle_spin(noisy, denoise_wavelet, shifts, func_kw=options, num_workers=1)
            for options in ({"sigma": sigma, "wavelet": name} for name in ("db1", "db2", "sym8"))
        ]


def non_local_means(noisy, sigma):
    sizes = {"patch_size": 5, "patch_distance": 6}
    return [denoise_nl_means(noisy, h=c * sigma, sigma=sigma, **sizes) for c in (0.4, 0.6, 0.8, 1)]


METHODS = {  # from a noisy photograph to candidates
    "noisy": lambda noisy, sigma: [noisy],
    "total variation": total_variation,
    "wavelets": wavelets,
    "wavelets, 4x4 shifts": lambda noisy, sigma: wavelets(noisy, sigma, shifts=3),
    "non-local means": non_local_means,
    "DCT 4x4": lambda noisy, sigma: [denoise_dct(noisy, sigma, n=4)],
    "DCT 8x8": lambda noisy, sigma: [denoise_dct(noisy, sigma)],
    "DCT 8x8, 4x4 shifts": lambda noisy, sigma: [denoise_dct(noisy, sigma, stride=2)],
    "DCT 8x8, no overlap": lambda noisy, sigma: [denoise_dct(noisy, sigma, stride=8)],
}

# %% [markdown]
# ## Two photographs, three amounts of noise
#
# PSNR in dB (more is better: 3 dB is half the squared error), and SSIM, which is 1 for the
# photograph itself.

# %%
PHOTOS = {name: photograph(name) for name in ("camera", "coins")}
SIGMAS = (10, 20, 30)
if quick:
    PHOTOS, SIGMAS = {"camera": PHOTOS["camera"][60:188, 150:278]}, (20,)

results, seconds = {}, dict.fromkeys(METHODS, 0.0)
for name, photo in PHOTOS.items():
    for sigma in SIGMAS:
        noisy = with_noise(photo, sigma, np.random.default_rng(sigma))
        for method, candidates in METHODS.items():
            start = perf_counter()
            found = candidates(noisy, sigma / 255)
            seconds[method] += perf_counter() - start
            results[name, sigma, method] = max(found, key=lambda one: psnr(photo, one))

for name, photo in PHOTOS.items():
    print(f"\n{name:20}", *(f"    sigma {sigma}   " for sigma in SIGMAS))
    for method in METHODS:
        row = [results[name, sigma, method] for sigma in SIGMAS]
        print(
            f"  {method:20}", *(f"{psnr(photo, one):6.2f} {ssim(photo, one):.3f}   " for one in row)
        )

print("\nSeconds in all (with all candidates)")
for method, s in seconds.items():
    print(f"  {method:20}{s:6.1f}")

# %% [markdown]
# The DCT of 8x8 patches is ahead of the wavelets everywhere, by 1.4 to 1.8 dB. That is the
# averaging: without overlap it is 0.9 to 1.6 dB behind them. Wavelets gain from averaging over
# shifts too; with the same 4x4 shifts the DCT is still ahead, by 0.1 to 0.6 dB. Non-local means,
# which looks for similar patches further away, is as good on the camera and up to 0.6 dB better on
# the coins; but its h was chosen by looking. Total variation is 0.3 dB behind the DCT, or level
# with it (on the coins at sigma 20 and 30). Which patches are better is up to the photograph: 4x4
# suit the fine texture of the coins.

# %%
if not quick:
    for name, photo in PHOTOS.items():
        for sigma in SIGMAS:
            dct, wavelet, shifted = (
                psnr(photo, results[name, sigma, method])
                for method in ("DCT 8x8", "wavelets", "wavelets, 4x4 shifts")
            )
            assert dct > wavelet + 1
            assert dct > shifted

# %% [markdown]
# "Removed" is what the method took for noise, the noisy photograph minus the result (grey is 0):
# edges seen there are lost. "Error" is the result minus the photograph.

# %%
name, sigma = "camera", 20
photo = PHOTOS[name]
part = np.s_[:, :] if quick else np.s_[60:188, 150:278]
noisy, dct = results[name, sigma, "noisy"], results[name, sigma, "DCT 8x8"]
tiles = {
    "photograph": photo,
    f"noisy, sigma {sigma}": noisy,
    "DCT 8x8": dct,
    "removed by DCT 8x8": noisy - dct + 0.5,
    "error of DCT 8x8": dct - photo + 0.5,
    **{peer: results[name, sigma, peer] for peer in list(METHODS)[1:5] if "shifts" not in peer},
}
labels = [
    f"{label} {psnr(photo, tile):.1f}" if label in METHODS else label
    for label, tile in tiles.items()
]
print()
save(gallery([tile[part] for tile in tiles.values()], labels), "denoise.png")

# %% [markdown]
# One patch on its way through, to look at: `tinygrad-lite step examples/denoise.py:kept`.

# %%
patch = Tensor(noisy[None, None, :8, :8].astype(np.float32), requires_grad=True, name="patch")
coefficients = conv2d(patch, dct_filters(8))
kept = where(abs(coefficients.data) > 3 * sigma, coefficients, 0)

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/denoise.py:kept -- --quick`
