"""How the package is built: imports run one way, the core is small, fast/ can be deleted.

Imports are read from the source, not observed: those inside functions, under TYPE_CHECKING and
by `import_module` count like all others.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from conftest import code_lines

import tinygrad_lite as tl

TOP = Path(__file__).parent.parent
PACKAGE = TOP / "tinygrad_lite"

# From the bottom to the top: a file imports only from the lines before its own, or from its own.
LAYERS = [
    "text.py",
    "files.py",
    "context.py",
    "arrays.py",
    "nesting.py",
    "elsewhere.py",
    "operation.py",
    "value.py",
    "ancestors.py",
    "truths.py",
    "backward.py",
    "ops/",
    "numpy_protocols.py",
    "tensor.py",
    "array_api.py",
    "updated.py",
    "calculus.py",
    "differences.py",
    "comparison.py",
    "checking.py",
    "training.py",
    "testing.py",
    "recorded/",
    "fast/",
    "stepping/",
    "drawing/",
    "views/",
    "live/",
    "insight/",
    "pytorch/",
    "script.py",
    "target.py",
    "worker.py",
    "cli.py",
]
# The two that nobody imports: what a user imports, and what `python -m tinygrad_lite` runs.
FRONT = ("__init__.py", "__main__.py")

CORE = ("operation.py", "value.py", "backward.py")


# Reading imports


def package_imports(package):
    """For each file of a package: the files of it that it imports, anywhere, in whatever way.

    Importing `a.b.c` runs `a/__init__.py` and `a/b/__init__.py` too. Those count where the
    importing file is not itself in that folder; that of the whole package never counts so, as
    every import runs it.
    """
    files = {file.relative_to(package).as_posix() for file in package.rglob("*.py")}
    return {
        name: {
            found
            for module in _imported_modules(ast.parse((package / name).read_bytes()), package, name)
            for found in _files_run(module, files, name)
        }
        for name in sorted(files)
    }


def computed_imports(package):
    """(file, line) of each `import_module` and `__import__` whose module is computed."""
    return [
        (file.relative_to(package).as_posix(), node.lineno)
        for file in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_bytes()))
        if (argument := _imported_by_call(node)) is not None and _literal(argument) is None
    ]


def _imported_modules(tree, package, name):
    """Every module that a file names in an import, from the package down: "ops.shape"."""
    root, here = package.name, (package.name, *Path(name).parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), here)
            named = [f"{base}.{alias.name}" for alias in node.names]
        elif (module := _literal(_imported_by_call(node))) is not None:
            package_given = _literal(node.args[1]) if len(node.args) > 1 else None
            named = [_absolute(module, package_given.split(".") if package_given else here)]
        else:
            continue
        for module in named:
            if module == root or module.startswith(root + "."):
                yield module[len(root) + 1 :]


def _imported_by_call(node):
    """The argument of `import_module` or `__import__` that names the module, if node calls it."""
    calls = ("import_module", "__import__")
    if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in calls:
        return None
    return next(iter([*node.args, *(k.value for k in node.keywords if k.arg == "name")]), None)


def _literal(node):
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _absolute(module, here):
    """A module's full name: "..a" as a file in the folder `here` of the package says it."""
    level = len(module) - len(module.lstrip("."))
    above = here[: len(here) - level + 1] if level else ()
    return ".".join([*above, *filter(None, module.lstrip(".").split("."))])


def _files_run(module, files, importer):
    """The files that importing a module runs; its last part may be a name inside a module."""
    parts = module.split(".") if module else []
    for depth in range(len(parts), -1, -1):
        stem = "/".join(parts[:depth])
        for file in (f"{stem}.py", f"{stem}/__init__.py".lstrip("/")):
            if file in files:
                folders = ["/".join(parts[:i]) + "/" for i in range(1, depth)]
                around = {f"{folder}__init__.py" for folder in folders}
                inside = {f for f in around if importer.startswith(f.removesuffix("__init__.py"))}
                return {file} | ((around - inside) & files)
    return set()


def circles(imports):
    """The sets of files that import each other in a circle."""
    graph = nx.DiGraph([(a, b) for a, found in imports.items() for b in found])
    found = [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]
    return sorted(found + [[file] for file in nx.nodes_with_selfloops(graph)])


