"""The laws that every op keeps, as tests: for the ops here and for yours.

In a test file, one line an op::

    test_softplus = op_test(softplus, sample([-1.0, 0.5]), sample(2.0), like=np_softplus)

Each sample is one call of the op. Every law is tried on every sample, so choose samples
away from kinks, where no derivative exists, and one for each case of the static parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .calculus import grad
from .checking import check_named, name_of
from .operation import Op, blocked
from .tensor import Tensor
from .value import Value


@dataclass(frozen=True)
class Sample:
    """One call of an op: its inputs (a list of them if it is a sequence op), and the rest."""

    inputs: tuple[Any, ...]
    static: dict[str, Any]

    def __str__(self) -> str:
        shapes = ", ".join("None" if x is None else f"{np.shape(x)}" for x in self.inputs)
        static = ", ".join(f"{name}={value!r}" for name, value in self.static.items())
        return f"{shapes}{'; ' if static else ''}{static}"[:80]


def sample(*inputs: Any, **static: Any) -> Sample:
    """A call of an op: its inputs in order, its static parameters by name.

    For a sequence op the inputs are the elements of the list. Python numbers become
    float64 arrays; an integer or boolean array stays what it is, and gets no gradient.
    """
    return Sample(tuple(x if x is None else np.array(x, reals(x)) for x in inputs), static)


def reals(x: Any) -> Any:
    """The dtype of an input: float for Python numbers, else its own."""
    return None if isinstance(x, np.ndarray) else float


def op_test(op: Op, *samples: Sample, like: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """A pytest test of every law on every sample that it applies to; `like` gives the value
    that the op should have.

    Needs pytest. Without it, `check_op` tries the same laws.
    """
    import pytest

    cases = [
        pytest.param(law, call, id=f"{law.__name__}-{i}")
        for i, case in enumerate(samples)
        for law, call in laws_of(op, case, like)
    ]

    @pytest.mark.parametrize(("law", "call"), cases)
    def test(law: Law, call: Call) -> None:
        law(call)

    return test


def check_op(op: Op, *samples: Sample, like: Callable[..., Any] | None = None) -> None:
    """Try every law on every sample that it applies to; `like` gives the value that the op
    should have.

    Raises: AssertionError, naming the law, for the first that does not hold.
    """
    for case in samples:
        for law, call in laws_of(op, case, like):
            try:
                law(call)
            except AssertionError as error:
                raise AssertionError(f"{op.name} at {case}, {law.__name__}: {error}") from error


def laws_of(op: Op, case: Sample, like: Callable[..., Any] | None = None) -> list[tuple[Law, Call]]:
    """The laws that say something of this sample, each with the call to try it on."""
    if not isinstance(op, Op) or not isinstance(case, Sample):
        raise TypeError(
            "a test of an op takes the op and samples of its arguments, as in "
            f"op_test(softplus, sample([0.5, -2.0])), but got {op!r} and {case!r}"
        )
    call = Call(op, case, like)
    return [(law, call) for law in LAWS if law.applies(call)]


@dataclass(frozen=True)
class Call:
    """An op with one sample, and how to call the one with the other."""

    op: Op
    sample: Sample
    like: Callable[..., Any] | None = None

    def __call__(self, *inputs: Any) -> Any:
        """The op on these inputs, with the sample's static parameters."""
        first: Any = (list(inputs),) if self.op.sequence else inputs
        return self.op(*first, **self.sample.static)

    @property
    def inputs(self) -> tuple[Any, ...]:
        """The inputs, as fresh arrays."""
        return tuple(x if x is None else x.copy() for x in self.sample.inputs)

    @property
    def wanted(self) -> list[int]:
        """The inputs that a gradient is asked of: the floating ones."""
        return [i for i, x in enumerate(self.inputs) if x is not None and x.dtype.kind == "f"]

    @property
    def differentiable(self) -> bool:
        """Whether the result has a gradient."""
        return bool(self.wanted) and np.asarray(self(*self.inputs)).dtype.kind == "f"

    def name(self, i: int) -> str:
        """What an input is called."""
        return f"{self.op.inputs[0]}[{i}]" if self.op.sequence else self.op.inputs[i]

    def tensors(self, arrays: Any = None) -> list[Any]:
        """The inputs as Tensors."""
        arrays = self.inputs if arrays is None else arrays
        return [
            x if x is None else Tensor(x, requires_grad=x.dtype.kind == "f", name=self.name(i))
            for i, x in enumerate(arrays)
        ]

    def of_floats(self, *floats: Any) -> Any:
        """The op as a function of its floating inputs alone."""
        inputs = list(self.inputs)
        for i, x in zip(self.wanted, floats, strict=True):
            inputs[i] = x
        return self(*inputs)

    def run(self, arrays: Any = None) -> tuple[Any, list[Any]]:
        """The result, and `.grad` of every floating input for a certain cotangent."""
        tensors = self.tensors(arrays)
        out = self(*tensors)
        if out.requires_grad:
            out.backward(cotangent(out))
        return out, [tensors[i].grad for i in self.wanted]


