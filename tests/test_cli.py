"""The command line, as a user meets it: one process a call."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import require

from tinygrad_lite import Tensor, graph, training
from tinygrad_lite.cli import main
from tinygrad_lite.drawing.svg import extent
from tinygrad_lite.text import encodable

SCRIPT = """
import sys
from helper import two
from tinygrad_lite import Tensor

assert __name__ == "__main__"
weight = Tensor(two, True, name="weight")
loss = weight * weight
loss.name = "loss"
loss.backward()
count = 3
print("noise of the script", sys.argv)
"""


def run(*arguments, cwd, module=True):
    command = (
        [sys.executable, "-m", "tinygrad_lite"]
        if module
        else [str(Path(sys.executable).with_name("tinygrad-lite"))]
    )
    return subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, capture_output=True, encoding="utf-8",
        timeout=120,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder, with a space and a colon in its name, with a script that imports a neighbour."""
    folder = tmp_path_factory.mktemp("my nets:1")
    (folder / "net.py").write_text(SCRIPT)
    (folder / "helper.py").write_text("two = 2.0\n")
    return folder


def sentence(done, status=2):
    """The one sentence a user's mistake is answered with."""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("noise")]
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("tinygrad-lite: ")
    assert done.stdout == ""
    return lines[0]


def test_without_a_file_the_text_tree_is_printed_and_nothing_else(folder, tmp_path):
    done = run("graph", folder / "net.py:loss", cwd=tmp_path)
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            "loss = multiply () [4.0]   +1.00 (the gradient)",
            "├─ weight () [2.0], parameter   +2.00, in all +2.00 + 2.00 = +4.00",
            "└─ → weight   +2.00",
        ],
    )
    assert done.stderr == f"noise of the script ['{folder / 'net.py'}']\n"