def layer_of(file, layers):
    """The number of the layer that a file belongs to; -1 for none."""
    places = (file, file.split("/")[0] + "/")
    return next((i for i, layer in enumerate(layers) if layer in places), -1)


def upward_imports(imports, layers, front=FRONT):
    """The imports that do not run down the layers; the front ones may import what they like."""
    return sorted(
        f"{file} imports {other}"
        for file, found in imports.items()
        for other in found
        if other in front
        or (file not in front and layer_of(other, layers) > layer_of(file, layers))
    )


def reached(imports, start):
    """Some files and all that they import, directly or through others."""
    found, todo = set(), list(start)
    while todo:
        if (file := todo.pop()) not in found:
            found.add(file)
            todo += imports[file]
    return found


# The package


IMPORTS = package_imports(PACKAGE)


def test_no_circle_of_imports():
    assert circles(IMPORTS) == []


def test_only_the_lazy_public_names_are_imported_by_a_computed_name():
    """`tinygrad_lite.graph` imports insight when it is first asked for; nobody inside asks, as
    nobody imports __init__ (see the order of the layers)."""
    assert [file for file, _ in computed_imports(PACKAGE)] == ["__init__.py"]
    files = set(IMPORTS)
    lazy = {file for name in tl._LAZY.values() for file in _files_run(name, files, "__init__.py")}
    assert lazy <= IMPORTS["__init__.py"]  # named there for the type checker, so they are counted


def test_every_file_belongs_to_a_layer_and_every_layer_is_there():
    numbers = {file: layer_of(file, LAYERS) for file in IMPORTS if file not in FRONT}
    assert [file for file, number in numbers.items() if number < 0] == []
    assert [layer for i, layer in enumerate(LAYERS) if i not in numbers.values()] == []


def test_imports_run_down_the_layers():
    """So data never imports a view, nor a view a question, nor anything but cli the commands."""
    assert upward_imports(IMPORTS, LAYERS) == []


def test_readme_prints_the_layers_in_this_order():
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    table = readme.split("## How it is built")[1].split("\n## ")[0]
    firsts = re.findall(r"^\| ([^|]*`[^|]*) \|", table, re.MULTILINE)
    assert [name for cell in firsts for name in re.findall(r"`(.+?)`", cell)] == LAYERS


def test_the_chapters_of_pytorch_stand_in_the_order_that_its_docstring_tells():
    story = ast.get_docstring(ast.parse((PACKAGE / "pytorch/__init__.py").read_bytes()))
    chapters = [f"pytorch/{name}" for name in re.findall(r"(\w+\.py) \(", story)]
    imports = {file: IMPORTS[file] & {*chapters} for file in chapters}
    assert {*chapters, "pytorch/__init__.py"} == {f for f in IMPORTS if f.startswith("pytorch/")}
    assert upward_imports(imports, chapters, front=()) == []


def test_drawing_knows_nothing_of_tensors():
    drawing = {file: found for file, found in IMPORTS.items() if file.startswith("drawing/")}
    outside = {(f, o) for f, found in drawing.items() for o in found if o not in drawing}
    assert {other for _, other in outside} <= {"text.py", "files.py"}, outside


def test_only_the_front_imports_what_is_fast():
    importers = {
        file
        for file, found in IMPORTS.items()
        if any(other.startswith("fast/") for other in found) and not file.startswith("fast/")
    }
    assert importers == {"__init__.py"}


def test_the_core_is_short():
    """operation, value and backward with all that they import: a chapter, not a book."""
    core = sorted(reached(IMPORTS, CORE))
    texts = {file: (PACKAGE / file).read_text(encoding="utf-8") for file in core}
    counts = {file: len(code_lines(text)) for file, text in texts.items()}
    assert sum(counts.values()) <= 500, counts
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 100


def test_no_module_at_the_top_has_the_name_of_a_public_function():
    names = {*tl.__all__, *tl.ops.__all__}
    assert names.isdisjoint(path.stem for path in PACKAGE.iterdir())