def cotangent(out: Tensor) -> np.ndarray:
    """Numbers for a cotangent of `out`: not all the same, as a rule may need to tell them."""
    return np.linspace(0.5, 1.5, out.size).reshape(out.shape)


# The laws. Each raises AssertionError where it does not hold, and says what it applies to.


@dataclass(frozen=True)
class Law:
    """A statement about every call that it applies to: called, it raises AssertionError
    where that is false."""

    holds: Callable[[Call], None]
    applies: Callable[[Call], bool]

    def __call__(self, call: Call) -> None:
        """Raise AssertionError if the law does not hold for this call."""
        self.holds(call)

    @property
    def __name__(self) -> str:
        return self.holds.__name__


LAWS: list[Law] = []


def law(applies: Callable[[Call], bool]) -> Callable[[Callable[[Call], None]], Law]:
    """The decorator of a law, given which calls it says something of."""

    def register(holds: Callable[[Call], None]) -> Law:
        LAWS.append(Law(holds, applies))
        return LAWS[-1]

    return register


@law(lambda call: True)
def value(call: Call) -> None:
    """The op has the value of `like`, on arrays as on Tensors, and records nothing there."""
    plain, recorded = call(*call.inputs), call(*call.tensors())
    assert not isinstance(plain, Value), "a call on arrays must give an array"
    assert isinstance(recorded, Tensor), "a call on Tensors must give a Tensor"
    same(recorded.data, plain, "the value on Tensors", "that on arrays", exact=True)
    if call.like is not None:
        expected = call.like(*call.inputs, **call.sample.static)
        same(plain, expected, "the value", "that of `like`")
        assert np.asarray(plain).dtype == np.asarray(expected).dtype, "the dtype differs"


@law(lambda call: call.differentiable)
def derivatives(call: Call) -> None:
    """The rules agree with finite differences, to second order."""
    names = [call.name(i) for i in call.wanted]
    inputs = [call.inputs[i] for i in call.wanted]
    check_named(call.of_floats, inputs, names, name_of(call.op))


@law(lambda call: bool(call.wanted))
def float32(call: Call) -> None:
    """float32 inputs give a float32 result, with float32 gradients, near the float64 ones."""
    out, gradients = call.run()
    narrow = [x if x is None or x.dtype.kind != "f" else x.astype("f") for x in call.inputs]
    out32, gradients32 = call.run(narrow)
    wide = call.op.name in ("astype", "float_power")  # to widen is their purpose
    mixed = any(x is not None and x.dtype.kind in "iu" for x in narrow)  # NumPy gives float64
    if out.dtype == np.float64 and not wide and not mixed:
        assert out32.dtype == np.float32, f"float32 inputs give {out32.dtype}"
    same(out32.data, out.data, "the value in float32", "that in float64", rtol=1e-3)
    for g32, g in zip(gradients32, gradients, strict=True):
        if g is not None:
            assert g32.dtype == np.float32, f"the gradient of a float32 input is {g32.dtype}"
            same(g32, g, "the gradient in float32", "that in float64", rtol=1e-2)


