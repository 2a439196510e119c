"""Stepping by keys: what each does, and in a real terminal that it is left clean."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import require
from nets import skip_networks

import tinygrad_lite as tl
from tinygrad_lite import Tensor, op, scope, source_lines, steps
from tinygrad_lite.drawing import terminal
from tinygrad_lite.operation import OPS
from tinygrad_lite.text import fit_cells
from tinygrad_lite.views.keys import Walker


@pytest.fixture
def walker():
    return Walker(steps(skip_networks()[1], np.ones(4)))


def pressed(walker, *keys):
    """Where we are (from 1), and what is said, after some keys."""
    for key in keys:
        name, _, argument = key.partition(" ")
        assert walker.press(name, argument)
    return walker.at + 1, walker.message


# What keys do


def test_next_and_previous_stop_at_the_ends(walker):
    assert pressed(walker, "p") == (1, "this is the first step")
    assert pressed(walker, "n", "right", "n") == (4, "")
    assert pressed(walker, "left", "p") == (2, "")
    assert pressed(walker, "end") == (20, "")
    assert pressed(walker, "n") == (20, "this is the last step")
    assert pressed(walker, "home") == (1, "")


def test_go_to_a_step(walker):
    assert pressed(walker, "g 14") == (14, "")
    assert pressed(walker, "g 21") == (14, "there is no step '21'; steps go from 1 to 20")
    assert pressed(walker, "g x")[0] == 14


def test_forward_and_backward_show_the_same_op(walker):
    assert pressed(walker, "g 6", "b") == (15, "")
    assert walker.step.output.name == "y"
    assert pressed(walker, "f") == (6, "")


def test_run_to_a_name_or_the_beginning_of_one(walker):
    assert pressed(walker, "r y") == (6, "")  # where it is made
    assert pressed(walker, "r y")[0] == 11  # where it is first sent gradient
    assert pressed(walker, "home", "r W")[0] == 14  # the first step that sends to W3
    assert pressed(walker, "r W1")[0] == 20
    assert pressed(walker, "r W3")[1] == "W3 comes only before this step, at 14"
    assert "nothing here is called nobody" in pressed(walker, "r nobody")[1]


def test_an_exact_name_goes_before_those_it_begins():
    a, ab = (Tensor(1.0, requires_grad=True, name=name) for name in ("a", "ab"))
    walker = Walker(steps((a * 2.0) * (ab * 3.0)))
    assert pressed(walker, "r a") == (6, "")
    assert [send.recipient for send in walker.step.sends] == ["a"]


def test_run_to_a_small_gradient():
    x = Tensor(1.0, requires_grad=True)
    y = x * 1e-4 * 1e-4 * 1e-4
    walker = Walker(steps(y))
    assert pressed(walker, "r |g| < 1e-6") == (6, "")
    assert np.linalg.norm(walker.step.gradient) < 1e-6
    assert pressed(walker, "home", "r |g| >= 1") == (4, "")
    assert pressed(walker, "r |g| > 5")[1] == "|g| > 5 holds at no step"


def test_run_to_nan_to_blocked_and_to_a_wrong_rule():
    @op
    def half(x):
        return x / 2

    half.vjp(lambda g, out, x: g)
    x = Tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = half(tl.heaviside(x)) * tl.sqrt(x - 1.0)
        walker = Walker(steps(y, np.ones(2), check=True))
        assert pressed(walker, "r nan")[0] == 4
        assert walker.step.op == "sqrt"
        pressed(walker, "home", "r blocked")
        assert (walker.step.op, walker.step.direction) == ("heaviside", "backward")
        walker = Walker(steps(half(x), np.ones(2), check=True))
        pressed(walker, "r wrong")
        assert walker.step.op == "half"
    for name in [name for name in OPS if name.endswith(".half")]:
        del OPS[name]


def test_values_in_full_and_help(walker):
    short = walker.lines(80)
    pressed(walker, "v")
    assert walker.lines(80)[: len(short)] == short
    assert any(line.strip().startswith("W1  (4, 3) float64") for line in walker.lines(80))
    pressed(walker, "v", "?")
    assert "the next step" in "\n".join(walker.lines(80))
    assert pressed(walker, "?") == (1, "")
    assert walker.lines(80) == short


def test_the_code_of_the_rules_on_demand(walker):
    pressed(walker, "end")
    short = walker.lines(80)
    pressed(walker, "c")
    assert walker.lines(80)[: len(short)] == short
    assert any(line.startswith("    def _(g: Array, out: Array, x1") for line in walker.lines(80))
    pressed(walker, "c")
    assert walker.lines(80) == short


def test_q_escape_and_the_question_mark_close_the_help(walker):
    before = walker.lines(80)
    for key in ("q", "escape", "?", "h"):
        pressed(walker, "?")
        assert "Keys" in walker.lines(80)
        assert "Keys" in walker.screen(80, 24, str)
        assert pressed(walker, key) == (1, "")
        assert walker.lines(80) == before
    pressed(walker, "?")
    assert pressed(walker, "n") == (2, "")  # any other key does what it does
    assert not walker.press("q")


def test_run_to_wrong_says_where_nothing_was_checked(walker):
    message = "no rule was checked: start with --check, or as steps(y, check=True)"
    assert pressed(walker, "r wrong") == (1, message)
    checked = Walker(steps(skip_networks()[1], np.ones(4), check=True))
    assert pressed(checked, "r wrong") == (1, "wrong holds at no step")
    named = Walker(steps(Tensor(1.0, requires_grad=True, name="wrong") * 2.0))
    assert pressed(named, "r wrong") == (2, "")  # a name goes before a condition


def test_unknown_keys_say_so_and_q_quits(walker):
    assert pressed(walker, "x") == (1, "no such key: x; ? shows them all")
    assert not walker.press("q")


def test_names_are_completed(walker):
    assert walker.complete("W") == "W"  # W1, W2 and W3 share no more
    assert walker.complete("W1") == "W1"
    assert Walker(steps(Tensor(1.0, True, name="weights") * 2.0)).complete("we") == "weights"
    assert walker.complete("nobody") == "nobody"


def test_huge_arrays_are_not_shown_whole():
    walker = Walker(steps(Tensor(np.zeros((200, 200)), name="x") * 1.0))
    pressed(walker, "v")
    assert any("40,000 elements; at most 10,000" in line for line in walker.lines(120))


def test_without_curses_commands_are_typed_on_lines(monkeypatch, capsys, walker):
    answers = iter(["n", "", "g 14", "q"])
    monkeypatch.setattr("builtins.input", lambda prompt: print(prompt) or next(answers))
    terminal.interact_by_line(walker)
    assert walker.at == 13
    monkeypatch.setattr("builtins.input", lambda prompt: (_ for _ in ()).throw(EOFError))
    terminal.interact_by_line(walker)  # the end of input ends it
    assert "backward 4/10" in capsys.readouterr().out


# In a real terminal

SCRIPT = """
from tinygrad_lite import Tensor, scope, sigmoid
import helper
w = Tensor(helper.start, requires_grad=True, name="w")
for step in range(3):
    with scope("layer"):
        loss = (sigmoid(w * 2.0) - 1.0) ** 2
    w.zero_grad()
    loss.backward()
    w.data = w.data - w.grad
