# %% [markdown]
# # Exercise 2: the DCT of image patches is a convolution
#
# The discrete cosine transform of a signal X of size N is
#
#     Y_k = sum_j X_j 2 a_k cos(pi (j + 1/2) k / N),    j, k = 0 ... N-1.
#
# With a_0 = sqrt(1/(4N)) and a_k = sqrt(1/(2N)) it is orthonormal. A 4x4 patch has N = 16.

# %%
import numpy as np
import scipy.fft
from pictures import gallery, save
from skimage.data import camera

from tinygrad_lite import Tensor, conv2d, grad, graph


def alpha(n):
    return np.sqrt(1 / np.where(np.arange(n) == 0, 4 * n, 2 * n))


def dct_matrix(n):
    """Row k, column j: 2 a_k cos(pi (j + 1/2) k / n)."""
    j, k = np.arange(n), np.arange(n)[:, None]
    return 2 * alpha(n)[:, None] * np.cos(np.pi * (j + 1 / 2) * k / n)


def report(what, found, expected):
    """Print the largest difference, and insist that it is rounding."""
    largest = np.abs(found - expected).max()
    print(f"  {what:62}{largest:9.1e}")
    assert largest < 1e-12


N = 16
C = dct_matrix(N)
a = alpha(N)

X = np.random.default_rng(0).standard_normal(N)
Y = C @ X

print("The definition, N = 16                                      largest difference")
report("a_k orthonormal    scipy.fft.dct(X, norm='ortho')", Y, scipy.fft.dct(X, norm="ortho"))
report("a_k = 1            scipy.fft.dct(X)", Y / a, scipy.fft.dct(X))

# %% [markdown]
# ## The formula as printed, and as it should be
#
# The printed solution rewrites the sum as a convolution, sum_j X_j C_k(k - j), as
#
#     Y_k = sum_j X_j 2 a_k cos(pi (k + (k - j) + 1/2) k / N),
#     C_k(m) = 2 a_k cos(pi (k + m + 1/2) k / N).
#
# At m = k - j the cosine must be that of (j + 1/2), and k + m is 2k - j, not j. Only k = 0,
# where the cosine is 1, comes out right. There are two ways to put it right:
#
# - keep the convolution, with a minus in the kernel: C_k(m) = 2 a_k cos(pi (k - m + 1/2) k / N);
# - keep the kernel, and read it as a cross-correlation, sum_j X_j C_k(j - k), as every
#   deep learning library's conv2d does.


# %%
def printed_kernel(k, m):
    return 2 * a[k] * np.cos(np.pi * (k + m + 1 / 2) * k / N)


def convolution_kernel(k, m):
    return 2 * a[k] * np.cos(np.pi * (k - m + 1 / 2) * k / N)


j = np.arange(N)
printed = np.array([np.sum(X * printed_kernel(k, k - j)) for k in range(N)])
off = np.abs(printed - Y)

print("\nThe printed formula, a convolution with its printed kernel")
print(f"  largest error                {off.max():.3f}  at k = {off.argmax()}")
print(f"  error at k = 0               {off[0]:.1e}")
print(f"  smallest error for k >= 1    {off[1:].min():.3f}")
assert round(off.max(), 3) == 2.885
assert off[0] < 1e-12 < off[1:].min()

# np.convolve(X, c, "valid") is sum_j X_j c[N-1-j]: c[i] must be the kernel at m = k-(N-1)+i.
convolved = [np.convolve(X, convolution_kernel(k, k - N + 1 + j), "valid")[0] for k in range(N)]
correlated = [np.correlate(X, printed_kernel(k, j - k), "valid")[0] for k in range(N)]

print("\nPut right                                                   largest difference")
report("convolution, with a minus in the kernel", convolved, Y)
report("cross-correlation, with the printed kernel", correlated, Y)

# %% [markdown]
# ## "The kernel is 16x16"
#
# For 4x4 patches this has two honest meanings, both with 16 filters of 16 numbers:
#
# - literally: flatten the patch to 16 numbers, and take their DCT. The filters are the rows
#   of C; conv2d wants them in the shape (16, 1, 1, 16).
# - as image denoising uses it: the 2-D DCT, along the columns and along the rows. Filter
#   (k, l) is the 4x4 outer product of rows k and l of the 4x4 DCT matrix D; the shape is
#   (16, 1, 4, 4).

# %%
photo = camera() / 255  # 512 x 512, from 0 to 1
x = Tensor(photo[None, None], requires_grad=True, name="photo")
patch = Tensor(photo[100:104, 100:104], requires_grad=True, name="patch")

