"""PyTorch's OpInfo as judge: its own samples of every op that both have, in float64.

For each sample the value, the gradients and the second gradients must agree, and what is
an error for PyTorch must be one here. A sample that means something else here is skipped
with the reason. ``pytest tests/test_opinfo.py -rP`` prints the counts of each op.
"""

import warnings
from collections import Counter

import numpy as np
import pytest
from conftest import require

import tinygrad_lite as tl
from tinygrad_lite import Tensor, grad

torch = require("torch")
require("expecttest")  # PyTorch's own test helpers need it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

TOLERANCE = 1e-9


class NoJudgeError(Exception):
    """Why a sample is not for us."""


def unless(condition, reason):
    if condition:
        raise NoJudgeError(reason)


def axes(x, dim):
    """PyTorch's dim as NumPy's axis: an empty one means all."""
    if isinstance(dim, (tuple, list)):
        dim = tuple(dim) or None
    unless(x.ndim == 0 and dim is not None, "a 0-d tensor has no axis 0 here")
    return dim


def reduction(f):
    def call(x, dim=None, keepdim=False, dtype=None):
        return f(x, axes(x, dim), keepdims=keepdim)

    return call


def var_or_std(f):
    def call(x, dim=None, unbiased=None, keepdim=False, correction=1):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = int(unbiased) if unbiased is not None else 1 if correction is None else correction
        return f(x, axes(x, dim), ddof, keepdim)

    return call


def along_an_axis(f):
    return lambda x, dim, dtype=None: f(x, axes(x, dim))


def div(x, y, rounding_mode=None):
    quotient = tl.divide(x, y)
    return {None: quotient, "trunc": tl.trunc(quotient), "floor": tl.floor(quotient)}[rounding_mode]


def clamp(x, min=None, max=None):
    unless(min is None and max is None, "no limit at all")
    return tl.clip(x, min, max)


def cat(arrays, dim=0):
    unless(len({np.ndim(x) for x in arrays}) > 1, "an empty vector does not join matrices here")
    return tl.concatenate(arrays, dim)


def squeeze(x, dim=None):
    one_by_one = np.atleast_1d(() if dim is None else dim).astype(int)
    unless(x.ndim == 0 and one_by_one.size, "a 0-d tensor has no axis 0 here")
    unless(any(x.shape[i] != 1 for i in one_by_one), "only axes of size 1 are squeezed here")
    return tl.squeeze(x, tuple(dim) if isinstance(dim, (tuple, list)) else dim)


def tensordot(x, y, dims=2):
    if not isinstance(dims, int):
        unequal = any(x.shape[i] != y.shape[j] for i, j in zip(*dims, strict=True))
        unless(unequal, "an axis of size 1 is not broadcast here")
    return tl.tensordot(x, y, dims)


def of_a_list(f):
    return lambda *arrays: f(arrays[0] if isinstance(arrays[0], (tuple, list)) else arrays)


