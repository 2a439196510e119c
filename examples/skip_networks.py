# %% [markdown]
# # Exercise 4: what a skip connection does to the gradient
#
# Three layers with parameters t1, t2, t3, without and with a skip over the last one:
#
#     z = f1(x; t1),   y = f2(z; t2),   F(x) = f3(y; t3),   G(x) = f3(y; t3) + y
#
# Each f_i is the layer of exercise 3, sigmoid(W x + b); any of them can be exchanged.

# %%
import numpy as np
from pictures import out, save

from tinygrad_lite import (
    Tensor,
    compare,
    flow,
    grad,
    graph,
    paths,
    relu,
    replay,
    scope,
    sigmoid,
    tanh,
    what_if,
)


def layer(x, t):
    W, b = t
    return sigmoid(W @ x + b)


def networks(x, t1, t2, t3, f1=layer, f2=layer, f3=layer):
    with scope("f1"):
        z = f1(x, t1)
    with scope("f2"):
        y = f2(z, t2)
    with scope("f3"):
        F = f3(y, t3)
    G = F + y
    z.name, y.name, F.name, G.name = "z", "y", "F", "G"
    return z, y, F, G


# %% [markdown]
# The weights are random. This seed was chosen because both things that can happen do happen:
# the two paths of the gradient agree for t2, and oppose each other for t1.


# %%
def random_parameters(rng):
    x = Tensor(rng.standard_normal(3), name="x")
    sizes = {"W1": (4, 3), "b1": 4, "W2": (4, 4), "b2": 4, "W3": (4, 4), "b3": 4}
    W1, b1, W2, b2, W3, b3 = (
        Tensor(rng.standard_normal(size), requires_grad=True, name=name)
        for name, size in sizes.items()
    )
    return x, (W1, b1), (W2, b2), (W3, b3)


x, t1, t2, t3 = random_parameters(np.random.default_rng(34))
z, y, F, G = networks(x, t1, t2, t3)
print("F(x) =", F.data.round(3))
print("G(x) =", G.data.round(3))

# %% [markdown]
# ## The gradients, drawn
#
# F and G have 4 outputs. Their gradients here are those of the sum of the outputs: v^T dF/dt
# with v = (1, 1, 1, 1). In the drawings, the thickness of an edge and the number beside it say
# how much gradient went through it.

# %%
v = np.ones(4)
F.backward(v)
G.backward(v)
print()
save(graph(F), "F.svg")
save(graph(G), "G.svg")

# %% [markdown]
# ## The identities
#
# The gradient reaches y twice: through f3, as u = v^T df3/dy (the deep path), and over the
# skip, as v itself. From y on, both go the same way, through f2 and f1. So the chain rule gives
#
#     dF/dt3 = df3/dt3                   dG/dt3 = dF/dt3
#     dF/dt2 = df3/dy df2/dt2            dG/dt2 = dF/dt2 + df2/dt2
#     dF/dt1 = df3/dy df2/dz df1/dt1     dG/dt1 = dF/dt1 + df2/dz df1/dt1
#
# Below, each right side is put together from one layer at a time.


# %%
norm = np.linalg.norm


def d(output, t, cotangent=v):
    """The gradient with respect to all of t, W and b, as one vector."""
    return np.concatenate([g.data.ravel() for g in grad(output, t, cotangent)])


def identities(z, y, F, G):
    """Left side minus right side."""
    u = grad(F, y, v)
    return {
        "dG/dt3 = dF/dt3": d(G, t3) - d(F, t3),
        "dF/dt2 = df3/dy df2/dt2": d(F, t2) - d(y, t2, u),
        "dG/dt2 = dF/dt2 + df2/dt2": d(G, t2) - (d(F, t2) + d(y, t2)),
        "dF/dt1 = df3/dy df2/dz df1/dt1": d(F, t1) - d(z, t1, grad(y, z, u)),
        "dG/dt1 = dF/dt1 + df2/dz df1/dt1": d(G, t1) - (d(F, t1) + d(z, t1, grad(y, z, v))),
    }


def two_rounds(z, t):
    W, b = t
    return relu(W @ relu(W @ z + b) + b)


def tanh_layer(y, t):
    W, b = t
    return tanh(W @ y + b)


variants = [
    identities(z, y, F, G),
    identities(*networks(x, t1, t2, t3, f2=two_rounds)),
    identities(*networks(x, t1, t2, t3, f3=tanh_layer)),
]
print("\nThe identities: largest difference           three     f2: two rounds   f3: tanh")
print("between the two sides                    sigmoid layers    of relu        layer")
for identity in variants[0]:
    largest = [np.abs(variant[identity]).max() for variant in variants]
    print("  {:36} {:11.1e} {:14.1e} {:13.1e}".format(identity, *largest))
    assert max(largest) < 1e-14

