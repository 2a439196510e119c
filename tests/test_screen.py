"""The screen of a step: what stands where, at every size, and that colours only repeat it."""

import random
import re
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from nets import skip_networks

import tinygrad_lite as tl
from tinygrad_lite import Tensor, scope, sigmoid, source_lines, steps, tanh
from tinygrad_lite.drawing.terminal import COLOURS, STYLES, pieces
from tinygrad_lite.insight.step_paths import StepPaths
from tinygrad_lite.text import cells, encodable
from tinygrad_lite.views.keys import Walker
from tinygrad_lite.views.screen import LOW, WIDE, local_names
from tinygrad_lite.views.strip import Canvas


def layer(x, t):
    W, b = t
    return sigmoid(W @ x + b)


def two_of_three(seed=34):
    """Exercise 4's G: F = f3(f2(f1(x))), G = F + y."""
    rng = np.random.default_rng(seed)
    x = Tensor(rng.standard_normal(3), name="x")
    sizes = {"W1": (4, 3), "b1": 4, "W2": (4, 4), "b2": 4, "W3": (4, 4), "b3": 4}
    W1, b1, W2, b2, W3, b3 = (
        Tensor(rng.standard_normal(n), True, name=k) for k, n in sizes.items()
    )
    with source_lines():
        with scope("f1"):
            z = layer(x, (W1, b1))
        with scope("f2"):
            y = layer(z, (W2, b2))
        with scope("f3"):
            F = layer(y, (W3, b3))
        G = F + y
    z.name, y.name, F.name, G.name = "z", "y", "F", "G"
    return G


def walker_of(output, gradient=None, **how):
    found = steps(output, gradient, **how)
    return Walker(found, StepPaths(found.graph).ways)


@pytest.fixture(scope="module")
def walker():
    return walker_of(two_of_three(), np.ones(4))


def shown(walker, at, width=100, height=29, encode=str):
    walker.at = at - 1
    return walker.screen(width, height, encode)


def columns(lines):
    """What stands left and right of the line between, above the drawing."""
    pairs = [line.split("│", 1) for line in lines[1 : next_rule(lines)]]
    return [left.rstrip() for left, _ in pairs], [right[1:].rstrip() for _, right in pairs]


def next_rule(lines):
    return next(i for i, line in enumerate(lines) if set(line) == {"─"})


def test_the_mark_stands_under_the_sub_expression_and_says_what_its_names_are(walker):
    left, _ = columns(shown(walker, 14))
    (n,) = (i for i, line in enumerate(left) if "▶" in line)
    start = left[n].index("W @ x")
    assert left[n + 1] == " " * start + "^" * 5 + "   W = W3, x = y"
    assert left[n - 3].split(None, 1)[1] == "F = layer(y, (W3, b3))"  # the call around
    assert left[n - 2].endswith("def layer(x, t):")  # the function above, as there is room


def test_of_two_equal_sub_expressions_the_right_one_is_marked():
    h = Tensor(1.0, requires_grad=True, name="h")
    with source_lines():
        y = tanh(h) * tanh(h)
    walker = walker_of(y)
    places = []
    for at in (1, 2):
        line, mark = shown(walker, at, 80, 24)[1:3]
        places.append(mark.index("^"))
        assert line[places[-1] :].startswith("tanh(h)")
    assert places[1] - places[0] == len("tanh(h) * ")


def test_letters_of_two_places_and_several_bytes_before_a_mark():
    h = Tensor(1.0, requires_grad=True, name="h")
    with source_lines():
        y = {"漢字ä": tanh(h) * 2.0}["漢字ä"]
    line, mark = shown(walker_of(y), 1, 80, 24)[1:3]
    start = cells(line[: line.index("tanh")])
    assert mark.index("^") == start
    assert mark.count("^") == len("tanh(h)")


def test_y_had_what_came_and_has_the_sum_now(walker):
    step = walker.steps[13]
    (send,) = (send for send in step.sends if send.recipient == "y")
    np.testing.assert_array_equal(send.had, np.ones(4))
    np.testing.assert_array_equal(send.had + send.contribution, send.accumulated)
    (first,) = (send for send in step.sends if send.recipient == "W3")
    assert first.had is None
    left, _ = columns(shown(walker, 14))
    rows = [line.split("[")[0].split() for line in left if "[+" in line]
    assert rows[-3:] == [["to", "y"], ["y", "had"], ["y", "now"]]
    assert not any("W3 had" in line for line in left)