def pad(x, pad, mode="constant", value=None):
    names = {"replicate": "edge", "circular": "wrap"}
    unless(any(n < 0 for n in pad), "a negative pad crops: that is slicing here")
    widths = [(0, 0)] * (x.ndim - len(pad) // 2)
    widths += list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    if mode == "constant":
        return tl.pad(x, widths, constant_values=value or 0)
    return tl.pad(x, widths, names.get(mode, mode))


def sort(x, dim=-1, descending=False, stable=False):
    values = tl.sort(x, dim) if x.ndim else x
    return (tl.flip(values, dim) if x.ndim else values) if descending else values


def take_along_dim(x, indices, dim=None):
    if dim is None:
        return tl.take_along_axis(x, indices.ravel(), None)
    # PyTorch broadcasts both along the other axes, NumPy only from size 1.
    dim %= x.ndim
    others = ([*a.shape[:dim], 1, *a.shape[dim + 1 :]] for a in (x, indices))
    full = np.broadcast_shapes(*others)
    of = lambda a: [*full[:dim], a.shape[dim], *full[dim + 1 :]]
    return tl.take_along_axis(tl.broadcast_to(x, of(x)), np.broadcast_to(indices, of(indices)), dim)


def split(f):
    def call(x, indices_or_sections=None, dim=0, indices=None, sections=None):
        parts = next(p for p in (indices_or_sections, indices, sections) if p is not None)
        return f(x, np.asarray(parts).tolist(), dim) if f is tl.array_split else f(x, parts)

    return call


def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    unless(ceil_mode, "ceil_mode is not here")
    unless(
        not count_include_pad or divisor_override is not None,
        "the mean is over the whole window here",
    )
    unless(np.any(np.greater(padding, np.floor_divide(kernel_size, 2))), "the padding may be wide")
    x, first = batch(x, 4)
    return tl.avg_pool2d(x, pair(kernel_size), pair(stride), pair(padding))[first]


def max_pool2d(
    x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    unless(ceil_mode, "ceil_mode is not here")
    x, first = batch(x, 4)
    return tl.max_pool2d(x, pair(kernel_size), pair(stride), pair(padding), pair(dilation))[first]


def batch(x, ndim):
    """x as a batch, and the index that undoes it: one image comes as a batch of one here."""
    return (x[None], 0) if x.ndim == ndim - 1 else (x, ...)


def pair(size):
    if not isinstance(size, (tuple, list)):
        return size
    return None if len(size) == 0 else tuple(size) * 2 if len(size) == 1 else tuple(size)


def convolution(f, ndim):
    def call(x, w, b=None, stride=1, padding=0, *rest, **more):
        extra = more.get("output_padding", rest[0] if rest and f is tl.conv_transpose2d else 0)
        unless(np.any(np.less_equal(stride, extra)), "output_padding is below the stride here")
        x, first = batch(x, ndim)
        unless(isinstance(padding, str), "padding is a number here")
        one = pair if ndim == 4 else lambda n: n[0] if isinstance(n, (tuple, list)) else n
        rest, more = [one(n) for n in rest], {k: one(v) for k, v in more.items()}
        return f(x, w, b, one(stride), one(padding), *rest, **more)[first]

    return call


def cross_entropy(x, target, weight=None, reduction="mean", ignore_index=-100, label_smoothing=0.0):
    unless(weight is not None, "classes have no weights here")
    unless(ignore_index != -100, "no target is ignored here")
    unless(label_smoothing, "labels are not smoothed here")
    return tl.cross_entropy(x, target, reduction)


def mse_loss(x, target, reduction="mean", **more):
    unless(more, "losses have no weights here")
    return tl.mse_loss(x, target, reduction)


def linalg_norm(x, ord=None, dim=None, keepdim=False, dtype=None):
    dim = tuple(dim) if isinstance(dim, list) else dim
    unless(ord == 0, "the number of elements that are not 0 has no gradient")
    dim = axes(x, dim)
    if x.ndim == 2 if dim is None else isinstance(dim, tuple) and len(dim) == 2:
        of_singular_values(x, ord)
    return tl.norm(x, ord, dim[0] if isinstance(dim, tuple) and len(dim) == 1 else dim, keepdim)


def linalg_vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None):
    unless(ord == 0, "the number of elements that are not 0 has no gradient")
    return tl.vector_norm(x, axes(x, dim), keepdim, ord)


def quantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    unless(interpolation != "linear", "interpolation is linear here")
    return tl.quantile(x, q, axes(x, dim), keepdim)


def median(x, dim=None, keepdim=False):
    n = x.size if dim is None or not x.ndim else x.shape[dim]
    unless(n % 2 == 0, "PyTorch's median of an even number is the lower of two, NumPy's their mean")
    return tl.median(x, axes(x, dim), keepdim)


def repeat_interleave(x, repeats, dim=None, output_size=None):
    return (
        tl.repeat(x, np.asarray(repeats), dim)
        if x.ndim
        else tl.repeat(tl.ravel(x), np.asarray(repeats))
    )


def gelu(x, approximate="none"):
    unless(approximate != "none", "the approximation with tanh is not here")
    return tl.gelu(x)


def at(x, index):
    return x[index]


def diff(x, n=1, dim=-1, prepend=None, append=None):
    parts = [part for part in (prepend, x, append) if part is not None]
    unless(n == 0 and len(parts) > 1, "no difference is taken, so nothing is joined before")
    return tl.diff(tl.concatenate(parts, dim) if len(parts) > 1 else x, n, dim)


def linalg_solve(a, b, left=True):
    unless(not left, "the unknown is on the right here")
    vectors = b.ndim == 1 or (b.ndim == a.ndim - 1 and b.shape == a.shape[:-1])
    return tl.solve(a, b[..., None])[..., 0] if vectors else tl.solve(a, b)


def of_singular_values(x, ord):
    unless(
        ord in (2, -2, "nuc") and x.size and not np.any(x.data),
        "singular values 0 have no derivative",
    )


def linalg_matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, dtype=None):
    of_singular_values(x, ord)
    return tl.norm(x, ord, tuple(dim), keepdim)


