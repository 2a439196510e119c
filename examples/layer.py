# %% [markdown]
# # Exercise 3: the derivatives of one layer
#
#     f = s(h),   h = W x + b,   s the sigmoid
#
# with W a 4x3 matrix, x in R^3 and b in R^4. With s' = s'(h) in R^4, the exact Jacobians are
#
#     df_i/dx_j  = s'_i W_ij             4x3       diag(s') W
#     df_i/dW_jk = s'_i delta_ij x_k     4x4x3     row i of W moves only f_i
#     df_i/db_j  = s'_i delta_ij         4x4       diag(s')

# %%
import numpy as np
from pictures import save

from tinygrad_lite import Tensor, graph, jacobian, scope, sigmoid

np.set_printoptions(precision=3, suppress=True, floatmode="fixed", sign=" ")

rng = np.random.default_rng(0)
x = Tensor(rng.standard_normal(3), requires_grad=True, name="x")
W = Tensor(rng.standard_normal((4, 3)), requires_grad=True, name="W")
b = Tensor(rng.standard_normal(4), requires_grad=True, name="b")


@scope("layer")
def layer(x, W, b):
    return sigmoid(W @ x + b)


f = layer(x, W, b)
f.name = "f"
print("f = s(W x + b) =", f.data)

# %% [markdown]
# ## The Jacobians
#
# Reverse mode computes vector-Jacobian products: given v in R^4, all of v^T df/dx,
# v^T df/dW, v^T df/db in one pass. With v the i-th unit vector that is row i of each
# Jacobian, so four passes give them whole: that is what `jacobian` does.

# %%
J_x, J_W, J_b = (J.data for J in jacobian(layer, x, W, b))

# %% [markdown]
# Beside them the closed forms, in NumPy.

# %%
s = 1 / (1 + np.exp(-(W.data @ x.data + b.data)))
ds = s * (1 - s)

closed_x = np.diag(ds) @ W.data
closed_W = np.einsum("i,ij,k->ijk", ds, np.eye(4), x.data)
closed_b = np.diag(ds)


def print_beside(*matrices):
    """The rows of some matrices, side by side."""
    for rows in zip(*matrices, strict=True):
        print("  ", "    ".join(str(row + 0.0) for row in rows))  # -0.0 prints as 0.0


print("\ndf/dx, by the engine and by the formula diag(s') W")
print_beside(J_x, closed_x)
print("\ndf/db, by the engine and by the formula diag(s')")
print_beside(J_b, closed_b)
print("\ndf_i/dW by the engine, for i = 0 and i = 1: only row i is not 0, and it is s'_i x")
print_beside(J_W[0], J_W[1])

print("\nThe Jacobians against the closed forms")
print("         shape       largest difference")
for name, J, closed in (("x", J_x, closed_x), ("W", J_W, closed_W), ("b", J_b, closed_b)):
    print(f"  df/d{name}  {J.shape!s:10}  {np.abs(J - closed).max():.1e}")
    assert J.shape == closed.shape
    assert np.allclose(J, closed, rtol=0, atol=1e-15)

# %% [markdown]
# ## The gradient of sum(f)
#
# The printed solution multiplies by s'^T, a vector. That is not yet a Jacobian: it is what
# v = (1, 1, 1, 1) gives, the gradient of sum(f):
#
#     x: s'^T W,     W: the outer product s' x^T,     b: s'

# %%
f.backward(np.ones(4))

print("\nThe vjp with ones, against the closed forms")
for t, closed in ((x, ds @ W.data), (W, np.outer(ds, x.data)), (b, ds)):
    print(f"  {t.name}  {t.grad.shape!s:7} {np.abs(t.grad - closed).max():.1e}")
    assert np.allclose(t.grad, closed, rtol=0, atol=1e-15)

# %% [markdown]
# For W, the printed solution has s'^T (x; ...; x), with x stacked 4 times. Its shape is
# (3,), not the shape of W: it adds up the rows that the outer product keeps apart.

# %%
printed = ds @ np.stack([x.data] * 4)
print("\nThe printed df/dW has shape", printed.shape, "but W has", W.shape)
print("  printed s'^T (x; x; x; x)", printed)
print("  the rows of s' x^T, added", W.grad.sum(axis=0))
assert printed.shape == (3,) != W.shape
assert np.allclose(printed, W.grad.sum(axis=0))

# %% [markdown]
# ## Far from zero
#
# The printed s'(h) = e^-h / (1 + e^-h)^2 is right on paper. In floating point e^-h overflows
# for h below -709, and inf/inf is not a number; already below -355 the square overflows, and
# the result is 0 where it should not be. The engine takes s' = s (1 - s), with s = 1 / (1 + e^-h).
# There an infinite e^-h does no harm: 1/inf is 0, as it should be. (For h above 37, s' is 0 because
# s rounds to 1: wrong by less than 1e-16.)

# %%
h = Tensor([-1000.0, -700.0, -1.0, 1.0, 700.0, 1000.0], requires_grad=True, name="h")

with np.errstate(all="ignore"):
    printed = np.exp(-h.data) / (1 + np.exp(-h.data)) ** 2

with np.errstate(over="raise", invalid="raise", divide="raise"):
    sigmoid(h).backward(np.ones(6))

# s' is even, and for -|h| nothing overflows. (At 1000 it is 5e-435, which float64 rounds to 0.)
right = np.exp(-np.abs(h.data)) / (1 + np.exp(-np.abs(h.data))) ** 2

print("\n      h   printed s'(h)   engine      right is")
for at, *found, truth in zip(h.data, printed, h.grad, right, strict=True):
    holds = [np.isclose(number, truth, rtol=1e-12, atol=0) for number in found]
    which = {(1, 1): "both", (0, 1): "the engine", (1, 0): "the printed formula"}[*map(int, holds)]
    print(f"  {at:5.0f}   {found[0]:13.3g}   {found[1]:<9.3g}   {which}")
assert np.isnan(printed[0])
assert h.grad[0] == h.grad[-1] == 0
assert np.allclose(h.grad, right, rtol=0, atol=1e-16)

# %%
print()
save(graph(f), "layer.svg")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/layer.py:f`
