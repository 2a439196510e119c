# %% [markdown]
# # Chapter 0: a whole engine on two screens
#
# Backpropagation is one idea: **record a computation as a graph of small steps, and walk the graph
# backward**. Here is all of it, on nothing but NumPy, in less than 140 lines of code. The package
# in `tinygrad_lite/` is the same engine with more ops, errors that help, and pictures.
#
# ## 1. An operation is a function on arrays, and its rules
#
# The rule of an input, its *vjp* (vector-Jacobian product), says how the gradient goes back through
# the op: given g, the gradient of the result, what is the gradient of this input? It may use the
# result `out` and the inputs. For a * b the two rules are g * b and g * a.
#
# A rule is itself written with ops and operators. So it runs on arrays, which is quick; and it runs
# on Values, which records it: then the gradient has a graph of its own, and can be differentiated
# again. Nothing else is needed for second derivatives.

# %%
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count

import numpy as np


class Op:
    """A function on arrays and a rule for each of its inputs: rule(g, out, *inputs)."""

    def __init__(self, symbol, forward, *rules):
        self.symbol = symbol
        self.forward = forward
        self.rules = rules

    def __call__(self, *inputs, **static):
        """Arrays give an array; where one input is a Value, the result is one too."""
        if any(isinstance(x, Value) for x in inputs):
            return Value.record(self, inputs, static)
        return self.forward(*inputs, **static)


# %% [markdown]
# ## 2. A value is an array, and how it was made
#
# That is: by which op, and from which inputs, in order and with repeats. In x * x both inputs are
# x, and the graph has two edges. The array never changes, so a rule meets the numbers that the
# result was computed from; to update a parameter is to make a new Value.
#
# `index` numbers the Values as they are made: an input is older than what is made from it.

# %%
indices = count()
recording = [True]  # the last item counts: no_grad() adds a False
scopes = []  # the names of the scopes that we are in


class Value:
    """An array that never changes, and the op and inputs that made it; a leaf has none."""

    __array_ufunc__ = None  # NumPy leaves array * value to the value

    def __init__(self, data, requires_grad=False, name=None):
        self.data = np.array(data)
        self.data.flags.writeable = False
        self.shape = self.data.shape
        self.requires_grad = requires_grad
        self.name = name
        self.grad = None
        self.op, self.inputs, self.static = None, (), {}
        self.scope = tuple(scopes)
        self.index = next(indices)

    @classmethod
    def record(cls, op, inputs, static):
        """The result of an op. It requires a gradient if one of its inputs does."""
        inputs = [x if isinstance(x, Value) else Value(x) for x in inputs]
        out = cls(op.forward(*(x.data for x in inputs), **static))
        if recording[-1]:
            out.op, out.inputs, out.static = op, inputs, static
            out.requires_grad = any(x.requires_grad for x in inputs)
        return out

    __add__ = __radd__ = lambda self, other: add(self, other)
    __mul__ = __rmul__ = lambda self, other: multiply(self, other)
    __sub__ = lambda self, other: self + -1.0 * other
    __rsub__ = lambda self, other: other + -1.0 * self
    __matmul__ = lambda self, vector: contract(self, vector, spec="ij,j->i")
    sum = lambda self: sum_to(self, shape=())

    def backward(self, gradient=1.0):
        """Given the gradient of this value, add to the `.grad` of every leaf it was made from."""
        for node, g, slot, _ in messages(self, np.broadcast_to(gradient, self.shape)):
            if node.op is None and slot is None:
                node.grad = g if node.grad is None else node.grad + g


@contextmanager
def push(stack, item):
    """Keep an item on a stack while a with block runs."""
    stack.append(item)
    try:
        yield
    finally:
        stack.pop()


def no_grad():
    """Inside `with no_grad():` nothing is recorded."""
    return push(recording, False)


def scope(name):
    """Inside `with scope(name):` every Value that is made bears that name."""
    return push(scopes, name)


# %% [markdown]
# ## 3. The reverse pass is one stream of messages
#
# Each node sends a contribution through each of its inputs. It may do so once everything made from
# it has sent its own: then its gradient is complete. Which node is that? The *youngest* of those
# that something has been sent to: what was made from it is younger still, so it has had its turn.
# So every node has one turn, and 2^60 paths through 60 nodes take 60 turns.


# %%
def messages(output, gradient):
    """Yield (node, its gradient, slot, what it sends through that slot), turn by turn.

    A turn begins with a message without slot. If the gradient given is an array, arrays are sent;
    if it is a Value, Values are, and so the whole pass is recorded.
    """
    arrived = {output: gradient}
    frontier = [(-output.index, output)]
    while frontier:
        _, node = heappop(frontier)
        g = arrived.pop(node)
        yield node, g, None, None
        as_values = isinstance(g, Value)
        out, *inputs = (x if as_values else x.data for x in (node, *node.inputs))
        for slot, x in enumerate(node.inputs):
            if x.requires_grad:
                sent = unbroadcast(node.op.rules[slot](g, out, *inputs, **node.static), x.shape)
                yield node, g, slot, sent
                if x not in arrived:
                    heappush(frontier, (-x.index, x))
                arrived[x] = arrived[x] + sent if x in arrived else sent


