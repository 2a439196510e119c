"""What the denoising examples share: photographs, noise, and the waves of the DCT."""

import numpy as np
from skimage import data
from skimage.color import rgb2gray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

# Half of scikit-image's photographs to learn from, half to judge by.
LEARN = ("astronaut", "chelsea", "coffee", "moon")
JUDGE = ("camera", "clock", "coins", "rocket")


def photograph(name):
    """A photograph that comes with scikit-image, in grey, from 0 to 1."""
    pixels = getattr(data, name)()
    grey = rgb2gray(pixels) if pixels.ndim == 3 else pixels / 255
    return grey.astype(np.float32)


def with_noise(photo, sigma, rng):
    """Normal noise added; sigma is in grey levels of 255."""
    return photo + rng.standard_normal(photo.shape, np.float32) * np.float32(sigma / 255)


def crops(photos, number, size, rng):
    """Random squares, half of them mirrored and half transposed: (number, 1, size, size)."""
    found = []
    for photo in (photos[k] for k in rng.integers(len(photos), size=number)):
        i, j = (rng.integers(n - size + 1) for n in photo.shape)
        crop = photo[i : i + size, j : j + size]
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        found.append(crop.T if rng.random() < 0.5 else crop)
    return np.stack(found)[:, None]


def psnr(photo, found):
    """In dB: 3 dB more is half the squared error."""
    return peak_signal_noise_ratio(photo, found, data_range=1)


def ssim(photo, found):
    """The structural similarity: 1 for the photograph itself."""
    return structural_similarity(photo, found, data_range=1)


def dct_filters(n):
    """The n*n cosine waves on n x n pixels, a weight of conv2d; the first is constant."""
    j, k = np.arange(n), np.arange(n)[:, None]
    D = np.sqrt(np.where(k == 0, 1, 2) / n) * np.cos(np.pi * (j + 1 / 2) * k / n)
    return np.kron(D, D).reshape(n * n, 1, n, n).astype(np.float32)