@pytest.mark.parametrize("at", [11, 12, 13, 14, 17, 20])
def test_the_gradients_so_far_are_those_that_came_and_the_rest_waits(walker, at):
    """Held against a reverse pass of our own: the sum of what came by this step."""
    _, right = columns(shown(walker, at, 140))
    top = right.index("GRADIENTS SO FAR")
    rows = right[top + 1 : right.index("", top)]
    waiting = rows.pop().split()[1:] if "waiting" in rows[-1] else []
    came = {}
    for step in walker.steps.backward[: at - 10]:
        for send in step.sends:
            came[send.recipient] = came.get(send.recipient, 0) + send.contribution
    named = {"F", "y", "z", "b3", "W3", "b2", "W2", "b1", "W1"}
    assert set(waiting) == named - came.keys()
    told = {re.sub("[▸ ]*", "", row.split("  ")[1 if "▸" not in row else 0]): row for row in rows}
    for name in named & came.keys():
        row = next(row for row in rows if re.match(rf"[ ▸]*{name}\b", row))
        assert f"|{np.linalg.norm(came[name]):#.3g}|" in row, (told, name)
        assert ("▸" in row) == (name in {s.recipient for s in walker.steps[at - 1].sends})


def test_what_is_to_get_more_says_so(walker):
    _, right = columns(shown(walker, 11))
    assert any(re.match(r"[ ▸]*y … ", row) for row in right)
    assert "  …  more is to come" in right
    _, right = columns(shown(walker, 14))
    assert not any("…" in row for row in right[: right.index("")])


def test_the_paths_their_shares_and_the_chain_rule(walker):
    _, right = columns(shown(walker, 14, 140))
    text = " ".join(" ".join(right).split())
    assert "PATHS TO W1 P: the next parameter W1 → z → y → G skip +123 % █" in text
    assert "W1 → z → y → F → G −23 % ▒" in text
    assert "2 paths, together |g| 0.224 (paths oppose)" in text
    assert "∂G/∂W1 = (∂f3/∂y + I) · ∂f2/∂z · ∂f1/∂W1" in text
    # How the length changes on the way back, by the norms of the parts themselves.
    told = text.split("op by op: ")[1].split(" 2 paths")[0].split(" → ")
    g = np.ones(4)
    values = {node.name: node.value for node in walker.steps.graph if node.name}
    slope = {k: values[k] * (1 - values[k]) for k in ("F", "y", "z")}
    expected = [g, g]
    for name, W in (("F", "W3"), ("y", "W2"), ("z", None)):
        expected += [expected[-1] * slope[name]] * 2
        expected.append(values[W].T @ expected[-1] if W else np.outer(expected[-1], values["x"]))
    assert [part.split()[-1] for part in told] == [
        f"{np.linalg.norm(part):#.3g}" for part in expected
    ]


def test_p_goes_to_the_next_parameter_and_round(walker):
    walker.parameter = 0
    for name in ("b1", "W2", "b2", "W3", "b3", "W1"):
        assert walker.press("P")
        assert f"PATHS TO {name}" in "\n".join(shown(walker, 14))
    walker.parameter = 0


def test_many_paths_come_as_classes():
    v = Tensor(np.ones(2), requires_grad=True, name="x")
    for _ in range(20):
        v = v + sigmoid(v)
    _, right = columns(shown(walker_of(v.sum()), 45))
    text = " ".join(" ".join(right).split())
    assert "PATHS TO x" in text
    assert "1 path over 20 skips skip +66 %" in text
    assert "20 paths over 19 skips skip +29 %" in text
    assert "16 more; 1,048,576 paths" in text


def test_paths_that_take_time_are_looked_for_when_asked_for():
    x = v = Tensor(np.ones(10_000), requires_grad=True, name="x")
    for _ in range(10):
        v = v + sigmoid(v)
    found = steps(v.sum())
    dear = StepPaths(found.graph)
    assert not dear.quick
    assert StepPaths(steps(two_of_three(), np.ones(4)).graph).quick
    assert StepPaths(steps(Tensor(1.0) * 2.0).graph).quick
    asked = []
    walker = Walker(found, lambda which: asked.append(which) or dear.ways(which), -1)
    _, right = columns(shown(walker, 25, 120))
    assert (
        " ".join(right[right.index("") + 1].split()) == "PATHS P looks for them, for some seconds"
    )
    assert not asked
    walker.press("P")
    assert "PATHS TO x" in "\n".join(shown(walker, 25, 120))
    assert asked == [0]
    assert x.grad is None


def test_a_drawing_of_one_line_shows_the_way_the_skip_and_where_we_are(walker):
    lines = shown(walker, 14)
    drawing = lines[next_rule(lines) + 1 : -1]
    assert drawing == [
        "                                ▼━━━━━━━━━━━━━━━ skip ━━━━━━━━━━━━━━━━╮",
        "x ─ @ ─ + ─ σ ─ z ─ @ ─ + ─ σ ─ y ◀━ 0.451 ━ [@] ◀━━ + ◀━━ σ ◀━ F ◀━━ + ◀━ G",
        "    │   │           │   │                     ▼      ▼",
        "   W1  b1          W2  b2                    W3     b3",
    ]
    forward = shown(walker, 4)
    assert "x ━ @ ━ + ━ σ ━ z ━▶ [@] ─ + ─ σ ─ y ─ @ ─ + ─ σ ─ F ─ + ─ G" in forward