def test_completion_offers_the_public_names_and_no_internals():
    code = """
    import json, rlcompleter, tinygrad_lite
    offered = [name for name in dir(tinygrad_lite) if not name.startswith("__")]
    complete = rlcompleter.Completer({"tl": tinygrad_lite}).complete
    print(json.dumps([offered, complete("tl.flow", 0), complete("tl.arr", 0)]))
    """
    offered, *completed = json.loads(run_python(code, TOP))
    assert set(offered) == {*tl.__all__, *tl.ops.__all__}
    assert completed == ["tl.flow(", "tl.array_split("]  # and not tl.arrays


def test_public_names_stay_what_they_are_once_every_module_is_imported():
    """A module tinygrad_lite/graph.py, say, would replace the function `graph` when imported."""
    code = """
    import importlib, json, pkgutil
    import tinygrad_lite as tl
    names = sorted({*tl.__all__, *tl.ops.__all__})
    before = {name: getattr(tl, name) for name in names}
    for module in pkgutil.walk_packages(tl.__path__, "tinygrad_lite."):
        importlib.import_module(module.name)
    changed = [name for name in names if getattr(tl, name) is not before[name]]
    x = tl.Tensor(2.0, requires_grad=True, name="x")
    y = x * x + x
    asked = [tl.graph(y), tl.steps(y), tl.flow(y, x), tl.profile(y), tl.compare(y, x * x)]
    asked += [tl.paths(y, x), tl.path_classes(y, x), tl.grad(y, x), tl.check(lambda x: x * x, 2.0)]
    print(json.dumps([changed, [n for n in names if not callable(before[n])], len(asked)]))
    """
    assert json.loads(run_python(code, TOP)) == [[], [], 9]


GRADIENTS = """
import json, sys
import numpy as np
import tinygrad_lite as tl

rng = np.random.default_rng(0)
leaf = lambda *shape: tl.Tensor(rng.standard_normal(shape), requires_grad=True)
W, x, b = leaf(4, 3), leaf(3), leaf(4)
y = tl.sigmoid(W @ x + b)
(y * y + y).sum().backward()
slope = tl.grad((y * x[0]).sum(), x)
image, kernel = leaf(2, 3, 7, 6), leaf(4, 3, 3, 3)
tl.conv2d(image, kernel, stride=2, padding=1).sum().backward()
again = tl.grad((slope * slope).sum(), W)
arrays = [W.grad, x.grad, b.grad, slope.data, again.data, image.grad, kernel.grad]
fast = sorted(name for name in sys.modules if name.startswith("tinygrad_lite.fast"))
print(json.dumps([tl.__file__, fast, [a.tolist() for a in arrays]]))
"""


def test_without_fast_every_answer_stays_the_same(tmp_path):
    copy = tmp_path / "tinygrad_lite"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.rmtree(copy / "fast")
    switch = {"TINYGRAD_LITE_PLAIN": ""}
    file, modules, expected = json.loads(run_python(GRADIENTS, TOP, switch))
    assert Path(file).parent == PACKAGE
    assert "tinygrad_lite.fast" in modules
    for folder, environment in ((TOP, {"TINYGRAD_LITE_PLAIN": "1"}), (tmp_path, switch)):
        file, modules, found = json.loads(run_python(GRADIENTS, folder, environment))
        assert Path(file).parent == folder / "tinygrad_lite"
        assert modules == []
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_importing_loads_little():
    """What only looks at computations, reads files of the user's, or hashes, is loaded when it is
    first needed: importing stays quick. NumPy loads `inspect`, with all that it needs."""
    code = """
    import inspect, json, sys
    import numpy
    before = set(sys.modules)
    import tinygrad_lite
    print(json.dumps(sorted(set(sys.modules) - before)))
    """
    loaded = json.loads(run_python(code, TOP))
    ours = {name for name in loaded if name.split(".")[0] == "tinygrad_lite"}
    assert {*loaded} - ours <= {"__future__", "_heapq", "heapq", "threading"}
    late = {"drawing", "insight", "stepping", "views"}
    assert late.isdisjoint(name.split(".")[1] for name in ours if "." in name)
    recorded = {name for name in ours if name.startswith("tinygrad_lite.recorded.")}
    assert recorded <= {"tinygrad_lite.recorded.rerun"}
    assert "tinygrad_lite.fast.straight" not in ours