@law(lambda call: True)
def inputs_kept(call: Call) -> None:
    """Neither forward nor a rule writes into what it is given."""
    inputs = call.inputs
    plain = call(*inputs)
    for x, before in zip(inputs, call.sample.inputs, strict=True):
        assert x is None or np.array_equal(x, before, equal_nan=True), "forward changes its input"
    if isinstance(plain, np.ndarray):
        plain = plain.copy()
    tensors = call.tensors()
    out = call(*tensors)
    if out.requires_grad:
        g = np.ones(out.shape)
        out.backward(g)
        assert (g == 1).all(), "a rule changes the gradient it is given"
    same(out.data, plain, "the value after backward", "that before", exact=True)


@law(lambda call: any(np.ndim(x) for x in call.inputs))
def any_memory_layout(call: Call) -> None:
    """Inputs with other strides give the same result and gradients."""

    def strided(x: Any) -> Any:
        return x if x is None or not x.ndim else np.repeat(x, 2, axis=-1)[..., ::2]

    def reverse(x: Any) -> Any:
        return x if x is None else np.array(x, order="F")

    expected = call(*call.inputs)
    for turned in (strided, reverse):
        same(call(*map(turned, call.inputs)), expected, "the value of strided inputs", "the value")
        x = [t if t is None else turned(np.asarray(t)) for t in call.inputs]
        for got, g in zip(call.run(x)[1], call.run()[1], strict=True):
            if g is not None:
                same(got, g, "the gradient of strided inputs", "the gradient")


@law(lambda call: call.differentiable)
def memory_apart(call: Call) -> None:
    """No gradient shares memory with another, with an input, or with the result."""
    tensors = call.tensors()
    out = call(*tensors)
    g = np.ones(out.shape)
    out.backward(g)
    arrays = [g, out.data, *(t.data for t in tensors if t is not None)]
    for t in tensors:
        if t is not None and t.grad is not None:
            assert isinstance(t.grad, np.ndarray), "a gradient is an array"
            assert t.grad.flags.writeable, "a gradient is its owner's to change"
            for other in arrays:
                assert not np.may_share_memory(t.grad, other), "a gradient shares its memory"
            arrays.append(t.grad)


@law(lambda call: call.op.elementwise and bool(call.wanted))
def elementwise_as_promised(call: Call) -> None:
    """An op that says elementwise=True computes each element from the inputs in its place."""
    inputs = np.broadcast_arrays(*(0.0 if x is None else x for x in call.inputs))
    odd = np.arange(inputs[0].size).reshape(inputs[0].shape) % 2 == 1
    values = []
    for scale in (1.0, 1.01):
        moved = [np.where(odd, x * scale, x) if x.dtype.kind == "f" else x for x in inputs]
        given = [None if x is None else y for x, y in zip(call.inputs, moved, strict=True)]
        values.append(np.asarray(call(*given))[~odd])
    same(
        values[1],
        values[0],
        "the value where other elements differ",
        "that where they do not",
        exact=True,
    )


def fill_in(call: Call) -> list[int]:
    """The inputs that have elements."""
    return [i for i, x in enumerate(call.inputs) if x is not None and x.size]


@law(lambda call: call.op.elementwise and len(fill_in(call)) > 1)
def broadcasting(call: Call) -> None:
    """An elementwise op of several inputs broadcasts them, and sums their gradients back."""
    for i in fill_in(call):
        inputs = list(call.inputs)
        inputs[i] = inputs[i].reshape(-1)[:1]  # one element against the whole of the others
        full = np.broadcast_arrays(*inputs)
        small, large = call(*call.tensors(inputs)), call(*call.tensors(full))
        same(small.data, large.data, "the value of broadcast inputs", "that of full ones")
        gradients, whole = call.run(inputs)[1], call.run(full)[1]
        wanted = call.wanted if small.requires_grad else []
        for j, g, w in zip(wanted, gradients, whole, strict=bool(wanted)):
            assert g.shape == inputs[j].shape, "a gradient must have the shape of its input"
            expected = w if j != i else np.sum(w).reshape(1)
            same(g.sum(), expected.sum(), "the gradient of a broadcast input", "the sum")


