"""The border between Tensors and plain numbers: each door, and what happens at it.

README prints this table: a value that requires a gradient leaves the graph by a word that says
so, or by a door that is free; at any other door there is an error that names the cure.
"""

import copy
import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, no_grad

X = np.eye(2)
MATRIX = X.view(np.matrix)


def vector():
    return Tensor([1.0, 2.0], requires_grad=True, name="t")


def number():
    return Tensor(2.0, requires_grad=True, name="s")


def assigned(write):
    """What writing into a plain array does."""
    array = np.zeros(2)
    write(array)
    return array


FREE = {
    "str": lambda t, s: (str(t), repr(t), f"{s}", f"{s:.2f}", "%s" % t, "{}".format(s)),  # noqa: UP031, UP032
    "bool": lambda t, s: bool(s) and 1.0 in t,
    "comparisons": lambda t, s: (t > 1, t == 1, s != 2, t <= np.ones(2)),
    "predicates": lambda t, s: (
        np.isnan(t), np.isfinite(t), np.allclose(t, 1), np.argmax(t), np.argsort(t), t.argmax(),
        np.any(t), t.all(), np.shape(t), np.count_nonzero(t), np.array_equal(t, t), np.sign(t),
    ),
    "astype": lambda t, s: t.astype(int),
    "words": lambda t, s: (t.data, t.numpy(), s.item(), t.tolist(), t.detach()),
    "data": lambda t, s: setattr(Tensor([0.0, 0.0]), "data", t),
}  # fmt: skip


@pytest.mark.parametrize("door", FREE)
def test_a_free_door_answers_from_the_values(door):
    FREE[door](vector(), number())


# door: (what is done with a vector t and a number s, what the sentence names)
CLOSED = {
    "np.asarray": (lambda t, s: np.asarray(t), r"\.data"),
    "np.array of a list": (lambda t, s: np.array([s, s]), "np.stack"),
    "np.mean of a list": (lambda t, s: np.mean([s, s]), "np.stack"),
    "a function on a list": (lambda t, s: np.exp([s, s]), "np.stack"),
    "np.where of a list": (lambda t, s: np.where([True, False], [s, s], 0), "np.stack"),
    "np.full": (lambda t, s: np.full(2, s), r"\.data"),
    "ndarray.dot": (lambda t, s: X.dot(t), "X @ t"),
    "np.vectorize": (lambda t, s: np.vectorize(lambda v: v)(t), r"\.data"),
    "np.random": (lambda t, s: np.random.default_rng(0).normal(t), r"\.data"),
    "np.ma.array": (lambda t, s: np.ma.array(t), r"\.data"),
    "np.ma arithmetic": (lambda t, s: np.ma.array([1.0, 2.0], mask=[0, 1]) + t, r"\.data"),
    "masked Tensor": (lambda t, s: np.ma.masked_where([True, False], t), r"\.data"),
    "np.matrix *": (lambda t, s: MATRIX * t, "@"),
    "* np.matrix": (lambda t, s: t * MATRIX, "@"),
    "out[:] =": (lambda t, s: assigned(lambda out: out.__setitem__(slice(None), t)), r"\.data"),
    "out[list] =": (lambda t, s: assigned(lambda out: out.__setitem__([0, 1], t)), r"\.data"),
    "float": (lambda t, s: float(s), r"\.item\(\)"),
    "int": (lambda t, s: int(s), r"\.item\(\)"),
    "complex": (lambda t, s: complex(s), r"\.item\(\)"),
    "math.exp": (lambda t, s: math.exp(s), r"np\.exp"),
    "math.fsum": (lambda t, s: math.fsum([s, s]), r"np\.exp"),
    "random.gauss": (lambda t, s: math.floor(s + random.random()), r"np\.exp"),
    "%f": (lambda t, s: "%.3f" % s, "f-string"),  # noqa: UP031
    "Tensor(t)": (lambda t, s: Tensor(t), r"\.detach\(\)"),
    "Tensor of a list": (lambda t, s: Tensor([s, s]), "np.stack"),
    "np.from_dlpack": (lambda t, s: np.from_dlpack(t), r"\.data"),
    "np.testing": (lambda t, s: np.testing.assert_array_equal(t, t), r"\.data"),
}


@pytest.mark.parametrize("door", CLOSED)
def test_at_a_closed_door_the_error_names_the_cure(door):
    through, cure = CLOSED[door]
    with pytest.raises(TypeError, match=cure):
        through(vector(), number())


@pytest.mark.parametrize("door", [door for door in CLOSED if "matrix" not in door])
def test_inside_no_grad_every_door_is_open(door):
    """But that a Tensor times a matrix has no one meaning stays so."""
    with no_grad():
        CLOSED[door][0](vector(), number())


@pytest.mark.parametrize(
    "write",
    [
        lambda out: out.__setitem__(0, number()),
        lambda out: out.fill(number()),
        lambda out: np.fromiter([number()], float),
    ],
)
def test_where_numpy_lays_its_own_error_on_top_ours_is_its_cause(write):
    """NumPy asks `float` there, and cannot be told from `float` itself."""
    with pytest.raises(ValueError, match="sequence") as raised:
        write(np.zeros(2))
    assert "x.at[i].set(t)" in str(raised.value.__cause__)