def test_a_picture_is_saved(folder, tmp_path):
    done = run("graph", f"{folder}/net.py:loss", "-o", "g.svg", "--direction", "TB", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert "weight" in (tmp_path / "g.svg").read_text(encoding="utf-8")


def test_the_installed_command_is_the_module(folder):
    for module in (True, False):
        done = run("graph", "net.py:weight", cwd=folder, module=module)
        assert done.stdout.startswith("weight () [2.0], parameter")


def test_arguments_after_two_dashes_are_the_scripts(folder):
    done = run("graph", "net.py:loss", "--", "--rate", "3", cwd=folder)
    assert done.stderr == "noise of the script ['net.py', '--rate', '3']\n"


@pytest.mark.parametrize(
    ("last", "status"),
    [("sys.exit()", 0), ("sys.exit(0)", 0),
     ("from argparse import ArgumentParser as P; P().parse_args()", 0),
     ("sys.exit(3)", 1)],
)  # fmt: skip
def test_a_script_may_exit(folder, last, status):
    (folder / "exits.py").write_text(f"{SCRIPT}\n{last}\n")
    done = run("graph", "exits.py:loss", cwd=folder)
    assert done.returncode == status
    assert ("loss = multiply" in done.stdout) == (status == 0)
    assert ("exits.py ended with an error" in done.stderr) == (status == 1)


def test_gradients_of_ones_are_sent_back_unless_told_otherwise(folder):
    (folder / "plain.py").write_text(
        "from tinygrad_lite import Tensor\nx = Tensor([1.0, 2.0], True, name='x')\n"
        "y = 3.0 * x\nz = Tensor([1.0]) + 1.0\n"
    )
    done = run("graph", "plain.py:y", cwd=folder)
    assert "x (2,) [1.0 2.0], parameter   +3.00 +3.00" in done.stdout
    assert "gradient, starting from ones: it is the gradient of the sum)" in done.stdout
    run("graph", "plain.py:y", "--html", "plain.html", cwd=folder)
    assert "The gradients are those of L = sum(y)." in (folder / "plain.html").read_text("utf-8")
    done = run("graph", "plain.py:y", "--no-gradient", cwd=folder)
    assert "x (2,) [1.0 2.0], parameter   not computed" in done.stdout
    assert run("graph", "plain.py:z", cwd=folder).stdout.startswith("z = add (1,)")


def test_mistakes_are_one_sentence(folder):
    def answer(target, *more):
        return sentence(run("graph", target, *more, cwd=folder))

    assert "'none.py' does not exist" in answer("none.py:loss")
    assert "'.' is a folder" in answer(".:loss")
    assert "as FILE.py:NAME, for example net.py:loss or " in answer("net.py")
    assert "left nothing under the name los; its tensors include loss" in answer("net.py:los")
    assert "its tensors include weight, loss" in answer("net.py:qqqq")
    assert "count in net.py is not a Tensor but int" in answer("net.py:count")
    assert "ends in .gif; use one of .svg, " in answer("net.py:loss", "-o", "g.gif")
    assert "the folder 'no' does not exist" in answer("net.py:loss", "-o", "no/g.svg")
    assert "has no suffix; use one of .svg" in answer("net.py:loss", "-o", "")
    assert not list(folder.glob("g.*"))


def test_a_file_that_cannot_be_saved_to_is_refused_before_the_script_runs(folder):
    done = run("graph", "net.py:loss", "-o", "g.gif", cwd=folder)
    assert "noise" not in done.stderr


def test_an_error_in_the_script_is_shown_as_python_shows_it(folder):
    (folder / "wrong.py").write_text(
        "import numpy as np\nfrom tinygrad_lite import Tensor\n\n\ndef layer(W, x):\n"
        "    return W @ x\n\n\ny = layer(Tensor(np.ones((2, 3))), Tensor(np.ones(2)))\n"
    )
    done = run("graph", "wrong.py:y", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    assert f'File "{folder}/wrong.py", line 9, in <module>' in done.stderr
    assert f'File "{folder}/wrong.py", line 6, in layer' in done.stderr
    assert done.stderr.count('File "') == 2  # no line of ours
    assert "ValueError: matmul: " in done.stderr


def test_an_error_of_syntax_is_shown_as_python_shows_it(folder):
    (folder / "syntax.py").write_text("x = (\n")
    done = run("graph", "syntax.py:x", cwd=folder)
    assert done.returncode == 1
    assert f'File "{folder}/syntax.py", line 1' in done.stderr
    assert "SyntaxError" in done.stderr
    assert "tinygrad_lite" not in done.stderr


@pytest.mark.slow
def test_help_has_a_worked_line_for_each_command(tmp_path):
    from tinygrad_lite.cli import COMMANDS

    top = run("--help", cwd=tmp_path).stdout
    examples = [line for line in top.splitlines() if line.startswith("  tinygrad-lite ")]
    assert [line.split()[1] for line in examples] == list(COMMANDS.choices)
    for name, example in zip(COMMANDS.choices, examples, strict=True):
        assert f"\n{example}\n" in run(name, "--help", cwd=tmp_path).stdout


def test_the_version_is_printed(tmp_path):
    assert run("--version", cwd=tmp_path).stdout == f"tinygrad-lite {version('tinygrad_lite')}\n"


# Attributes, keys and indices (tests/test_target.py has what else a name may be)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["net.loss", "L[0]", 'out["a:b"]', "out['y', -1]"])
def test_a_tensor_inside_of_something_is_taken(inside, name):
    assert run("graph", f"inside.py:{name}", cwd=inside).stdout.startswith("found = multiply")
    assert run("compare", f"inside.py:{name}", "L[0]", cwd=inside).stdout.startswith("parameter")


@pytest.fixture(scope="module")
def inside(folder):
    """A script that keeps a tensor in an object, a list and a dict, and one in a function."""
    (folder / "inside.py").write_text(
        "from types import SimpleNamespace\nfrom tinygrad_lite import Tensor\n"
        "found = Tensor(2.0, True, name='w') * 2.0\nfound.name = 'found'\n"
        "net, L = SimpleNamespace(loss=found), [found]\nout = {'a:b': found, ('y', -1): found}\n"
        "def main():\n    hidden = found * 3.0\nif not found:\n    main()\n"
    )
    return folder


def test_a_tensor_inside_of_a_function_is_told_how_to_leave_it(inside):
    said = sentence(run("graph", "inside.py:hidden", cwd=inside))
    assert "stands inside main() (inside.py, line 7): return it there" in said


def test_a_tensor_inside_of_a_function_that_ran_is_taken(folder):
    (folder / "local.py").write_text(
        "from tinygrad_lite import Tensor\ndef main():\n"
        "    params = {'b1': Tensor(2.0, True)}\n    loss = params['b1'] * 3.0\nmain()\n"
    )
    done = run("paths", "local.py:loss", "--wrt", 'params["b1"]', cwd=folder)
    assert done.stdout.splitlines()[2].startswith('params["b1"] → loss')


@pytest.mark.slow
def test_any_named_value_on_the_way_can_be_asked_for(folder, capfd):
    (folder / "way.py").write_text(
        "from tinygrad_lite import Tensor\nw = Tensor(2.0, True)\nh = w * 3.0\n"
        "d = h.detach() * 1.0\ny = h * h + d\n"
    )
    for wrt, edges in (("h", 2), ("w", 3)):
        assert main(["paths", f"{folder}/way.py:y", "--wrt", wrt, "--json"]) == 0
        (found,) = json.loads(capfd.readouterr().out)
        assert {len(path["edges"]) for path in found["paths"]} == {edges}
    assert main(["flow", f"{folder}/way.py:y", "--json"]) == 0
    assert [x["wrt"] for x in json.loads(capfd.readouterr().out)] == ["w"]
    assert main(["flow", f"{folder}/way.py:y", "--wrt", "d"]) == 2
    assert capfd.readouterr().err.endswith("value named 'd'; one does to w, h, y\n")


# Pages


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    ["graph FILE", "step FILE", "compare FILE w --wrt w", "paths FILE --wrt w", "profile FILE",
     "paths FILE --wrt w --by depth", "flow FILE --wrt w"],
)  # fmt: skip
def test_a_page_is_written_by_its_option_and_by_its_suffix(borders, tmp_path, capsys, words):
    words = [f"{borders}/borders.py:y" if word == "FILE" else word for word in words.split()]
    for target in (("--html", tmp_path / "a.html"), ("-o", tmp_path / "b.html")):
        assert main([*words, *map(str, target)]) == 0
        assert capsys.readouterr() == ("", "")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words", ["graph FILE:y", "flow FILE:y", "paths FILE:y", "compare FILE:y h"]
)
def test_what_is_drawn_on_a_graph_can_be_folded_and_turned(tmp_path, words):
    (tmp_path / "net.py").write_text(
        "from tinygrad_lite import Tensor, exp, scope\nw = Tensor(1.0, True)\n"
        "with scope('inner'):\n    h = exp(exp(w))\ny = exp(h)\n"
    )
    words = words.replace("FILE", f"{tmp_path}/net.py").split()
    drawn = []
    for more in (["--no-fold"], ["--fold"], ["--no-fold", "--direction", "TB"]):
        assert main([*words, *more, "-o", f"{tmp_path}/g.svg"]) == 0
        drawn.append((tmp_path / "g.svg").read_text(encoding="utf-8"))
    assert ["2 ops" in text for text in drawn] == [False, True, False]
    (wide, _), (_, high) = extent(drawn[0]), extent(drawn[2])
    assert wide >= extent(drawn[2])[0]  # below a comparison stands a chart as wide
    assert high > extent(drawn[0])[1]