def gradient(x, *, spacing=1, dim=None, edge_order=1):
    unless(isinstance(spacing, (list, tuple)) and dim is None, "coordinates come axis by axis here")
    given = spacing if isinstance(spacing, (list, tuple)) else [1 if spacing is None else spacing]
    dim = tuple(dim) if isinstance(dim, (tuple, list)) else dim
    found = tl.central_differences(x, *given, axis=dim, edge_order=edge_order)
    return found if isinstance(found, tuple) else (found,)


def cov(x, *, correction=1, fweights=None, aweights=None):
    unless(x.size == 0, "there must be an observation here")
    single = aweights is not None and aweights.dtype == np.float32
    unless(single, "with single precision for weights the numbers are PyTorch's own")
    return tl.cov(x, ddof=correction, fweights=fweights, aweights=aweights)


def trapezoid(y, x=None, *, dx=1.0, dim=-1):
    unless(x is not None and 1 < np.ndim(x) < y.ndim, "x is a vector or has all axes here")
    return tl.trapezoid(y, x, dx, dim)


def linalg_pinv(x, *, atol=None, rtol=None, hermitian=False, rcond=None):
    unless(atol is not None or hermitian, "the limit is relative here")
    limit = rtol if rcond is None else rcond
    few = x.size and np.linalg.matrix_rank(x.data, rtol=limit).min() < min(x.shape[-2:])
    unless(few, "without full rank no derivative is found")
    return tl.pinv(x, limit)


def nan_to_num(x, nan=None, posinf=None, neginf=None):
    return tl.nan_to_num(x, True, nan or 0.0, posinf, neginf)


def linalg_cross(x, y, *, dim=-1):
    return tl.cross(x, y, axis=dim)


def vander(x, *, N=None):
    unless(x.ndim != 1, "it is for a vector here")
    return tl.vander(x, N, increasing=True)


def matrix_power(x, n):
    unless(x.size == 0, "nothing to multiply")
    return tl.matrix_power(x, n)