# %% [markdown]
# ## Who contributes what
#
# Two paths lead from G to t1 and t2: over the skip, and through f3, where F's only path goes.
# What travels each is its contribution, a vector, and the gradient is the sum of the two. So
# their lengths do not add up. What does add up, to 100 %, is the signed share of each,
#
#     share(part) = <part, dG> / <dG, dG>.

# %%
W1, _ = t1
over_skip, deep = found = paths(G, wrt=W1)
print(f"\n{found}")
assert np.isclose(over_skip.share + deep.share, 1)
assert np.array_equal(deep.contribution, grad(F, W1, v).data)  # the deep path is that of F
assert np.array_equal(over_skip.contribution, grad(y, W1, v).data)  # the skip that of y

# %% [markdown]
# A negative share means that this path pulls against the gradient that the two make
# together. So a skip does not simply add to the gradient. Here are both networks, for all
# parameters: "only in G" are the paths over the skip, "F has it too" those through f3. The
# coherence is |∂G| / sum of |part|: less than 1 where the parts do not point the same way.

# %%
both = compare(F, G)
print(f"\n{both}\n")
save(both, "compare.svg")

# %% [markdown]
# The flow is the share of the gradient of W1 that each edge of the network carries, summed over
# all paths through it: 100 % leaves G, 100 % arrives at W1. In its drawing the thickness of an
# edge is its share; a negative share is dashed.

# %%
save(flow(G, wrt=W1), "flow.svg")

# %% [markdown]
# ## Saturate f3
#
# The course says that the skip prevents the gradient from vanishing in f3. Compute F and G again
# with b3 + 20: f3 is then on the flat end of the sigmoid, and next to nothing gets through it. F
# stops learning. G keeps, for t1 and t2, the part over the skip; for t3 it has no more than F.

# %%
_, b3 = t3
F_flat, G_flat = (replay(output, {b3: b3.data + 20}) for output in (F, G))
print(f"\nWith b3 + 20\n{compare(F_flat, G_flat)}\n")
save(graph(F_flat), "F_saturated.svg")
save(graph(G_flat), "G_saturated.svg")

assert all(norm(d(F_flat, t)) < 1e-6 for t in (t1, t2, t3))
assert all(norm(d(G_flat, t) - d(y, t)) < 1e-6 for t in (t1, t2))  # over the skip alone

# %% [markdown]
# Before and after hide what lies between. On the way |dG| for W1 first falls: f3 then passes on
# more gradient than before, and that opposes the part over the skip.

# %%
print(f"\n{what_if(G, wrt=W1, sweep={b3: np.add.outer(np.arange(0.0, 21, 2), b3.data)})}")

# %% [markdown]
# ## Stop f3, or leave it out
#
# Two ways to be rid of f3's part at once. *Stopped*, no gradient passes f3, and all values stay:
# what is left is the part over the skip. *Ablated*, F is left out of G = F + y.
#
# Under the sum of G both give W1 the same gradient, since v does not depend on G. Under
# ½|G|² the gradient starts from G itself: stopped, F is still in it, and the gradient grows;
# ablated, it is gone, and the gradient shrinks. So "what if f3 were not there" has two answers.

# %%
print(f"\n{what_if(G, wrt=W1)}\n")
print(what_if(G, wrt=W1, loss=lambda y: (y * y).sum() / 2))

# %% [markdown]
# ## How usual is this?
#
# The weights above were picked. Over 300 random ones the two paths pull against each other (at an
# angle of more than 90 degrees) about as often as not, and the skip rarely leaves G with a smaller
# gradient than F has: mostly the part over the skip is much the larger of the two.

# %%
rng, oppose, smaller = np.random.default_rng(0), [], []
for _ in range(300):
    inputs = random_parameters(rng)
    _, other_y, other_F, _ = networks(*inputs)
    parts = [(d(other_F, t), d(other_y, t)) for t in inputs[1:3]]  # deep and skip; t1 and t2
    oppose.append([np.vdot(deep, over) < 0 for deep, over in parts])
    smaller.append([norm(deep + over) < norm(deep) for deep, over in parts])

print("\nOver 300 random weights                t1     t2")
print("  the paths oppose each other        {:4.0%}   {:4.0%}".format(*np.mean(oppose, axis=0)))
print("  |∂G| < |∂F|, the skip takes away   {:4.0%}   {:4.0%}".format(*np.mean(smaller, axis=0)))

# %%
sizes = [norm(v), norm(grad(F, y, v).data), norm(d(G, t1[:1])), norm(d(F, t1[:1]))]
over_skip, through_f3, W1_in_G, W1_in_F = map("{:#.3g}".format, sizes)
print(f"\nOpen {out / 'compare.svg'} first: F and G on one scale. G has one arrow more, the")
print(f"skip from y round f3. Over it y gets a gradient of {over_skip}, through f3 {through_f3}.")
print(f"So the gradient of W1 is {W1_in_G} in G, and {W1_in_F} in F.")

# %% [markdown]
# Turn its knobs: `tinygrad-lite live examples/skip_networks.py:G`