"""


@pytest.fixture
def script(tmp_path):
    """A script outside of the repository that trains in a loop and imports its neighbour."""
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("start = 0.5\n")
    return f"{tmp_path / 'train.py'}:loss"


class Screen:
    """A command in a terminal of its own, and what it shows."""

    def __init__(self, *command, columns=80, rows=24, **variables):
        pyte = require("pyte")
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.master, slave = pty.openpty()
        self.slave = slave
        self.raw = b""
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        # LINES and COLUMNS, where a process above has set them (readline does, so pytest-xdist's
        # workers have them), go before a terminal's own size.
        inherited = {k: v for k, v in os.environ.items() if k not in ("LINES", "COLUMNS")}
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=inherited
            | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
            | variables,
            # A terminal of its own, so that Ctrl-C arrives as a signal.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self, seconds=0.05):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.raw += data
            self.stream.feed(data)

    def shows(self, text, seconds=20.0):
        """Wait until `text` is on the screen."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read()
            if text in "\n".join(self.screen.display):
                return True
        raise AssertionError(f"{text!r} is not on the screen:\n" + "\n".join(self.screen.display))

    def type(self, keys):
        os.write(self.master, keys.encode())

    def ended(self):
        """The exit status, when the process has ended and the terminal is as it was."""
        status = self.process.wait(timeout=20)
        self.read()
        assert termios.tcgetattr(self.slave) == self.before
        assert self.raw.rstrip().endswith(b"\x1b[?1049l") or b"\x1b[?1049l" in self.raw
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal_of(script):
    opened = []

    def start(columns=80, rows=24, **variables):
        command = (sys.executable, "-m", "tinygrad_lite", "step", script)
        opened.append(Screen(*command, columns=columns, rows=rows, **variables))
        assert opened[-1].shows("forward 1/4")
        return opened[-1]

    yield start
    for screen in opened:
        screen.close()