@pytest.mark.parametrize("seed", range(20))
def test_the_drawing_is_true_of_random_graphs(seed):
    """Every step is on it, and each op that is drawn stands once and in the order of the way."""
    rng = random.Random(seed)
    values = [Tensor(1.0 + i, requires_grad=True, name="abc"[i]) for i in range(3)]
    for _ in range(rng.randrange(1, 9)):
        a, b = rng.choice(values), rng.choice(values)
        values.append(
            rng.choice([lambda: a * b, lambda: a + b, lambda: tanh(a), lambda: a - 2.0])()
        )
    output = sum(values[3:], values[0] * 1.0)
    found = walker_of(output)
    for at, step in enumerate(found.steps, 1):
        strip = found.picture.strip
        way = strip.way(step.id)
        assert all(a.target == b.source for a, b in pairwise(way))
        assert step.id in {edge.target for edge in way}
        assert way[-1].target == found.steps.graph.output.id
        (line,) = (x for x in strip.lines(step, 500, str) if f"[{step.symbol}]" in x)
        symbols = [found.steps.graph.nodes[edge.target].symbol for edge in way]
        words = [word.strip("[]") for word in line.split()]
        assert [word for word in words if word in {"×", "+", "-", "tanh"}] == symbols, at


def test_a_long_way_is_drawn_only_around_the_step(monkeypatch):
    """As many letters are written for 3,000 residual blocks as for 300, and they are the same."""
    counts, drawn = [], []
    write = Canvas.write

    def counted(*args):
        counts[-1] += 1
        write(*args)

    monkeypatch.setattr(Canvas, "write", counted)
    for n in (300, 3000):
        v = Tensor(1.0, requires_grad=True)
        for _ in range(n):
            v = v + tanh(v)
        walker = walker_of(v)
        counts.append(0)
        drawn.append(walker.picture.strip.lines(walker.steps[200], 100, str))
    assert counts[0] == counts[1] < 500
    assert drawn[0] == drawn[1]
    arcs, line = drawn[0]
    assert arcs.count("skip") >= 4
    assert line[0] == line[-1] == "…"
    assert max(map(cells, drawn[0])) == 100


def test_an_arc_that_goes_far_is_drawn_as_far_as_is_seen():
    x = v = Tensor(1.0, requires_grad=True, name="x")
    for _ in range(100):
        v = tanh(v)
    walker = walker_of(v + x)
    arc, line = walker.picture.strip.lines(walker.steps[99], 60, str)
    assert arc.startswith("…──")
    assert line.index("+") == arc.index("╮") == len(arc) - 1
    assert "[tanh]" in line


def test_a_branch_beside_the_way_is_said_to_be_there():
    a, b = (Tensor(2.0, requires_grad=True, name=n) for n in "ab")
    walker = walker_of(tanh(tanh(tanh(a))) * tanh(b))
    assert walker.picture.strip.lines(walker.steps[0], 80, str)[-1].strip() == "⋯"