# PyTorch's name, where it is not ours, and how its arguments are ours.
SAME = [
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "exp2", "expm1", "log", "log2", "log10",
    "log1p", "sqrt", "square", "reciprocal", "sigmoid", "abs", "sign", "floor", "ceil", "trunc",
    "positive", "erf", "erfc", "logical_not", "logical_and", "logical_or", "logical_xor", "maximum",
    "minimum", "fmax", "fmin", "fmod", "remainder", "hypot", "logaddexp", "logaddexp2", "copysign",
    "float_power", "matmul", "dot", "vdot", "inner", "outer", "kron", "tril", "triu", "trace",
    "diag", "heaviside", "sinc", "fliplr", "flipud", "corrcoef",
]  # fmt: skip
RENAMED = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh",
    "atanh": "arctanh", "atan2": "arctan2", "deg2rad": "radians", "rad2deg": "degrees",
    "neg": "negative", "mul": "multiply", "pow": "power", "eq": "equal", "ne": "not_equal",
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "mm": "matmul",
    "bmm": "matmul", "mv": "matmul", "floor_divide": "floor_divide", "ravel": "ravel",
    "movedim": "moveaxis", "unsqueeze": "expand_dims",
    "linalg.inv": "inv", "linalg.det": "det", "linalg.svdvals": "svdvals",
    "linalg.multi_dot": "multi_dot",
    "nn.functional.relu": "relu", "nn.functional.silu": "silu",
}  # fmt: skip
ADAPTED = {
    "add": lambda x, y, alpha=1: tl.add(x, tl.multiply(alpha, y)),
    "sub": lambda x, y, alpha=1: tl.subtract(x, tl.multiply(alpha, y)),
    "div": div,
    "round": lambda x, decimals=0: tl.round(x, decimals),
    "clamp": clamp,
    "where": lambda x, condition, y: tl.where(condition, x, y),
    "sum": reduction(tl.sum), "mean": reduction(tl.mean), "amax": reduction(tl.max),
    "amin": reduction(tl.min), "prod": reduction(tl.prod), "logsumexp": reduction(tl.logsumexp),
    "var": var_or_std(tl.var), "std": var_or_std(tl.std),
    "cumsum": along_an_axis(tl.cumsum), "cumprod": along_an_axis(tl.cumprod),
    "softmax": along_an_axis(tl.softmax), "log_softmax": along_an_axis(tl.log_softmax),
    "sort": sort, "quantile": quantile, "median": median,
    "reshape": lambda x, shape: tl.reshape(x, shape),
    "transpose": lambda x, dim0, dim1: tl.swapaxes(x, axes(x, dim0), dim1),
    "permute": lambda x, dims: tl.transpose(x, dims),
    "squeeze": squeeze,
    "flip": lambda x, dims: tl.flip(x, tuple(dims)),
    "diagonal": lambda x, offset=0, dim1=0, dim2=1: tl.diagonal(x, offset, dim1, dim2),
    "roll": lambda x, shifts, dims=None: tl.roll(x, shifts, dims),
    "rot90": lambda x, k=1, dims=(0, 1): tl.rot90(x, k, dims),
    "repeat_interleave": repeat_interleave,
    "tile": lambda x, dims: tl.tile(x, dims),
    "take": lambda x, index: tl.take(x, index),
    "index_select": lambda x, dim, index: tl.take(x, index, axes(x, dim)),
    "take_along_dim": take_along_dim,
    "tensor_split": split(tl.array_split), "hsplit": split(tl.hsplit), "vsplit": split(tl.vsplit),
    "dsplit": split(tl.dsplit),
    "cat": cat,
    "stack": lambda arrays, dim=0: tl.stack(arrays, dim),
    "hstack": of_a_list(tl.hstack), "vstack": of_a_list(tl.vstack), "dstack": of_a_list(tl.dstack),
    "column_stack": of_a_list(tl.column_stack),
    "atleast_1d": of_a_list(lambda xs: tl.atleast_1d(*xs)),
    "atleast_2d": of_a_list(lambda xs: tl.atleast_2d(*xs)),
    "atleast_3d": of_a_list(lambda xs: tl.atleast_3d(*xs)),
    "broadcast_to": lambda x, shape: tl.broadcast_to(x, shape),
    "__getitem__": at,
    "diff": diff,
    "nn.functional.pad": pad,
    "tensordot": tensordot,
    "einsum": lambda arrays, subscripts: tl.einsum(subscripts, *arrays),
    "linalg.cholesky": lambda x, upper=False: tl.moveaxis(tl.cholesky(x), -1, -2)
    if upper
    else tl.cholesky(x),
    "linalg.solve": linalg_solve,
    "linalg.slogdet": lambda x: tuple(tl.slogdet(x)),
    "nansum": reduction(tl.nansum), "nanmean": reduction(tl.nanmean), "nan_to_num": nan_to_num,
    "trapezoid": trapezoid, "gradient": gradient, "cov": cov, "linalg.cross": linalg_cross,
    "linalg.vander": vander,
    "linalg.matrix_power": matrix_power, "linalg.matrix_norm": linalg_matrix_norm,
    "linalg.pinv": linalg_pinv,
    "linalg.qr": lambda x, mode="reduced": tuple(tl.qr(x, mode)),
    "linalg.norm": linalg_norm, "linalg.vector_norm": linalg_vector_norm,
    "nn.functional.leaky_relu": lambda x, negative_slope=0.01: tl.leaky_relu(x, negative_slope),
    "nn.functional.elu": lambda x, alpha=1.0: tl.elu(x, alpha),
    "nn.functional.gelu": gelu, "nn.functional.softplus": lambda x, beta=1: tl.softplus(x, beta),
    "nn.functional.mse_loss": mse_loss, "nn.functional.cross_entropy": cross_entropy,
    "nn.functional.conv1d": convolution(tl.conv1d, 3),
    "nn.functional.conv2d": convolution(tl.conv2d, 4),
    "nn.functional.conv_transpose2d": convolution(tl.conv_transpose2d, 4),
    "nn.functional.avg_pool2d": avg_pool2d, "nn.functional.max_pool2d": max_pool2d,
}  # fmt: skip