def test_a_walk_in_a_terminal(terminal_of):
    screen = terminal_of()
    assert screen.shows("train.py:7")
    assert screen.shows("(n)ext (p)revious")
    screen.type("n")
    assert screen.shows("forward 2/4")
    screen.type("\x1bOC")  # the right arrow
    assert screen.shows("forward 3/4")
    screen.type("\x1bOD")
    assert screen.shows("forward 2/4")
    screen.type("rw\r")
    assert screen.shows("to w")
    screen.type("g1\r")
    assert screen.shows("forward 1/4")
    screen.type("?")
    assert screen.shows("Ctrl-D")
    screen.type("q")
    assert screen.shows("forward 1/4")
    screen.type("q")
    assert screen.ended() == 0


COLOURED = re.compile(rb"\x1b\[[\d;]*(?<!\d)(3[0-7]|4[0-7]|[34]8;[\d;]*|9[0-7]|10[0-7])m")


def test_colours_are_the_terminals_own_and_so_is_the_background(terminal_of):
    screen = terminal_of(columns=110, rows=30)
    screen.type("g8\r")
    assert screen.shows("GRADIENTS SO FAR")
    used = {found[1] for found in COLOURED.finditer(screen.raw)}
    assert {b"32", b"33"} <= used  # green and yellow: an element above 0, and where we are
    assert used <= {b"31", b"32", b"33", b"34", b"35"}  # never a background, nor 256 colours
    screen.type("q")
    assert screen.ended() == 0


def test_no_color_leaves_the_colours_out_and_nothing_else(terminal_of):
    shown = []
    for variables in ({}, {"NO_COLOR": "1"}):
        screen = terminal_of(columns=110, rows=30, **variables)
        screen.type("g8\r")
        assert screen.shows("GRADIENTS SO FAR")
        screen.read()
        shown.append(screen.screen.display)
        if variables:
            assert not COLOURED.search(screen.raw)
        screen.type("q")
        assert screen.ended() == 0
    assert shown[0] == shown[1]


def test_the_parts_of_the_screen_follow_resizing(terminal_of):
    screen = terminal_of(columns=110, rows=30)
    screen.type("g8\r")
    assert screen.shows("PATHS TO w")
    line = next(x for x in screen.screen.display if "GRADIENTS SO FAR" in x)
    assert "│ GRADIENTS" in line  # beside the step
    screen.resize(60, 40)
    os.kill(screen.process.pid, signal.SIGWINCH)
    assert screen.shows("(n)ext (p)revious (?)")
    line = next(x for x in screen.screen.display if "GRADIENTS SO FAR" in x)
    assert line.startswith("GRADIENTS")  # below it
    screen.resize(60, 8)
    os.kill(screen.process.pid, signal.SIGWINCH)
    assert screen.shows("more lines (down)")
    screen.type("q")
    assert screen.ended() == 0