def test_scipy_pandas_torch_and_plots_are_doors_too():
    t = vector()
    scipy = require("scipy.sparse")
    for product in (lambda: scipy.csr_matrix(X) @ t, lambda: scipy.eye(2) @ t):
        with pytest.raises(TypeError, match="X @ t"):
            product()
    special = require("scipy.linalg")
    with pytest.raises(TypeError, match=r"\.data"):
        special.norm(t)


@pytest.mark.parametrize("name", ["asarray", "atleast_1d", "cumsum"])
def test_what_requires_no_gradient_passes(name):
    constant = Tensor([1.0, 2.0])
    assert np.array_equal(np.asarray(getattr(np, name)(constant)), getattr(np, name)([1.0, 2.0]))
    assert float(Tensor(2.0)) == 2
    assert math.exp(Tensor(0.0)) == 1
    assert np.array_equal(np.from_dlpack(constant), [1, 2])
    assert np.array_equal(X.dot(constant), [1, 2])


def test_constants_pass_into_torch_and_plots():
    torch = require("torch")
    assert torch.equal(torch.tensor(Tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]).double())
    assert torch.tensor(Tensor(3.0)).item() == 3
    pyplot = require("matplotlib.pyplot")
    (line,) = pyplot.plot(Tensor([1.0, 2.0]))
    assert line.get_ydata().tolist() == [1, 2]
    pyplot.close("all")


@pytest.mark.parametrize(
    "method", ["BFGS", "L-BFGS-B", "CG", "Newton-CG", "SLSQP", "TNC", "trust-exact", "trust-constr"]
)
def test_calculus_on_arrays_gives_what_scipy_takes(method):
    optimize = require("scipy.optimize")

    def f(x):
        return ((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2).sum()

    curved = {"hess": lambda x: tl.hessian(f, x)} if "trust" in method else {}
    found = optimize.minimize(
        tl.value_and_grad(f), np.array([0.8, 1.2]), jac=True, method=method, **curved
    )
    assert isinstance(found.x, np.ndarray)
    np.testing.assert_allclose(found.x, 1, atol=2e-3)


def test_jacobians_on_arrays_give_what_scipy_takes():
    optimize = require("scipy.optimize")

    def f(x):
        return np.stack([x[0] - 1, 10 * (x[1] - x[0] ** 2)])

    def jacobian(x):
        return tl.jacobian(f, x)

    np.testing.assert_allclose(optimize.least_squares(f, [0.0, 0.0], jac=jacobian).x, 1)
    np.testing.assert_allclose(optimize.root(f, [0.0, 0.0], jac=jacobian).x, 1)


def test_a_stranger_is_compared_with_the_values():
    assert number() == pytest.approx(2.0)
    assert number() != pytest.approx(3.0)
    assert vector() == pytest.approx([1.0, 2.0])
    assert not np.any(vector() == "a")
    assert not Tensor(1.0) == None  # noqa: E711, SIM201


def test_what_cannot_be_noticed_still_cannot():
    """`.base`, a buffer, ctypes or as_strided unlock an array: README warns of it."""
    t = Tensor([1.0, 2.0])
    base = t.data.base.base
    base.flags.writeable = True
    base[0] = 5.0
    assert t.data[0] == 5


def test_copies():
    x = vector()
    y = (x * x).sum()
    y.backward()
    assert copy.copy(y) is y
    again = copy.copy(x)
    assert again is not x
    assert np.array_equal(again.data, x.data)
    with pytest.raises(TypeError, match=r"\.detach\(\)"):
        pickle.dumps(y)


def test_a_deep_copy_is_of_the_whole_record():
    w = vector()
    h = w
    for _ in range(5000):
        h = h * 0.999
    y = h.sum()
    model = copy.deepcopy({"w": w, "y": y})
    model["y"].backward()
    y.backward()
    assert model["w"] is not w
    assert np.array_equal(model["w"].grad, w.grad)
    assert model["w"].name == "t"


def test_values_never_change():
    t = vector()
    for value in (t, t * 2, tl.reshape(t, (2, 1)), t[:1], Tensor([1, 2])):
        with pytest.raises(ValueError, match="WRITEABLE"):
            value.data.flags.writeable = True
        with pytest.raises(ValueError, match="read-only"):
            value.data[...] = 0
        with pytest.raises(ValueError, match="read-only"):
            np.add(value.data, 1, out=value.data, casting="unsafe")


@pytest.mark.filterwarnings("ignore:Setting the shape")  # deprecated from NumPy 2.5 on
def test_the_form_of_what_is_handed_out_is_not_the_tensors():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    for handed in (x.data, (x * 2).data, np.asarray(x), np.asarray(x * 2), x[:1].data):
        handed.shape = (-1,)
        with pytest.raises(ValueError, match="WRITEABLE"):
            handed.flags.writeable = True
    assert x.shape == (2, 2)
    for write in (
        lambda t: np.add(1.0, 2.0, out=t),
        lambda t: np.copyto(t, 5.0),
        lambda t: np.put(t, [0], 5.0),
    ):
        with pytest.raises(TypeError, match="never change"):
            write(Tensor(0.0))


def test_readme_prints_the_table():
    """Whatever the errors name as a cure, README names too."""
    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    table = readme.split("| door |")[1].split("\n\n")[0]
    for cure in (
        "`X @ t`",
        "`t.item()`",
        "`np.stack`",
        "`t.detach()`",
        "`x.at[i].set(v)`",
        "`np.exp`",
    ):
        assert cure in table
    for word in ("`w.data = t`", "`round(t, n)`", "`np.matrix * t`", "`out.fill(t)`", "DLPack"):
        assert word in table
