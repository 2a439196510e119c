"""The page of each public name: its documentation, and an example that runs.

The example of a function is its row in `calls.txt`; that of everything else is its section in
`names.md`. A public name without either is an error.
"""

import builtins
import re
from pathlib import Path

import numpy as np
from cells import Made, run_page, show, transcript

import tinygrad_lite
from tinygrad_lite import Tensor, graph, ops, steps, training
from tinygrad_lite.operation import Op

HERE = Path(__file__).parent
# Modules whose names are for users, beside the package itself.
MODULES = {"training": training.__all__, "testing": ["op_test", "check_op", "sample", "Sample"]}

# The classes of what the questions return.
RETURNED = {
    "graph": "insight.graphs.Graph recorded.nodes.Node recorded.nodes.Edge",
    "steps": "insight.stepper.Steps stepping.steps.Step",
    "paths": "insight.paths.Paths insight.paths.Path",
    "path_classes": "insight.classes.PathClasses insight.classes.PathClass",
    "flow": "insight.flows.Flow",
    "profile": "insight.profiles.Profile insight.profiles.Layer",
    "compare": "insight.comparing.Comparison insight.comparing.Row",
    "what_if": "insight.what_if.WhatIf insight.what_if.Row insight.what_if.Point",
    "History": "insight.history.Row",
    "check": "checking.Checked checking.CheckError",
}
# The groups of functions, and the files of `tinygrad_lite/ops/` whose functions are in each.
GROUPS = {
    "Elementwise": ("elementwise", "special", "at_zero"),
    "Sums and statistics": ("reduce", "statistics"),
    "Products": ("linear", "products"),
    "Shape and order": ("shape", "arrange"),
    "Choosing": ("choosing",),
    "Linear algebra": ("linalg", "decompositions", "norms"),
    "Samples and polynomials": ("grids",),
    "Networks": ("nn", "convolution"),
}


def functions() -> dict[str, list[str]]:
    """The names of all functions of arrays, by group."""
    return {
        group: sorted(n for n in ops.__all__ if getattr(ops, n).__module__.split(".")[-1] in files)
        for group, files in GROUPS.items()
    }


def public_names() -> set[str]:
    """Every name that `tinygrad_lite` has for its users."""
    return {*tinygrad_lite.__all__, *ops.__all__}