# PyTorch's softplus is a straight line above a threshold, unless that is out of reach.
THEIRS = {"nn.functional.softplus": {"threshold": 1e9}}

# At a kink PyTorch's second derivative is NaN, ours that of the subgradient 0.
FIRST_ORDER = {"linalg_norm_subgradients_at_zero"}

COUNTERPARTS = {
    **{name: getattr(tl, name) for name in SAME},
    **{theirs: getattr(tl, ours) for theirs, ours in RENAMED.items()},
    **ADAPTED,
}


def map_tensors(value, change):
    """The value with every PyTorch tensor in it changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(map_tensors(x, change) for x in value)
    if isinstance(value, dict):
        return {k: map_tensors(x, change) for k, x in value.items()}
    return value


def flat(value):
    if isinstance(value, (tuple, list)):
        return [y for x in value for y in flat(x)]
    return [value]


def close(name, ours, theirs):
    a = np.asarray(getattr(ours, "data", ours), dtype=float)
    b = (
        theirs.detach().to(torch.float64).numpy(force=True)
        if isinstance(theirs, torch.Tensor)
        else np.asarray(theirs, dtype=float)
    )
    assert a.shape == b.shape, f"{name}: shape {a.shape}, PyTorch's {b.shape}"
    finite = b[np.isfinite(b)]
    scale = max(1.0, np.abs(finite).max(initial=0))
    same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= TOLERANCE * scale)
    assert same.all(), f"{name}: {a[~same][:3]}, PyTorch's {b[~same][:3]}"


def judge(info, f, sample):
    leaves, twins = [], []

    def twin(t):
        array = t.detach().numpy()
        if not t.requires_grad:
            return array
        for leaf, known in zip(leaves, twins, strict=True):
            if leaf is t:
                return known
        leaves.append(t)
        twins.append(Tensor(array, requires_grad=True))
        return twins[-1]

    args = map_tensors((sample.input, *sample.args), twin)
    for name in THEIRS.get(info.name, ()):
        sample.kwargs.pop(name, None)
    kwargs = map_tensors(sample.kwargs, twin)
    with np.errstate(all="ignore"):
        ours = f(*args, **kwargs)
        theirs = info.op(sample.input, *sample.args, **sample.kwargs, **THEIRS.get(info.name, {}))
        if not isinstance(theirs, torch.Tensor) and isinstance(ours, Tensor):
            theirs = theirs[0]  # of sort and median, the values
        pairs = list(zip(flat(ours), flat(theirs), strict=True))
        for a, b in pairs:
            close("value", a, b)
        rng = np.random.default_rng(0)
        total = total_t = 0
        for a, b in pairs:
            if b.requires_grad:
                v = rng.normal(size=b.shape)
                total, total_t = total + (a * v).sum(), total_t + (b * torch.tensor(v)).sum()
        if not isinstance(total_t, torch.Tensor):
            return
        ours = grad(total, twins)
        theirs = torch.autograd.grad(total_t, leaves, create_graph=True, materialize_grads=True)
        for a, b in zip(ours, theirs, strict=True):
            close("gradient", a, b)
        total = total_t = 0
        for a, b in zip(ours, theirs, strict=True):
            v = rng.normal(size=b.shape)
            total, total_t = total + (a * v).sum(), total_t + (b * torch.tensor(v)).sum()
        if not total_t.requires_grad or info.formatted_name in FIRST_ORDER:
            return
        ours = grad(total, twins)
        theirs = torch.autograd.grad(total_t, leaves, materialize_grads=True)
        for a, b in zip(ours, theirs, strict=True):
            close("second gradient", a, b)


# All of its samples crop with a negative pad: that is slicing here.
# These have no derivative, or an absolute limit.
NOT_HERE = {
    "nn_functional_pad_replicate_negative", "linalg_pinv_singular", "linalg_pinv_hermitian",
}  # fmt: skip
INFOS = [i for i in op_db if i.name in COUNTERPARTS and i.formatted_name not in NOT_HERE]


@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.formatted_name)
def test_samples(info):
    torch.manual_seed(0)
    f = COUNTERPARTS[info.name]
    passed, skipped = 0, Counter()
    samples = info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd)
    for sample in samples:
        try:
            judge(info, f, sample)
            passed += 1
        except NoJudgeError as reason:
            skipped[str(reason)] += 1
        except Exception as error:
            raise AssertionError(f"{error!r} for {sample.summary()}") from error
    report = f"{passed} passed" + "".join(f"; {n} skipped: {why}" for why, n in skipped.items())
    print(f"{info.formatted_name}: {report}")
    assert passed, report


def errors(info):
    """Those of PyTorch's wrong samples that are wrong here too: NumPy takes some of them."""
    found = list(info.error_inputs("cpu")) if info.error_inputs_func else []
    return [error for error in found if not is_right_here(info.name, error)]