def unbroadcast(g, shape):
    """Where NumPy stretched an input to fit the other, its gradient is the sum over its copies."""
    return g if g.shape == shape else sum_to(g, shape=shape)


def grad(output, x, gradient=1.0):
    """The gradient of x as a Value, recorded: it can be differentiated again."""
    for node, g, _, _ in messages(output, Value(np.broadcast_to(gradient, output.shape))):
        if node is x:
            return g
    return Value(np.zeros(x.shape))


# %% [markdown]
# ## 4. The ops
#
# An op takes a line or two: its symbol, its function, its rules.

# %%
add = Op("+", lambda a, b: a + b, lambda g, out, a, b: g, lambda g, out, a, b: g)
multiply = Op("*", lambda a, b: a * b, lambda g, out, a, b: g * b, lambda g, out, a, b: g * a)
heaviside = Op("step", lambda x: np.heaviside(x, 0.5), lambda g, out, x: 0.0 * g)


@np.errstate(over="ignore")
def logistic(x):
    return 1 / (1 + np.exp(-x))  # exp(-x) may be infinite, and 1 / inf is 0, as it should be


sigmoid = Op("sigmoid", logistic, lambda g, out, x: g * (out * (1 - out)))

# %% [markdown]
# To stretch an array to a larger shape, and to sum it to a smaller one, are each other's rule.


# %%
def add_up(x, shape):
    new = x.ndim - len(shape)
    axes = [i for i in range(x.ndim) if i < new or shape[i - new] < x.shape[i]]
    return np.sum(x, axis=tuple(axes), keepdims=True).reshape(shape)


stretch_to = Op("stretch", np.broadcast_to, lambda g, out, x, shape: sum_to(g, shape=x.shape))
sum_to = Op("sum", add_up, lambda g, out, x, shape: stretch_to(g, shape=x.shape))

# %% [markdown]
# All products of vectors and matrices are one op. Its spec is that of `np.einsum`: "ij,j->i" is
# matrix times vector, sum_j a_ij b_j. (Each letter has to stand in two of the three places.) The
# rule of an input exchanges two places of the spec, that input's and the result's: the gradient of
# the matrix is "i,j->ij", the outer product of g and the vector.


# %%
def exchange(spec, slot):
    places = spec.replace("->", ",").split(",")
    places[slot], places[2] = places[2], places[slot]
    return "{},{}->{}".format(*places)


contract = Op(
    "@",
    lambda a, b, spec: np.einsum(spec, a, b),
    lambda g, out, a, b, spec: contract(g, b, spec=exchange(spec, 0)),
    lambda g, out, a, b, spec: contract(a, g, spec=exchange(spec, 1)),
)

# %% [markdown]
# ## 5. See it work
#
# First x * x + x at x = 3. Each line is a message. Three edges end at x: they bring 3, 3 and 1,
# and the sum is 2 x + 1.

# %%
x = Value(3.0, requires_grad=True, name="x")
print("The messages of x * x + x at x = 3\n\n  op   its gradient   slot   sends   to")
for node, g, slot, sent in messages(x * x + x, np.ones(())):
    if slot is not None:
        to = node.inputs[slot]
        print(f"  {node.op.symbol} {g:14.0f} {slot:7} {sent:7.0f}    {to.name or to.op.symbol}")

y = x
for _ in range(60):
    y = y + y
print(f"\nx doubled 60 times: the gradient over 2^60 paths is {grad(y, x).data:.0f}")

# %% [markdown]
# A gradient is a Value like any other, and has a gradient too: here s, s' and s'' of the sigmoid.
# The step, whose derivative is 0, blocks every gradient.

# %%
h = Value([-2.0, 0.0, 2.0], requires_grad=True)
slope = grad(sigmoid(h), h)
print("\n      h       s      s'     s''   step'")
rows = [h, sigmoid(h), slope, grad(slope, h), grad(heaviside(h), h)]
for row in zip(*(t.data for t in rows), strict=True):
    print("  {:5.0f} {:7.3f} {:7.3f} {:7.3f} {:7.0f}".format(*row))

# %% [markdown]
# Last, exercise 4: the three layers F(x) = f3(f2(f1(x))), and G = F + f2(f1(x)), with a skip over
# the third. What G's gradient has more than F's came over the skip. The gradient of W1 is smaller
# than that: F's part opposes it.

# %%
rng = np.random.default_rng(34)
outputs = [Value(rng.standard_normal(3), name="x")]
shapes = {"W1": (4, 3), "b1": (4,), "W2": (4, 4), "b2": (4,), "W3": (4, 4), "b3": (4,)}
parameters = [Value(rng.standard_normal(shape), True, name) for name, shape in shapes.items()]
for W, b in zip(parameters[::2], parameters[1::2], strict=True):
    with scope(f"f{len(outputs)}"):
        outputs.append(sigmoid(W @ outputs[-1] + b))
F = outputs[3]
G = F + outputs[2]

print("\nThe gradients of sum(F) and sum(G)\n\n        |dF|    |dG|   |dG - dF|")
for t in parameters:
    dF, dG = (grad(output.sum(), t).data for output in (F, G))
    print("  {} {:7.4f} {:7.4f} {:10.4f}".format(t.name, *map(np.linalg.norm, (dF, dG, dG - dF))))