def test_the_largest_paths_are_listed_but_not_grouped(folder, capsys):
    assert main(["paths", f"{folder}/net.py:loss", "--top", "1"]) == 0
    assert "path" in capsys.readouterr().out
    assert main(["paths", f"{folder}/net.py:loss", "--top", "1", "--by", "scope"]) == 2
    assert "--top lists the largest: give one of them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("graph x.py:y --html p.svg", "argument --html: the name of a page ends in .html, but got"),
        ("flow x.py:y -o p.svg --html p.html", "not allowed with argument -o"),
        ("flow x.py:y --json -o p.svg", "not allowed with argument --json"),
        ("graph x.py:y --rate 3", "unrecognized arguments: --rate 3; see tinygrad-lite --help"),
        ("graph x.py:y --direction up", "invalid choice: 'up'"),
        ("profile x.py:y --no-fold", "unrecognized arguments: --no-fold"),
        ("step x.py:y --direction TB", "unrecognized arguments: --direction TB"),
        ("graph", "required: FILE.py:NAME; see tinygrad-lite graph --help"),
        ("", "required: COMMAND; see tinygrad-lite --help"),
    ],
)
def test_arguments_that_do_not_fit_are_one_sentence(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words.split())
    printed, complained = capsys.readouterr()
    assert (stopped.value.code, printed, complained.count("\n")) == (2, "", 1)
    assert complained.startswith("tinygrad-lite: ")
    assert said in complained