def calls() -> dict[str, tuple[str, str, str]]:
    """The rows of `calls.txt` by name: the call, its inputs, and the remark."""
    rows = {}
    for line in (HERE / "calls.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            call, inputs, remark = (*(part.strip() for part in line.split(" | ")), "")[:3]
            rows[call.partition("(")[0]] = call, inputs, remark
    return rows


def sections() -> dict[str, str]:
    """The sections of `names.md` by name."""
    text = (HERE / "names.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^# (\S+)\n", text)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def function_page(name: str) -> Made:
    """The page of a function of arrays."""
    code, variable = example_of(name)
    names: dict = {"__name__": "__main__"}
    example, remark = transcript(code, names), calls()[name][2]
    text = f"{references(name)}    options:\n      heading_level: 1\n\n"  # so it has the title too
    text += f"## Example\n\n{example}\n{remark}\n"
    y, pictures = names.get("loss", names[variable]), {}
    if isinstance(y, Tensor) and y.requires_grad:
        shown = graph(y, names=names)
        pictures[f"{name}.svg"] = shown.svg().encode()
        text += rule_of(y, names) + show(f"{name}.svg", pictures[f"{name}.svg"], name)
    return text + numpys_name(name, code, names[variable]), pictures


def example_of(name: str) -> tuple[str, str]:
    """The example of a function as code, and the variable that has its result there."""
    call, inputs, _ = calls()[name]
    made, tensors = [], []
    for given in inputs.split("; "):
        variable, _, value = given.partition(" = ")
        if "." in value and not value.startswith("np."):
            made.append(f"{variable} = Tensor({value}, requires_grad=True)")
            tensors.append(variable)
        else:
            made.append(given)
    variable = "y" if not re.search(r"\by = ", inputs) else "z"
    if hasattr(builtins, name):
        imported, call = (
            "import tinygrad_lite as tl\nfrom tinygrad_lite import Tensor",
            f"tl.{call}",
        )
    else:
        imported = "from tinygrad_lite import " + ", ".join(["Tensor"] * bool(tensors) + [name])
    code = [*made, f"{variable} = {call}", variable]
    before = "import numpy as np\n" * bool(re.search(r"\bnp\.", "\n".join(code))) + imported
    trial: dict = {}
    exec("\n".join([before, *code]), trial)
    code += backward_of(trial[variable], variable, getattr(tinygrad_lite, name))
    if len(code) > len(made) + 2:
        code += [f"{t}.grad" for t in tensors]
    before = "import numpy as np\n" * bool(re.search(r"\bnp\.", "\n".join(code))) + imported
    return "\n".join([before, *code]), variable


def backward_of(y, variable: str, function) -> list[str]:
    """The lines that take the gradient of a result, if there is one to take."""
    if isinstance(y, (tuple, list)):
        parts = [i for i, part in enumerate(y) if isinstance(part, Tensor) and part.requires_grad]
        sums = [f"{variable}[{i}]" + ".sum()" * bool(y[i].ndim) for i in parts]
        if isinstance(y, list):  # so that one sees from which part a gradient came
            sums = [f"{10**i} * {text}" if i else text for i, text in enumerate(sums)]
        return [f"loss = {' + '.join(sums)}", "loss.backward()"]
    if not isinstance(y, Tensor) or not y.requires_grad:
        return []
    if not y.ndim:
        return [f"{variable}.backward()"]
    if getattr(function, "elementwise", function.__module__.endswith("special")) or y.size == 1:
        return [f"{variable}.backward(np.ones({y.shape if y.ndim > 1 else y.size}))"]
    numbers = np.arange(1.0, y.size + 1).reshape(y.shape).tolist()
    return [f"{variable}.backward({numbers})  # 1, 2, 3, ... show where each part goes"]


def rule_of(y: Tensor, names: dict) -> str:
    """The rule of an op as `steps` writes it; nothing where the function is made of several."""
    if not isinstance(y.op, Op) or any(getattr(x, "op", None) for x in y.inputs):
        return "\nIt is made of simpler ops, and so is its gradient:\n"
    found = [step.rule for step in steps(y, names=names) if step.direction == "backward"]
    return f"\nIts rule, as `steps` writes it:\n\n```text\n{found[0]}\n```\n" if found else ""


def numpys_name(name: str, code: str, y) -> str:
    """A line on NumPy's function of that name, if it gives the same of Tensors."""
    where = next((x for x in ("np", "np.linalg") if hasattr(eval(x), name)), None)
    if where is None or not isinstance(y, Tensor):
        return ""
    call = calls()[name][0]
    given = "\n".join(line for line in code.splitlines() if " = Tensor(" in line or "= np." in line)
    names: dict = {"np": np, "Tensor": Tensor}
    exec(given, names)
    try:
        same = eval(f"{where}.{call}", names)
    except TypeError:  # NumPy's has other arguments
        return ""
    if not np.array_equal(same.data, y.data, equal_nan=True):
        raise ValueError(f"{where}.{call} is not {call}")
    return f"\n`{where}.{call}` is the same: NumPy's function of a Tensor calls this one.\n"


def page_of(name: str) -> Made:
    """The page of a public name that is no function of arrays: prose, example, documentation."""
    text, pictures = run_page(sections()[name], name)
    if name == "Tensor":
        text += methods()
    alone = "    options:\n      inherited_members: false\n" * (name == "Tensor")
    return f"# {name}\n\n{text}\n## In full\n\n{references(name)}{alone}", pictures


def methods() -> str:
    """The methods of a Tensor that are functions, as links."""
    given = [n for n, x in vars(Tensor).items() if n[0] != "_" and x is getattr(ops, n, None)]
    links = ", ".join(f"[`{name}`]({name}.md)" for name in sorted(given))
    return f"\nThese methods are the functions of that name, with the Tensor first: {links}.\n"


def references(name: str) -> str:
    """What mkdocstrings writes out: the name, and what it returns; of a module its names."""
    if name in MODULES:
        places = [f"{name}.{part}" for part in MODULES[name]]
    else:
        module = getattr(tinygrad_lite, name).__module__.removeprefix("tinygrad_lite.")
        places = [f"{module}.{name}", *RETURNED.get(name, "").split()]
    return "\n\n".join(f"::: tinygrad_lite.{place}" for place in places) + "\n"


def check_examples() -> None:
    """Raise ValueError for a public name without an example, and for an example of no name."""
    have = {*calls(), *sections()}
    if missing := public_names() - have:
        raise ValueError(f"no example in docs/calls.txt or docs/names.md of: {sorted(missing)}")
    if odd := have - public_names() - MODULES.keys():
        raise ValueError(f"an example of what is no public name: {sorted(odd)}")
