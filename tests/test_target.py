"""What FILE.py:NAME means: Python's own meaning, of attributes, keys and indices alone."""

import ast
import re
import sys
from pathlib import Path

import pytest

import tinygrad_lite
from tinygrad_lite import Tensor
from tinygrad_lite.target import (
    complete_target,
    links,
    only_in_functions,
    split_target,
    tensor_named,
    tensors_at,
)

SCRIPT = """
from tinygrad_lite import Tensor

def main():
    hidden = Tensor(1.0)
    return hidden

class Net:
    async def train(self, seen):
        for loss in seen:
            deep, other = loss

first, (second, *rest) = 1, (2, 3)
with open("f") as file:
    x = list(y for y in file)
"""


class Net:
    def __init__(self):
        self.loss = Tensor(1.0)
        self.layers = [{"W": Tensor(2.0), 3: Tensor(3.0)}, {"W": Tensor(4.0)}]
        self.out = {"y": Tensor(5.0), "a:b": Tensor(6.0), ("y", -1): Tensor(7.0)}

    @property
    def broken(self):
        raise ZeroDivisionError


NAMES = {"net": Net(), "L": [Tensor(8.0), Tensor(9.0)], "α": Tensor(0.0), "count": 3, "_x": 0}


@pytest.fixture
def path(tmp_path):
    (tmp_path / "net.py").write_text(SCRIPT)
    return tmp_path / "net.py"


@pytest.mark.parametrize(
    "name",
    ["α", "L[0]", "L[-1]", "net.loss", 'net.layers[0]["W"]', "net.layers[-1]['W']",
     "net.layers[0][3]", 'net.out["a:b"]', 'net.out["y", -1]'],
)  # fmt: skip
def test_a_name_means_what_it_means_in_python(path, name):
    assert tensor_named(name, NAMES, path) is eval(name, NAMES)
    assert split_target(f"{path}:{name}") == (str(path), name)


@pytest.mark.parametrize(
    "name",
    ["", "f()", "net.loss()", "L[i]", "L[f()]", "L[0:1]", "L[-i]", "L[0] + 1", "(x := 3)", "1",
     "'x'.y", "[x][0]", "await_(", "lambda", "x y", "x;y", "f().y[0]"],
)  # fmt: skip
def test_nothing_else_is_a_name(path, name):
    assert links(name) == []
    with pytest.raises(ValueError, match=r"FILE\.py:NAME, for example net\.py:loss or 'net\.py:m"):
        split_target(f"{path}:{name}")


@pytest.mark.parametrize("folder", ["plain", "my nets:1", "C:", "a.py:b"])
@pytest.mark.parametrize("name", ["x", 'x["a:b"]', 'x["net.py:y"].z'])
def test_a_target_is_split_where_the_name_begins(tmp_path, folder, name):
    (tmp_path / folder).mkdir()
    file = tmp_path / folder / "net.py"
    file.touch()
    assert split_target(f"{file}:{name}") == (str(file), name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("los", "left nothing under the name los; its tensors include α"),
        ("net.los", "left nothing under the name net.los; its tensors include net.loss"),
        ("net.broken", "left nothing under the name net.broken; its tensors include net.loss"),
        ('net.out["z"]', 'tensors include net.out["y"], net.out["a:b"], net.out[(\'y\', -1)]'),
        ("L[2]", "left nothing under the name L[2]; its tensors include L[0], L[1]"),
        ("L.x", "left nothing under the name L.x; its tensors include L[0], L[1]"),
        ("net", "net in FILE is not a Tensor but Net; its tensors include net.loss"),
        ("net.layers", "is not a Tensor but list; its tensors include net.layers"),
        ("count", "count in FILE is not a Tensor but int; its tensors include α"),
        ("count.real", "count.real in FILE is not a Tensor but int; its tensors include α"),
    ],
)
def test_a_wrong_name_is_told_the_tensors_that_are_near(path, name, said):
    with pytest.raises(ValueError, match=re.escape(said.replace("FILE", str(path)))):
        tensor_named(name, NAMES, path)