@law(lambda call: call.op.elementwise)
def empty_and_0d(call: Call) -> None:
    """An elementwise op takes arrays without elements, and without axes."""
    for shape in ((0, 3), ()):
        inputs = [
            x if x is None else np.broadcast_to(x.reshape(-1)[:1] if x.size else x, (1,))
            for x in call.inputs
        ]
        inputs = [x if x is None else np.resize(x, shape) for x in inputs]
        out, gradients = call.run(inputs)
        assert out.shape == shape, f"inputs of shape {shape} give {out.shape}"
        for g in gradients:
            assert g is None or g.shape == shape, f"an input of shape {shape} has {g.shape}"


@law(lambda call: call.op.linear and bool(call.wanted))
def linear_as_promised(call: Call) -> None:
    """An op that says linear=True is linear in each of its floating inputs."""
    rng = np.random.default_rng(0)
    for i in call.wanted:
        a, b = call.inputs[i], rng.standard_normal(call.inputs[i].shape)

        def at(x: np.ndarray, i: int = i) -> Any:
            inputs = list(call.inputs)
            inputs[i] = x
            return np.asarray(call(*inputs))

        same(at(a + 3 * b), at(a) + 3 * at(b), "the value of a + 3 b", "that of a, plus 3 b's")


@law(lambda call: call.op.batched and bool(rules_to_batch(call)))
def batched_as_promised(call: Call) -> None:
    """An op that says batched=True has rules that take cotangents with extra axes in front."""
    out = call(*call.tensors())
    g = np.random.default_rng(0).standard_normal((2, *out.shape))
    for rule in rules_to_batch(call):
        both = rule(g, out._array, *out.arrays, **out.params)
        for one, together in zip(g, both, strict=True):
            apart = np.asarray(rule(one[()], out._array, *out.arrays, **out.params))
            assert together.shape == apart.shape, f"{together.shape} is not {apart.shape}"
            same(together, apart, "the batched gradient", "each alone")


def rules_to_batch(call: Call) -> list[Any]:
    """The rules that a cotangent with more axes can be given to."""
    if not call.differentiable or call.op.sequence:
        return []
    return [rule for i in call.wanted if (rule := call.op.rules[i]) not in (None, blocked)]


@law(lambda call: call.differentiable)
def same_by_grad(call: Call) -> None:
    """`grad`, which records, and `backward`, which does not, give the same numbers."""
    tensors = call.tensors()
    out = call(*tensors)
    wanted = [tensors[i] for i in call.wanted]
    for g, plain in zip(grad(out, wanted, cotangent(out)), call.run()[1], strict=True):
        assert g.shape == plain.shape, f"grad gives {g.shape}, backward {plain.shape}"
        same(g.data, plain, "the gradient by grad", "that by backward", rtol=1e-12)


def same(
    got: Any, expected: Any, what: str, of: str, rtol: float = 1e-10, exact: bool = False
) -> None:
    """Raise unless two arrays have the same shape and (nearly) the same numbers."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{what} has shape {got.shape}, {of} {expected.shape}"
    if exact:
        fits = np.array_equal(got, expected, equal_nan=got.dtype.kind == "f")
    else:
        scale = np.abs(expected).max(initial=0) if expected.dtype.kind == "f" else 0
        scale = scale if np.isfinite(scale) else 0
        fits = np.allclose(got, expected, rtol, rtol * scale + 1e-30, equal_nan=True)
    assert fits, f"{what} is {text(got)}, {of} {text(expected)}"


def text(array: np.ndarray) -> str:
    """An array on one line."""
    return np.array2string(array, threshold=8, precision=6).replace("\n", "")


def samples_missing(op: Op, where: str) -> str:
    """What to say of an op that no test tries."""
    arguments = ", ".join(op.inputs)
    return (
        f"{op.name} has no samples: add to {where} an entry {op.name!r}: [sample({arguments})], "
        "with one sample for each case of its static parameters"
    )