def test_a_prompt_can_be_corrected_completed_and_left(terminal_of):
    screen = terminal_of()
    screen.type("r#9\x7f\x7fw\t")
    assert screen.shows("blocked or wrong: w_")
    screen.type("\x1b")
    assert screen.shows("(n)ext (p)revious")
    screen.type("g99\r")
    assert screen.shows("there is no step '99'")
    screen.type("q")
    assert screen.ended() == 0


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_it_fits_the_width_and_follows_resizing(terminal_of, columns):
    screen = terminal_of(columns=columns)
    for line in screen.screen.display:
        assert len(line.rstrip()) <= columns
    screen.resize(columns + 20, 30)
    os.kill(screen.process.pid, signal.SIGWINCH)
    screen.type("n")
    assert screen.shows("forward 2/4")
    assert "(n)ext" in screen.screen.display[29]
    screen.resize(30, 5)  # too small to show much is no reason to fail
    os.kill(screen.process.pid, signal.SIGWINCH)
    screen.type("n")
    assert screen.shows("forward 3/4")
    screen.type("q")
    assert screen.ended() == 0


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (1, 24), (2, 2), (9, 4), (80, 1)])
def test_no_terminal_is_too_small(terminal_of, columns, rows):
    screen = terminal_of()
    screen.resize(columns, rows)
    os.kill(screen.process.pid, signal.SIGWINCH)
    for key in "nbv?n":
        screen.type(key)
        screen.read()
    screen.type("q")
    assert screen.ended() == 0
    assert b"Traceback" not in screen.raw


def test_a_terminal_of_ascii_shows_letters_that_mean_the_same(terminal_of):
    screen = terminal_of(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LANG="C")
    screen.type("rw\r")
    assert screen.shows("<sigmoid(w")
    screen.type("g")
    assert screen.shows("go to step")
    assert "\ufffd" not in "\n".join(screen.screen.display)
    screen.type("\x1bq")
    assert screen.ended() == 0


def test_no_width_is_too_narrow():
    x = Tensor(np.arange(3.0) - 2e30, requires_grad=True, name="a_rather_long_parameter_name")
    with source_lines(), scope("a scope"):
        walker = Walker(steps((tl.tanh(x * 2.0) + x).sum(), check=True))
    for key in ("v", "c", "?"):
        walker.press(key)
        for width in (*range(1, 81), 500):
            for at in range(len(walker.steps)):
                walker.at = at
                for line in (*walker.lines(width), walker.status(width)):
                    assert len(line) <= width, (width, line)
    assert walker.status(28) == "(n)ext (p)revious (?) (q)uit"


def test_a_narrow_step_has_its_labels_above():
    w = Tensor(2.0, requires_grad=True, name="w")
    lines = steps(w * w).lines(1, 20)
    assert lines[1:4] == ["  w * w", "rule", " ∂L/∂w = g · w ="]
    assert "sends" in lines


def test_letters_of_two_places_are_cut_by_places():
    assert fit_cells("漢字x", 3) == "漢"
    assert fit_cells("漢字x", 4) == "漢字"
    assert fit_cells("e\u0301e", 1) == "e\u0301"


@pytest.mark.parametrize("key", ["\x03", "\x04", "g\x03"])
def test_ctrl_c_and_end_of_file_leave_the_terminal_clean(terminal_of, key):
    screen = terminal_of()
    screen.type(key)
    assert screen.ended() in (0, 130)
    assert b"Traceback" not in screen.raw


def test_without_a_capable_terminal_commands_are_lines(script):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tinygrad_lite", "step", script],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "dumb"},
    )
    os.write(master, b"n\nq\n")
    assert process.wait(timeout=20) == 0
    told = os.read(master, 65536).decode()
    assert "forward 2/4" in told
    assert "\x1b" not in told
    os.close(master)
    os.close(slave)


def test_piped_it_prints_every_step_and_ends(script):
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lite", "step", script, "--check"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0
    assert [f"forward {k}/4" in done.stdout for k in range(1, 5)] == [True] * 4
    assert [f"backward {k}/4" in done.stdout for k in range(1, 5)] == [True] * 4
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_tensor_stepped_is_the_last_under_its_name(script):
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lite", "step", script],
        capture_output=True,
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
    )
    w = 0.5
    for _ in range(2):
        s = 1 / (1 + np.exp(-2 * w))
        w -= 2 * (s - 1) * s * (1 - s) * 2
    assert f"reads w {w:.3g}" in " ".join(done.stdout.split())


def test_a_page_from_the_command_line(script, tmp_path):
    page = tmp_path / "steps.html"
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lite", "step", script, "--html", page],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert page.read_text("utf-8").startswith("<!DOCTYPE html>")
    wrong = subprocess.run(
        [sys.executable, "-m", "tinygrad_lite", "step", script, "--html", "steps.txt"],
        capture_output=True,
        text=True,
    )
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert not Path("steps.txt").exists()