def every_walker():
    long = Tensor(np.arange(3.0) - 2e30, requires_grad=True, name="a_rather_long_parameter_name")
    with source_lines(), scope("a scope"):
        one = walker_of((tanh(long * 2.0) + long).sum(), check=True)
    wide = Tensor(np.ones((3, 40)), requires_grad=True, name="漢字")
    x = Tensor([0.0, 1.0], requires_grad=True, name="x")
    with np.errstate(all="ignore"):
        bad = walker_of(tl.sqrt(x - 1.0) * tl.heaviside(x), np.ones(2))
    return [
        one, walker_of((wide @ wide.T).sum()), bad, walker_of(Tensor(2.0) * 3.0),
        walker_of(two_of_three(), np.ones(4)), walker_of(skip_networks()[1], np.ones(4)),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("keys", ["", "vc", "?"])
def test_no_size_is_too_small_or_too_large(keys):
    """Nothing is wider than the screen, and the step's own place is always its first line."""
    ascii_only = partial(encodable, encoding="ascii")
    for walker in every_walker():
        for key in keys:
            walker.press(key)
        for width in (1, 2, 3, 8, 20, 36, 46, 80, WIDE - 1, WIDE, 250):
            for height in (1, 2, 8, LOW, LOW + 1, 60):
                for at in (1, len(walker.steps)):
                    for encode in (str, ascii_only):
                        lines = shown(walker, at, width, height, encode)
                        if not keys:  # code and arrays are cut as they are put on the screen
                            assert max(map(cells, lines)) <= width, (width, height)
                        if "?" not in keys and width > 30:
                            assert lines[0].startswith(walker.step.place)
                        assert encode is str or "".join(lines).isascii()


@pytest.mark.parametrize("height", [5, 8, 11, 14, 23, 29, 60])
@pytest.mark.parametrize("width", [46, 80, 100, 200])
def test_what_is_said_of_a_step_is_said_at_every_height(walker, width, height):
    """What has no room stands further down, and is not left out but for arcs and context."""
    text = " ".join(" ".join(shown(walker, 14, width, height)).split())
    for words in ("W3 @ y", "∂L/∂W3 = g yᵀ", "y had", "y now", "GRADIENTS SO FAR", "PATHS TO W1"):
        assert words in text
    assert "[@]" in text


@pytest.mark.parametrize("height", [11, 14, 19, 23, 29])
def test_what_the_step_does_comes_before_all_else_in_a_low_screen(walker, height):
    lines = shown(walker, 14, 80, height)
    last = next(i for i, line in enumerate(lines) if "y now" in line)
    others = [i for i, line in enumerate(lines) if "SO FAR" in line or "PATHS" in line]
    assert last < min(others)
    if height >= LOW:
        assert last < height


def test_more_of_a_high_screen_is_used(walker):
    """The matrix that W3 is sent does not fit a line; where there are rows for it, it is shown."""
    low, high = ("\n".join(shown(walker, 14, 100, height)) for height in (24, 60))
    sent = walker.steps[13].sends[0].contribution
    assert "to W3, in full" not in low
    rows = high.split("to W3, in full")[1].splitlines()[1:5]
    for row, numbers in zip(rows, sent, strict=True):
        assert re.findall(r"[\d.]+", row.split("│")[0]) == [f"{x:#.3g}" for x in numbers]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("layer_of(p, q)", "A = p, v = q"),
        ("p @ q", ""),  # the names are theirs
        ("(lambda a, b: np.matmul(a, b))(p, q)", "a = p, b = q"),
        ("(lambda a: -a)(q)", "a = q"),
        ("(lambda a, b: a.dot(b))(p, q)", ""),  # not plain which is which
    ],
)
def test_what_local_names_stand_for(code, told):
    p = Tensor(np.eye(2), requires_grad=True, name="p")
    q = Tensor(np.ones(2), requires_grad=True, name="q")

    def layer_of(A, v):
        return A @ v

    import linecache

    linecache.cache["<asked>"] = (len(code), None, [code], "<asked>")
    with source_lines():
        found = eval(
            compile(code, "<asked>", "eval"), {"p": p, "q": q, "layer_of": layer_of, "np": np}
        )
    assert local_names(steps(found, np.ones(2))[0]) == told


# Colours


def looks(text):
    """The pieces of a line that are coloured, each with what it says."""
    return [(piece, says) for piece, says in pieces(text) if says]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  to y   [+0.09 −0.361 0] |0.451|", [
            ("+0.09", "plus"), ("−0.361", "minus"), ("|0.451|", "norm"),
        ]),
        ("  [NaN −∞ +1.00]", [("NaN", "not a number"), ("−∞", "not a number"), ("+1.00", "plus")]),
        ("  skip   +123 %  ████  0.279", [("skip   +123 %  ████", "skip")]),
        ("          −23 %  ▒▒    0.0725", [("−23 %  ▒▒", "through")]),
        ("19 ▶  return x", [("▶", "here")]),
        ("      ^^^^^   W = W3", [("^^^^^", "here")]),
        ("   ▼━━━━ skip 2.00 ━━━╮", [("▼━━━━ skip 2.00 ━━━╮", "skip")]),
        ("  ∂L/∂y = g · x^2 + a_1 − b2", []),
        ("  x - 1", []),
    ],
)  # fmt: skip
def test_a_colour_repeats_what_the_text_says(text, expected):
    assert looks(text) == expected
    assert "".join(piece for piece, _ in pieces(text)) == text


def test_every_look_is_a_sign_or_word_that_is_there_without_it(walker):
    """So nothing is lost without colours: a coloured piece itself says what its colour does."""
    repeated = {
        "plus": r"\+", "minus": "−", "skip": "skip", "through": r"%|◀", "norm": r"\|.*\|",
        "here": r"[▶◆▸^\[]", "not a number": "NaN|∞|nan|inf", "dim": r"waiting|\d|[─│·]|[A-Z]{4}",
    }  # fmt: skip
    assert {*COLOURS, *STYLES} <= repeated.keys()
    for walked in (walker, *every_walker()):
        for at in range(1, len(walked.steps) + 1):
            for line in shown(walked, at):
                for piece, says in looks(line):
                    assert re.search(repeated[says], piece), (says, piece)
