"""The ops, one family a file. Importing this registers them all in `operation.OPS`."""

from ..operation import Op
from . import (
    arrange,
    choosing,
    decompositions,
    grids,
    linalg,
    nn,
    norms,
    products,
    special,
    statistics,
)
from .arrange import *  # noqa: F403
from .at_zero import abs, power
from .choosing import *  # noqa: F403
from .convolution import conv2d
from .decompositions import *  # noqa: F403
from .elementwise import (
    add,
    astype,
    bitwise_and,
    bitwise_or,
    bitwise_xor,
    divide,
    equal,
    exp,
    floor_divide,
    greater,
    greater_equal,
    heaviside,
    invert,
    left_shift,
    less,
    less_equal,
    log,
    logical_and,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    relu,
    remainder,
    right_shift,
    sigmoid,
    sign,
    sqrt,
    subtract,
    tanh,
    where,
)
from .explained import explained
from .grids import *  # noqa: F403
from .linalg import *  # noqa: F403
from .linear import matmul
from .nn import *  # noqa: F403
from .norms import *  # noqa: F403
from .products import *  # noqa: F403
from .reduce import max, mean, min, sum
from .shape import broadcast_to, concatenate, getitem, pad, reshape, stack, transpose
from .special import *  # noqa: F403
from .statistics import *  # noqa: F403

__all__ = [
    "abs", "add", "astype", "bitwise_and", "bitwise_or", "bitwise_xor",
    "broadcast_to", "concatenate", "conv2d", "divide", "equal", "exp",
    "floor_divide", "getitem", "greater", "greater_equal", "heaviside", "invert",
    "left_shift", "less", "less_equal", "log",
    "logical_and", "logical_or", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply",
    "negative", "not_equal", "pad", "power", "relu", "remainder", "reshape",
    "right_shift", "sigmoid", "sign", "sqrt", "stack", "subtract", "sum", "tanh", "transpose",
    "where",
]  # fmt: skip
for _family in (arrange, choosing, decompositions, grids, linalg, nn, norms, products, special,
                statistics):  # fmt: skip
    __all__ += _family.__all__

for _name in __all__:  # every public function says in its errors what it was given
    if not isinstance(globals()[_name], Op):
        globals()[_name] = explained(globals()[_name])