def is_right_here(name, error):
    message, tensors = error.error_regex, [error.sample_input.input, *error.sample_input.args]
    return (
        name in ("trace", "tril", "triu")  # NumPy takes any number of axes
        or name == "gradient"  # and fewer spacings
        or "same number of dimensions" in message  # and broadcasts
        or (any(isinstance(x, (int, float)) for x in tensors) and not message)  # a number for both
        or "output dtype" in message  # dtypes mix here
        or "should be the same" in message
        or "shifts" in message  # NumPy broadcasts shifts and axes
        or "approximate" in message  # gelu is exact here, and knows no approximations
    )


@pytest.mark.parametrize("info", [i for i in INFOS if errors(i)], ids=lambda i: i.formatted_name)
def test_errors(info):
    f = COUNTERPARTS[info.name]
    raised, skipped = 0, Counter()
    for error in errors(info):
        sample = error.sample_input
        try:
            args = map_tensors((sample.input, *sample.args), as_tensor)
            f(*args, **map_tensors(sample.kwargs, as_tensor))
        except NoJudgeError as reason:
            skipped[str(reason)] += 1
        except (TypeError, ValueError, IndexError):
            raised += 1
        else:
            raise AssertionError(f"no error for {sample.summary()}: {error.error_regex}")
    assert raised, skipped


def as_tensor(t):
    array = t.detach().numpy()
    return Tensor(array) if array.dtype.kind == "f" else array


def test_every_name_is_known():
    assert not COUNTERPARTS.keys() - {info.name for info in op_db}