flat = Tensor(C.reshape(16, 1, 1, 16), name="C")
coefficients = conv2d(patch.reshape(1, 1, 1, 16), flat).reshape(16)
coefficients.name = "DCT of the patch"

D = dct_matrix(4)
D2 = np.kron(D, D)  # row 4k + l is the outer product of rows k and l of D
square = Tensor(D2.reshape(16, 1, 4, 4), name="D2")
blocks = conv2d(x, square, stride=4)
blocks.name = "DCT of each block"

block_values = photo.reshape(128, 4, 128, 4).swapaxes(1, 2)  # [row, column] is a 4x4 block
expected = scipy.fft.dctn(block_values, axes=(2, 3), norm="ortho").reshape(128, 128, 16)

print("\nconv2d against SciPy                                        largest difference")
report(
    "16 taps    scipy.fft.dct(patch.ravel(), norm='ortho')",
    coefficients,
    scipy.fft.dct(patch.data.ravel(), norm="ortho"),
)
report(
    "4x4 taps   scipy.fft.dctn of each 4x4 block of the photograph",
    blocks,
    expected.transpose(2, 0, 1)[None],
)

print("\nBoth are orthogonal 16x16 matrices                          largest difference")
report("C C^T = I", C @ C.T, np.eye(16))
report("D2 D2^T = I", D2 @ D2.T, np.eye(16))
print(f"\nBut they differ: the largest |C - D2| is {np.abs(C - D2).max():.2f}")
assert np.abs(C - D2).max() > 0.1

# %% [markdown]
# As pictures: grey is 0, black -1/2, white 1/2. A flat filter, put back into the 4x4 patch that
# it sees, runs on from one row to the next; the 2-D filters (k, l) are waves, k from top to
# bottom and l from left to right.

# %%
print()
pairs = [f"{k}, {l}" for k in range(4) for l in range(4)]  # noqa: E741
singles = [f"k = {k}" for k in range(16)]
save(gallery(0.5 + C.reshape(16, 4, 4), singles, zoom=24), "dct_kernel_flat.png")
save(gallery(0.5 + D2.reshape(16, 4, 4), pairs, zoom=24), "dct_kernel_2d.png")

# %% [markdown]
# ## The vjp of the analysis is the synthesis
#
# The analysis is linear, y = A x, so its vjp is multiplication by A^T. With stride 4 the
# blocks do not overlap and A is orthogonal: A^T y = A^T A x = x. So `backward`, given the
# coefficients as the cotangent, returns the image.

# %%
coefficients.backward(coefficients.data)  # drawn in dct.svg: the norm is the same all the way
blocks.backward(blocks.data)

print("\nThe image back from its coefficients, by the vjp            largest difference")
report("the patch, 16 taps", patch.grad, patch.data)
report("the photograph, 4x4 taps, stride 4", x.grad, x.data)

# %% [markdown]
# With stride 1 the filters see every 4x4 patch, overlaps included. Each patch gives its own
# reconstruction of its pixels, and the vjp adds them up. How many patches cover a pixel is
# also a vjp: that of adding up each patch. The sum divided by that count is the average of
# all overlapping reconstructions, and here they all agree.
#
# This is what DCT denoising rests on: change the coefficients in between (drop the small
# ones, which are mostly noise), and the overlapping reconstructions average the errors out.

# %%
patches = conv2d(x, square)
synthesis = grad(patches, x, patches.data)

box = conv2d(x, np.ones((1, 1, 4, 4)))
coverage = grad(box, x, np.ones(box.shape))
rebuilt = synthesis.data / coverage.data

report(f"the photograph, from all {patches[0, 0].size} patches", rebuilt, x.data)
print("\nHow many patches cover a pixel, from the corner inwards")
for row in coverage.data[0, 0, :5, :5]:
    print(" ", *(f"{count:3.0f}" for count in row))
assert coverage.data.max() == 16

# %% [markdown]
# ## The photograph in 16 coefficients
#
# Coefficient (0, 0) is 4 times the mean of its block, and ranges from 0 to 4. The others are
# differences, k from top to bottom and l from left to right, and most are close to 0: here
# grey is 0, black -0.2 or less, white 0.2 or more.

# %%
shown = blocks.data[0] / 0.4 + 0.5
shown[0] = blocks.data[0, 0] / 4
print()
save(gallery(shown, pairs), "dct_coefficients.png")

strip = [photo, rebuilt[0, 0], 0.5 + 1e15 * (rebuilt[0, 0] - photo)]
save(
    gallery(strip, ["photograph", "rebuilt by the vjp", "difference x 1e15"], columns=3),
    "dct_rebuilt.png",
)
save(graph(coefficients), "dct.svg")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/dct.py:coefficients`