def test_a_tensor_far_inside_is_found_and_where_there_is_none_that_is_said(path):
    far = {"data": list(range(20_000)), "nets": [{"net": [Tensor(1.0)]}], "_x": Tensor(1.0)}
    for name in ("nets", "nets[0]", "nets[0].W", "W", "data"):
        with pytest.raises(ValueError, match=r'include nets\[0\]\["net"\]\[0\]$'):
            tensor_named(name, far, path)
    many = dict(vars(tinygrad_lite)) | {f"x{i}": [0] for i in range(1000)} | {"out": Tensor(1.0)}
    with pytest.raises(ValueError, match=r"its tensors include out$"):  # as after import *
        tensor_named("y", many, path)
    with pytest.raises(ValueError, match="it left no tensor at all"):
        tensor_named("y", {"count": 3, "_x": Tensor(1.0), "np": ast, "T": Tensor}, path)


@pytest.mark.parametrize(
    ("variable", "call", "line"),
    [
        ("hidden", "main()", 4),
        ("seen", "train()", 9),
        ("loss", "train()", 9),
        ("other", "train()", 9),
    ],
)
def test_a_variable_of_a_function_is_told_where_it_stands(path, variable, call, line):
    said = (
        f"{path} left nothing under the name {variable}[0], which stands inside {call} (net.py, "
        f"line {line}): return it there and give it a name outside, as in {variable} = {call}, or "
        f"begin the function with 'global {variable}'"
    )
    with pytest.raises(ValueError, match=re.escape(said)):
        tensor_named(f"{variable}[0]", NAMES, path)


LOCAL = """
import sys
from tinygrad_lite import Tensor

offset = Tensor(100.0, name="offset")

def net(n):
    params = {"W": Tensor(float(n), True)}
    def inner():
        return h
    h = params["W"] * 2.0
    loss = h + offset
    if n == 3:
        raise ValueError
    return None

def never():
    unseen = Tensor(1.0)
    raise ValueError

def values():
    item = Tensor(5.0)
    yield item
    item = Tensor(6.0)

def outside():
    global said
    said = Tensor(7.0)
    offset = Tensor(8.0)

for n in (1, 2, 3):
    try:
        net(n)
    except ValueError:
        pass
try:
    never()
except ValueError:
    pass
waiting = values()
next(waiting)
list(values())
outside()
"""


@pytest.fixture
def local(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    (tmp_path / "local.py").write_text(LOCAL)
    return tmp_path / "local.py"


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", 104), ("h", 4), ('params["W"]', 2), ("item", 6), ("said", 7), ("offset", 100)],
)
def test_a_local_variable_is_that_of_the_last_call_that_returned(local, name, value):
    ((found, names),) = tensors_at([f"{local}:{name}"], [])
    assert found.data == value
    assert eval(name, dict(names)) is found
    assert names["offset"].data == 100
    assert sys.getprofile() is None


def test_python_is_watched_only_for_variables_that_stand_nowhere_else(local):
    assert only_in_functions(["loss", "said", "offset", "n", "net", "none"], local) == {"loss"}
    both = tensors_at([f"{local}:loss", f"{local}:said"], [])
    assert [float(x.data) for x, _ in both] == [104, 7]


def test_a_variable_of_a_function_that_did_not_return_is_told_where_it_stands(local):
    with pytest.raises(ValueError, match=r"which stands inside never\(\) \(local.py, line 17\)"):
        tensors_at([f"{local}:unseen"], [])


def test_a_module_is_not_a_file_but_may_have_meant_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pkg").mkdir()
    Path("pkg/net.py").touch()
    with pytest.raises(ValueError, match=r"'pkg\.net' does not exist; did you mean 'pkg/net\.py'"):
        split_target("pkg.net:loss")
    with pytest.raises(ValueError, match=r"'pkg\.other' does not exist$"):
        split_target("pkg.other:loss")


def test_the_beginning_of_a_target_is_completed(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    Path("notes.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "%x\\ny = 1"}]}')
    Path("nets").mkdir()
    Path("nets.txt").touch()
    assert complete_target("ne") == ["nets/", "net.py:"]
    assert complete_target("no") == ["notes.ipynb:"]
    names = ("first", "second", "rest", "file", "x")
    assert complete_target("net.py:") == [f"net.py:{name}" for name in names]
    assert complete_target("notes.ipynb:") == ["notes.ipynb:y"]
