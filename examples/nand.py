# %% [markdown]
# # Exercise 1: a NAND gate is a perceptron
#
# With g the Heaviside step (0 below zero, 1 above),
#
#     f(x1, x2) = g(1.5 - x1 - x2)
#
# is a NAND gate: 1 unless both inputs are 1. It is one perceptron, with weights -1, -1
# and bias 1.5.

# %%
import numpy as np
from pictures import save

from tinygrad_lite import Tensor, grad, graph, heaviside, program, scope, sigmoid

w1 = Tensor(-1.0, requires_grad=True, name="w1")
w2 = Tensor(-1.0, requires_grad=True, name="w2")
b = Tensor(1.5, requires_grad=True, name="b")


def perceptron(x1, x2, g):
    return g(w1 * x1 + w2 * x2 + b)


def nand(x1, x2):
    return perceptron(x1, x2, heaviside)


# %% [markdown]
# ## The truth table
#
# All four cases in one call. The pre-activation h is never 0, so it does not matter here
# what g(0) is; the engine takes 1/2.

# %%
x1 = Tensor([0.0, 0.0, 1.0, 1.0], name="x1")
x2 = Tensor([0.0, 1.0, 0.0, 1.0], name="x2")

with scope("perceptron"):
    f = nand(x1, x2)
f.name = "NAND"

print("NAND, a perceptron with weights -1, -1 and bias 1.5\n")
print("  x1  x2     h   f = g(h)")
for row in zip(x1.data, x2.data, 1.5 - x1.data - x2.data, f.data, strict=True):
    print("  {:2.0f}  {:2.0f}  {:4.1f}   {:4.0f}".format(*row))
assert f.data.tolist() == [1, 1, 1, 0]

# %% [markdown]
# ## It cannot learn
#
# The derivative of the step is 0 wherever it exists. So no gradient gets past g: the weights
# receive exactly 0, whatever the error at the output.

# %%
f.backward(np.ones(4))

print("\nThe gradient of sum(f): exactly 0, because g blocks it")
for t in (w1, w2, b):
    print(f"  df/d{t.name:2s} = {t.grad}")
    assert t.grad == 0

g = graph(f)
print("\nWhat the gradient does on each edge, from the output back")
for edge in reversed(g.edges):
    source, target = g.nodes[edge.source], g.nodes[edge.target]
    ends = target.name or target.symbol, source.name or source.symbol
    print("  {:>4} -> {:4} ".format(*ends), edge.traffic)
assert g.edges[-1].traffic == "blocked"
save(g, "nand.svg")

# %% [markdown]
# *Blocked* is not *vanishing*. The sigmoid s(k h) tends to g(h) as k grows (and to 1/2 at
# h = 0, which is why g(0) = 1/2). On the way its gradient becomes tiny, but never 0: it
# vanishes. Only in the limit is nothing left.

# %%
print("\nThe same perceptron with s(k h) in place of g(h), at (1, 1), where h = -1/2")
print("     k          f      df/db")
for k in (1, 10, 100):
    soft = perceptron(1.0, 1.0, lambda h, k=k: sigmoid(k * h))
    print(f"  {k:4d}  {soft.item():9.2g}  {grad(soft, b).item():9.2g}")
    assert grad(soft, b).item() > 0
step = nand(1.0, 1.0)
print(f"  step  {step.item():9.2g}  {grad(step, b).item():9.2g}   blocked")

# %% [markdown]
# ## NAND is universal
#
# Every logic gate can be built from NANDs. Here the same perceptron, called 4 times, is XOR,
# and called 9 times it adds two bits and a carry. Each call is a scope of its own, so that the
# drawing shows four gates. (No gradient has been asked of XOR, so the edges are *not computed*, and
# still blocked at every step, which the drawings call H, for Heaviside.)


# %%
def half_adder(p, q):
    """p XOR q from 4 NANDs, and the first of them, which the carry needs."""
    first, upper, lower, last = (scope(f"NAND {i}")(nand) for i in range(1, 5))
    n = first(p, q)
    return last(upper(p, n), lower(n, q)), n


def full_adder(p, q, carry):
    """The two binary digits of p + q + carry, from 9 NANDs."""
    first, n1 = half_adder(p, q)
    total, n2 = half_adder(first, carry)
    return total, nand(n1, n2)


xor, _ = half_adder(x1, x2)
xor.name = "XOR"
print("\nXOR of the four cases, from 4 NANDs:", *xor.data.astype(int))
gates = {node.scope[0] for node in graph(xor) if node.op}
print("In its drawing each gate is an area; H is the step g (Heaviside):", *sorted(gates), sep="  ")
assert xor.data.tolist() == [0, 1, 1, 0]
save(graph(xor), "nand_xor.svg")

bits = np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], float)
p, q, c = (Tensor(column, name=name) for column, name in zip(bits.T, "pqc", strict=True))
total, carry = full_adder(p, q, c)
assert sum(node.op == "heaviside" for node in graph(total + carry)) == 9

print("\nThe full adder, from 9 NANDs\n\n  p  q  c   carry  sum")
for row in zip(*bits.T, carry.data, total.data, strict=True):
    print("  {:.0f}  {:.0f}  {:.0f}   {:5.0f}  {:3.0f}".format(*row))
assert np.array_equal(2 * carry.data + total.data, bits.sum(axis=1))

# %% [markdown]
# ## The way out: a smooth step
#
# With the sigmoid in place of g the gradient gets through, and NAND can be learned: start
# from random weights, and follow the gradient of the mean squared error downhill. The error is
# computed once as usual; a `program` then computes it and its gradient again at each step, from the
# weights as they are.

# %%
rng = np.random.default_rng(0)
target = f.detach()
for t in (w1, w2, b):
    t.data = rng.standard_normal()


def error():
    return ((perceptron(x1, x2, sigmoid) - target) ** 2).mean()


run = program(error(), wrt=(w1, w2, b))

print("\nLearning NAND with the sigmoid, from random weights\n")
print("   step   error      w1      w2       b")
for i in range(2001):
    loss, slopes = run()
    if i in (0, 10, 100, 1000, 2000):
        print(f"  {i:5d}  {loss:.4f}", *(f" {t.item():6.2f}" for t in (w1, w2, b)))
    for t, slope in zip((w1, w2, b), slopes, strict=True):
        t.data -= 2 * slope  # gradient descent, with steps of 2

with scope("perceptron"):
    learned = perceptron(x1, x2, sigmoid)
learned.name = "learned"
print("\n  x1  x2  learned  thresholded")
for row in zip(x1.data, x2.data, learned.data, nand(x1, x2).data, strict=True):
    print("  {:2.0f}  {:2.0f}  {:7.3f}  {:11.0f}".format(*row))
assert np.array_equal(nand(x1, x2).data, f.data)
print()

learned.backward(learned.data - f.data)  # the gradient of half the squared error
save(graph(learned), "nand_learned.svg")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/nand.py:learned`