# What a script does besides


LOUD = """
import atexit, ctypes, logging, os, subprocess, sys, threading, time
from tinygrad_lite import Tensor

logging.basicConfig(stream=sys.stdout, level="INFO", format="NOISE %(message)s")
atexit.register(print, "NOISE at exit")
atexit.register(os.write, 1, b"NOISE at exit, unbuffered\\n")
atexit.register(logging.info, "at exit, logged")
print("NOISE")
os.write(1, b"NOISE, unbuffered\\n")
sys.__stdout__.write("NOISE to the stream it was\\n")
subprocess.run([sys.executable, "-c", "print('NOISE of another process')"])
ctypes.CDLL(None).puts(b"NOISE of C")
x = Tensor(3.0, True)
y = x * x

def later():
    while threading.main_thread().is_alive():
        print("NOISE of a thread")
        time.sleep(0.001)
    print("NOISE of a thread, last")

threading.Thread(target=later).start()
"""


@pytest.mark.parametrize(
    "last",
    ["", "sys.exit(0)", "sys.stdout.close()", "os.close(1)",
     "sys.stdout = sys.stderr = open(os.devnull, 'w')"],
)  # fmt: skip
def test_nothing_that_a_script_writes_mixes_into_the_answer(tmp_path, monkeypatch, last):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is kept back may come later
    (tmp_path / "loud.py").write_text(f"{LOUD}\n{last}\n")
    done = run("graph", "loud.py:y", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (
        0, "y = multiply () [9.0]   +1.00 (the gradient)\n"
        "├─ x () [3.0], parameter   +3.00, in all +3.00 + 3.00 = +6.00\n└─ → x   +3.00\n"
    )  # fmt: skip
    kinds = {line for line in done.stderr.splitlines() if line.startswith("NOISE")}
    closed = last.startswith("sys.stdout.close")  # then logging itself fails
    assert len(kinds) == (9 if closed else 10), done.stderr


def test_a_mistake_is_told_where_the_script_took_the_streams_away(tmp_path):
    (tmp_path / "quiet.py").write_text(
        "import os, sys\nsys.stdout = sys.stderr = open(os.devnull, 'w')\n"
    )
    assert "left nothing under the name y" in sentence(run("graph", "quiet.py:y", cwd=tmp_path))


ORDINARY = """
import argparse, multiprocessing, os, pickle
from dataclasses import dataclass
from tinygrad_lite import Tensor

@dataclass
class Point:
    x: "float"

def square(point):
    return Point(point.x ** 2)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=1.0)
    rate = parser.parse_args().rate
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        point = pool.apply(square, [Point(3.0)])
    assert pickle.loads(pickle.dumps(point)) == Point(9.0)
    assert os.environ["MPLBACKEND"] == "Agg"  # so that matplotlib.pyplot.show() opens no window
    start = float(input("start? "))
    y = Tensor(point.x * rate * start, True) * 1.0
"""


def test_a_script_has_arguments_input_processes_and_plots_as_ever(tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    (tmp_path / "ordinary.py").write_text("\ufeff" + ORDINARY, "utf-8", newline="\r\n")
    (tmp_path / "input.txt").write_text("5\n")
    done = shell("step ordinary.py:y -- --rate 2 <input.txt", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"start? ")
    assert b"makes y 90.0" in b" ".join(done.stdout.split())
    done = run("graph", "ordinary.py:y", "--", "--help", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: ordinary.py" in done.stderr


def test_two_scripts_have_each_its_own_modules(tmp_path):
    for name, factor in (("a", 2.0), ("b", 3.0)):
        (tmp_path / name / "layers").mkdir(parents=True)
        (tmp_path / name / "layers/one.py").write_text(f"factor = {factor}\n")
        (tmp_path / name / "helper.py").write_text("from layers.one import factor\n")
        (tmp_path / name / "net.py").write_text(
            "from helper import factor\nfrom tinygrad_lite import Tensor\n"
            "w = Tensor(1.0, True, name='w')\ny = w * factor\n"
        )
    row = run("compare", "a/net.py:y", "b/net.py:y", cwd=tmp_path).stdout.splitlines()[1]
    assert row.split()[:3] == ["w", "2.00", "3.00"]


CELLS = [
    ("markdown", "# Not code"),
    ("code", "%matplotlib inline\nfrom tinygrad_lite import Tensor, graph, op\n!pip list\n"),
    ("code", "%%bash\nls -l 'a b\n"),
    ("code", ["%%time\n", "from beside import two\n", "if True:\n", "    !ls\n"]),
    ("code", "@op\ndef cube(x):\n    return x ** 3\n@cube.vjp\ndef _(g, out, x):\n"
             "    return g * 3 * x * x\n"),
    ("code", "w = Tensor(two, True)\ny = cube(w)\nz = (7\n% 5)\ndisplay(graph(y))\n"
             "def main():\n    hidden = 3\n"),
]  # fmt: skip


@pytest.fixture
def notebook(tmp_path):
    def write(*more):
        kinds = ("cell_type", "source")
        cells = [dict(zip(kinds, cell, strict=True)) for cell in (*CELLS, *more)]
        (tmp_path / "nets").mkdir()
        (tmp_path / "nets" / "beside.py").write_text("two = open('two.txt') and 2.0\n")
        (tmp_path / "nets" / "two.txt").touch()
        (tmp_path / "nets" / "demo.ipynb").write_text(json.dumps({"cells": cells}))
        return tmp_path

    return write


def test_a_notebook_is_a_script(notebook):
    """Its cells run in order and in its folder, without what only IPython can do."""
    folder = notebook()
    done = run("step", "nets/demo.ipynb:y", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "nets/demo.ipynb, cell 5:2\n" in done.stdout
    assert "  code      y = cube(w)\n" in done.stdout
    assert "rule      ∂L/∂w = g · 3w² = 1.00 · 3 · 2.00² = 12.0" in done.stdout
    assert "cube ()" in done.stderr  # what it displayed
    said = run("step", "nets/demo.ipynb:hidden", cwd=folder).stderr
    assert "main() (demo.ipynb, cell 5, line 6)" in said


def test_an_error_in_a_notebook_names_the_cell(notebook):
    folder = notebook(("code", "%time\n1 / 0\n"))
    done = run("graph", "nets/demo.ipynb:y", cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'demo.ipynb, cell 6", line 2, in <module>\n    1 / 0\n' in done.stderr
    assert done.stderr.count('File "') == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 1}', '{"cells": [{"source": ""}]}'])
def test_what_is_no_notebook_is_one_sentence(tmp_path, text):
    (tmp_path / "x.ipynb").write_text(text)
    said = sentence(run("graph", "x.ipynb:y", cwd=tmp_path))
    assert said == "tinygrad-lite: x.ipynb is not a Jupyter notebook of format 4"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tinygrad-lite pro", {"profile "}),
        ("tinygrad-lite graph insi", {"inside.py:"}),
        ("tinygrad-lite graph inside.py:", {"found", "net", "L", "out"}),
        ("tinygrad-lite graph inside.py:found --direction ", {"LR", "TB"}),
        ("tinygrad-lite compare inside.py:found L[0] --j", {"--json "}),
    ],
)
def test_the_tab_key_completes(inside, line, expected):
    """As the shell asks argcomplete, which has a test of its own for each shell."""
    require("argcomplete")
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "COMP_LINE": line,
             "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(inside / "answer"),
             "_ARGCOMPLETE_COMP_WORDBREAKS": ":", "_ARGCOMPLETE_IFS": "|"}  # fmt: skip
    (inside / "answer").touch()
    shell("", inside, **asked)
    assert set((inside / "answer").read_text().split("|")) == expected


BORDERS = """
import os
import numpy as np
from tinygrad_lite import Tensor
w = Tensor([-1.0, 2.0], True, name="w")
α_é = Tensor(3.0, True)
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
y = (np.cbrt(w * α_é)).sum()
"""


@pytest.fixture(scope="module")
def borders(folder):
    """A script with Greek letters that leaves its folder."""
    (folder / "borders.py").write_text(BORDERS, encoding="utf-8")
    return folder


def shell(command, cwd, **variables):
    """A command of ours in a shell."""
    return subprocess.run(
        f"{shlex.quote(sys.executable)} -m tinygrad_lite {command}", shell=True, cwd=cwd,
        capture_output=True, env=os.environ | variables, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_encoding_without_these_letters_gets_others_that_mean_the_same(borders, encoding):
    """Not "?", which would turn a minus, a sum or an arrow into a riddle."""
    tree = shell("graph borders.py:y --gradient", borders, PYTHONIOENCODING=encoding)
    assert tree.returncode == 0, tree.stderr
    shown = tree.stdout.decode(encoding)
    assert "|- w (2,) [-1.0 2.0], parameter" in shown
    assert f"`- alpha_{'é' if encoding == 'cp1252' else 'e'} () [3.0], parameter" in shown
    walk = shell("step borders.py:y --check", borders, PYTHONIOENCODING=encoding)
    assert walk.returncode == 0, walk.stderr
    shown = walk.stdout.decode(encoding)
    assert "(sum)" in shown
    assert " ~ " in shown
    assert "?" not in shown


def test_letters_are_told_in_others():
    text = "∂F/∂x = −½ Σ √x · ∞ ≤ Wᵀ x⁻¹ ≠ Ω σ ñ 漢 → …"
    plain = "dF/dx = -1/2 sum sqrtx * inf <= W^T x^-1 != Omega sigma n \\u6f22 -> ..."
    assert encodable(text, "ascii") == plain
    assert encodable(text, "utf-8") == text
    assert encodable("√×", "cp1252") == "sqrt×"


@pytest.mark.slow
def test_closed_streams(borders):
    done = shell("step borders.py:y <&-", borders)
    assert done.returncode == 0
    assert b"backward 1/" in done.stdout
    done = shell("step borders.py:y >&-", borders)
    assert (done.returncode, done.stderr) == (
        2, b"tinygrad-lite: standard output is closed; give -o FILE, or leave it open\n"
    )  # fmt: skip
    assert shell("graph borders.py:y -o closed.svg >&- 2>&- <&-", borders).returncode == 0
    assert (borders / "closed.svg").exists()
    assert shell("graph borders.py:nothing >&- 2>&-", borders).returncode == 2
    done = shell("step borders.py:y | head -n 1", borders)
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_one_sentence(borders):
    done = shell("step borders.py:y >/dev/full", borders)
    said = b"tinygrad-lite: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_a_relative_name_means_the_folder_we_were_called_in(borders):
    done = run("graph", "borders.py:y", "-o", "here.svg", cwd=borders)
    assert (done.returncode, done.stderr) == (0, "")
    assert (borders / "here.svg").exists()
    done = run("compare", "borders.py:y", "net.py:loss", "--wrt", "x", cwd=borders)
    assert "'x' is not a parameter of both" in done.stderr  # so the second was found
    assert "code      y = (np.cbrt" in run("step", "borders.py:y", cwd=borders).stdout


def test_ctrl_c_ends_a_layout_at_once(tmp_path):
    (tmp_path / "large.py").write_text(
        "from tinygrad_lite import Tensor\n"
        "xs = [Tensor(1.0, True) for i in range(60)]\ny = sum(xs[1:], xs[0])\n"
        "for i in range(900):\n    y = y * xs[i % 60] + xs[7 * i % 60]\nprint('ready')\n"
    )
    command = [sys.executable, "-m", "tinygrad_lite", "graph", "large.py:y", "--no-fold"]
    with subprocess.Popen(
        [*command, "-o", "y.svg"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr.readline() == b"ready\n"
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        begin = time.monotonic()
        assert process.communicate(timeout=60) == (b"", b"")
        assert process.returncode == 130
        assert time.monotonic() - begin < 2
    assert [file.name for file in tmp_path.iterdir()] == ["large.py"]


@pytest.mark.parametrize("name", ["full.svg", "full.npz"])
def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch, name):
    x = Tensor([1.0], True, name="x")
    save = partial(training.save, parameters=[x]) if name.endswith("npz") else graph(x).save

    def fail(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/.0123")

    (tmp_path / "a" / name).mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file in it"):
        save(tmp_path / "a" / name)
    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(PermissionError) as caught:
        save(tmp_path / name)
    why = "cannot be written: Permission denied; choose another place"
    assert str(caught.value) == f"{str(tmp_path / name)!r} {why}"


def test_a_link_stays_one_and_a_file_keeps_its_mode(tmp_path):
    (tmp_path / "real").mkdir()
    real, link = tmp_path / "real" / "x.svg", tmp_path / "link.svg"
    real.touch()
    real.chmod(0o640)
    link.symlink_to(real)
    graph(Tensor(1.0)).save(link)
    assert link.is_symlink()
    assert real.read_text(encoding="utf-8").startswith("<svg")
    assert real.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in real.parent.iterdir()] == ["x.svg"]


DEEP = """
from tinygrad_lite import Tensor, tanh

Ws = [Tensor(i / 9, requires_grad=True) for i in range(40)]
h = Tensor(1.0)
for W in Ws:
    h = h + tanh(W * h)
loss = h * 1.0
first = Ws[0]
"""


@pytest.fixture
def deep(tmp_path, monkeypatch, capsys):
    """What a command says of a script with a loop: its output, the error, the status."""
    (tmp_path / "deep.py").write_text(DEEP)
    monkeypatch.chdir(tmp_path)

    def ask(*words):
        status = main([*words])
        return (*capsys.readouterr(), status)

    return ask


def test_a_message_tells_the_options_of_the_command(deep):
    printed, said, status = deep("paths", "deep.py:loss", "--wrt", "Ws[0]")
    assert (printed, status) == ("", 2)
    assert said.endswith(
        "more than 10000; --by skips groups them without walking each, and --top 10 lists the "
        "largest\n"
    )
    assert deep("what-if", "deep.py:loss", "--wrt", "W")[0].endswith(
        "It has no branch that could be cut --by scope; ask --by skips or --by edge.\n"
    )


@pytest.mark.parametrize(
    ("name", "title"),
    [("Ws[39]", "W"), ("W", "W"), ("Ws[-1]", "W"), ("first", "first"), ("Ws[0]", "first")],
)
def test_every_name_of_a_parameter_in_the_script_means_it(deep, name, title):
    printed, _, status = deep("flow", "deep.py:loss", "--wrt", name)
    assert (printed.splitlines()[0], status) == (
        deep("flow", "deep.py:loss", "--wrt", title)[0].splitlines()[0], 0,
    )  # fmt: skip
    assert f"to {title}, |gradient|" in printed


def test_of_many_names_those_that_are_near_are_told(deep):
    _, said, status = deep("flow", "deep.py:loss", "--wrt", "Vs[17]")
    assert status == 2
    assert "no gradient travels to a value named 'Vs[17]'; one does to " in said
    assert "Ws[17]" in said
    assert len(said) < 200