def run_python(code, path, environment=()):
    """What a Python prints that finds our package in the folder `path`."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(path), **dict(environment)},
        cwd=path,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# What reads the imports is itself tried, on packages made up for it


@pytest.fixture
def imports_of(tmp_path):
    def read(**files):
        package = tmp_path / "made"
        for name, text in files.items():
            file = package / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return package_imports(package)

    return read


@pytest.mark.parametrize(
    "text",
    [
        "import made.b",
        "import made.b as other, os",
        "from made import b",
        "from made.b import f",
        "from . import b",
        "from .b import f",
        "from .b import *",
        "def f():\n    from .b import g",
        "if TYPE_CHECKING:\n    from .b import f",
        "class A:\n    from . import b",
        "x = import_module('made.b')",
        "x = importlib.import_module('.b', 'made')",
        "x = importlib.import_module('.b', __package__)",
        "x = import_module(name='made.b')",
        "x = __import__('made.b')",
    ],
)
def test_every_kind_of_import_is_seen(imports_of, text):
    assert imports_of(a=text, b="f = 1") == {"a.py": {"b.py"}, "b.py": set()}


@pytest.mark.parametrize("text", ["import os", "from b import f", "import other.b", "'import b'"])
def test_what_is_no_import_of_the_package_is_not(imports_of, text):
    assert imports_of(a=text, b="f = 1")["a.py"] == set()


def test_a_folder_imported_from_outside_runs_its_init(imports_of):
    found = imports_of(
        __init__="from .a import f",
        a="from .sub.c import f",
        b="from .sub import name",
        sub__in____init__="from .c import f\nfrom . import d",
        sub__in__c="f = 1",
        sub__in__d="from .c import f\nfrom ..b import g",
        sub__in__e="from . import name\nfrom .. import something",
    )
    assert found == {
        "__init__.py": {"a.py"},
        "a.py": {"sub/__init__.py", "sub/c.py"},
        "b.py": {"sub/__init__.py"},
        "sub/__init__.py": {"sub/c.py", "sub/d.py"},
        "sub/c.py": set(),
        "sub/d.py": {"sub/c.py", "b.py"},
        "sub/e.py": {"sub/__init__.py", "__init__.py"},
    }
    assert circles(found) == [["b.py", "sub/__init__.py", "sub/d.py"]]


def test_circles_and_what_is_reached(imports_of):
    found = imports_of(
        a="from . import b",
        b="def f():\n    from . import c",
        c="if TYPE_CHECKING:\n    from . import a",
        d="from . import a",
        e="import made.e",
    )
    assert circles(found) == [["a.py", "b.py", "c.py"], ["e.py"]]
    assert reached(found, ["b.py"]) == {"a.py", "b.py", "c.py"}
    assert circles(imports_of(c="", e="")) == []


def test_a_computed_import_is_found(imports_of, tmp_path):
    imports_of(a="import_module('made.b')", b="x = 1\nimport_module(f'made.{x}')")
    assert computed_imports(tmp_path / "made") == [("b.py", 2)]


def test_upward_imports_are_found(imports_of):
    layers = ["a.py", "low/", "b.py", "c.py", "top/"]
    found = imports_of(
        __init__="from .top import x",
        a="from .low import x",
        b="from . import a, c",
        c="import made",
        new="from . import a",
        low__in____init__="x = 1",
        low__in__one="from .. import a\nfrom ..top import two",
        top__in____init__="from .. import b",
        top__in__two="from ..low.one import x",
    )
    assert upward_imports(found, layers) == [
        "a.py imports low/__init__.py",
        "b.py imports c.py",
        "c.py imports __init__.py",
        "low/one.py imports top/__init__.py",
        "low/one.py imports top/two.py",
        "new.py imports a.py",
    ]
    assert [layer_of(file, layers) for file in ("low/one.py", "c.py", "new.py")] == [1, 3, -1]


def test_lines_of_code_are_counted():
    text = '''"""A docstring
of two lines."""

import os  # 1


class A:  # 2
    """Another."""

    x: int = 3  # 3
    """What x is."""

    # a comment
    def f(self):  # 4
        """One more,

        with a blank line."""
        return """a string  # 5
        that is code, 6

        and 8"""


A(
    # not this one
    1,
)
'''
    assert len(code_lines(text)) == 8 + 3
