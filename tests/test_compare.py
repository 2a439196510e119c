"""F and G held against each other; the pictures and the commands that show the traffic."""

import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import nullcontext

import numpy as np
import pytest
from nets import deep_net, skip_networks

from tinygrad_lite import (
    Tensor,
    compare,
    flow,
    grad,
    graph,
    path_classes,
    paths,
    replay,
    scope,
    tanh,
)
from tinygrad_lite.cli import main
from tinygrad_lite.drawing import render
from tinygrad_lite.drawing.table import percent
from tinygrad_lite.files import strict
from tinygrad_lite.views import boxes

ONES = np.ones(4)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def FG():
    return skip_networks(34)


def test_the_table_of_the_skip_networks(FG):
    F, G, t = FG
    found = compare(F, G, gradient=ONES)
    assert [row.name for row in found.rows] == ["W1", "b1", "W2", "b2", "W3", "b3"]
    y = G.inputs[1]
    for row in found.rows:
        dF, dG = (grad(output, t[row.name], ONES).data for output in (F, G))
        assert row.first.norm == pytest.approx(np.linalg.norm(dF))
        assert row.second.norm == pytest.approx(np.linalg.norm(dG))
        assert row.second.common.norm == pytest.approx(np.linalg.norm(dF))
        shares = [part.share for part in (row.second.common, row.second.own) if part]
        assert sum(shares) == pytest.approx(1)
        if row.name in ("W3", "b3"):
            assert row.second.own is None
        else:
            dy = grad(y, t[row.name], ONES).data
            assert row.second.own.norm == pytest.approx(np.linalg.norm(dy))
    assert found.rows[0].note == "paths oppose"
    for column in ("only in G", "F has it too"):
        assert column in str(found)


def test_the_order_of_the_two_does_not_matter_to_the_numbers(FG):
    F, G, _ = FG
    one, other = compare(F, G, gradient=ONES), compare(G, F, gradient=ONES)
    for a, b in zip(one.rows, other.rows, strict=True):
        assert a.second.norm == b.first.norm
        assert a.second.own == b.first.own


def test_a_cap_never_takes_a_common_path_for_one_of_its_own():
    """The one path of the plain net is the smallest of the 2**8 of the residual one."""
    plain, residual = (deep_net(8, skip)[0] for skip in (False, True))
    exact = compare(plain, residual, keep=1000)
    for first, second in ((plain, residual), (residual, plain)):
        for row in compare(first, second).rows:
            expected = next(r for r in exact.rows if r.name == row.name)
            here = row.second if first is plain else row.first
            assert here.common.norm == pytest.approx(expected.second.common.norm)
            assert here.common.share == pytest.approx(expected.second.common.share)
            assert (here.own is None) == (expected.second.own is None)
    other, _, _ = deep_net(8, True, seed=1)
    assert "cannot be matched" in compare(residual, other).rows[0].note


def test_two_outputs_of_one_name_are_told_apart(FG):
    F, G, _ = FG
    F.name = G.name = "loss"
    table = str(compare(F, G, gradient=ONES))
    for column in ("|∂loss|", "|∂loss (2)|", "only in loss (2)", "loss has it too"):
        assert column in table


def test_one_parameter_is_asked_for_by_itself(FG):
    F, G, t = FG
    for wrt in ("W1", [t["W1"]]):
        assert [row.name for row in compare(F, G, wrt, ONES).rows] == ["W1"]
    assert [row.name for row in compare(F, G, wrt=t["W1"], gradient=ONES).rows] == ["W1"]
    with pytest.raises(ValueError, match="a tensor without a name is not a parameter of both"):
        compare(F, G, [Tensor(1.0)], ONES)


def test_separate_networks_are_matched_by_name():
    F, _, _ = skip_networks(1)
    _, G, _ = skip_networks(2)
    assert len(compare(F, G, gradient=ONES).rows) == 6
    assert [row.name for row in compare(F, G, ["W2"], ONES).rows] == ["W2"]


def test_coherence_falls_where_parts_cancel():
    w = Tensor([1.0, 2.0], requires_grad=True, name="w")
    with scope("a"):
        F = (w * 3.0).sum()
    F.name = "F"
    cancelled = compare(F, F - 3.0 * w.sum()).rows[0]
    assert cancelled.second.coherence == 0
    assert "cancel" in cancelled.note
    assert "nan" not in str(compare(F, F - 3.0 * w.sum())).lower()


def test_without_a_common_name_the_error_says_how_to_name():
    a, b = Tensor(1.0, requires_grad=True, name="a"), Tensor(1.0, requires_grad=True, name="b")
    with pytest.raises(ValueError, match=r"share no parameter, by identity or by name.*name="):
        compare(a * 2.0, (b * Tensor([1.0], requires_grad=True, name="c")).sum())
    with pytest.raises(ValueError, match="share no parameter"):  # nor because shapes agree
        compare(a * 2.0, b * 3.0)
    with pytest.raises(ValueError, match="'c' is not a parameter of both; those of both are a"):
        compare(a * 2.0, a * b, ["c"])


def test_deep_nets_compare_by_depth():
    plain, _, _ = deep_net(50, skip=False)
    residual, _, _ = deep_net(50, skip=True)
    row = compare(plain, residual, ["x"], by="depth").rows[0]
    assert list(row.first.classes) == [50]
    assert len(row.second.classes) == 51
    assert row.second.common.share == pytest.approx(0, abs=1e-12)


# Pictures


@pytest.mark.parametrize("suffix", [".svg", ".html"])
def test_pictures_hold_both_networks_and_hostile_names_as_text(suffix, tmp_path, FG):
    F, G, t = FG
    F.name = '<script>alert("F")</script>'
    t["W1"].name = "a & b < c"
    path = tmp_path / f"c{suffix}"
    compare(F, G, gradient=ONES).save(path)
    text = path.read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "a &amp; b &lt; c" in text
    if suffix == ".svg":
        ids = [e.get("id") for e in ET.fromstring(text).iter() if e.get("id")]
        assert len(ids) == len(set(ids))


def test_every_picture_is_the_same_byte_for_byte(tmp_path):
    def saved():
        _, G, t = skip_networks(34)
        y, x, _ = deep_net(50, skip=True)
        results = {
            "flow": flow(G, t["W1"], ONES),
            "paths": paths(G, t["W1"], ONES),
            "classes": path_classes(y, x, "depth"),
            "deep": flow(y, x),
        }
        for name, result in results.items():
            result.save(tmp_path / f"{name}.svg")
        return {name: (tmp_path / f"{name}.svg").read_bytes() for name in results}

    assert saved() == saved()


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_each_picture_is_folded_and_laid_out_once(suffix, tmp_path, monkeypatch, FG):
    F, G, t = FG
    calls = Counter()
    places = [(boxes, "folding"), (render, "layout")]
    for module, name in places:
        function = getattr(module, name)

        def counted(*args, name=name, function=function):
            calls[name] += 1
            return function(*args)

        monkeypatch.setattr(module, name, counted)
    deep, x, _ = deep_net(100, skip=True)
    results = {
        "paths": paths(G, t["W1"], ONES),
        "flow": flow(deep, x),
        "compare": compare(F, G, gradient=ONES),
    }
    for question, folded in (("paths", 1), ("flow", 1), ("compare", 2)):
        if suffix in results[question].suffixes:
            calls.clear()
            results[question].save(tmp_path / f"p{suffix}")
            assert calls == {"folding": folded, "layout": 1}


def test_a_leaf_behind_the_outputs_is_no_computation(FG):
    F, G, t = FG
    with pytest.raises(TypeError, match=r"W1 .*is no computation to compare.*give it as wrt="):
        compare(F, G, t["W1"])


def middles(source, prefix):
    """Where the boxes of a picture stand, without the height of the picture, by their texts."""
    found = {}
    for group in ET.fromstring(source).iter(f"{SVG}g"):
        id = group.get("id") or ""
        if group.get("class", "").startswith("node") and id.startswith(f"{prefix}-") == (
            prefix != ""
        ):
            first = group.find(f"{SVG}text")
            found[id.removeprefix(f"{prefix}-")] = first.get("x"), first.text
    return found


def test_what_both_have_stands_at_the_same_place(FG):
    F, G, _ = FG
    source = compare(F, G, gradient=ONES).pipe(encoding="utf-8")
    in_F, in_G = middles(source, ""), middles(source, "p1")
    in_F = {id: x for id, x in in_F.items() if not id.startswith("p1-")}
    assert len(in_F) == 19
    assert len(in_G) == 21  # and the skip's + with G
    assert in_F.items() <= in_G.items()
    shown = re.findall(r"The gradient of each output goes back", source)
    assert len(shown) == 1


def test_a_plain_net_and_one_with_skips_share_a_layout():
    plain, _, _ = deep_net(3, skip=False)
    residual, _, _ = deep_net(3, skip=True)
    source = compare(plain, residual).pipe(encoding="utf-8")
    in_plain, in_residual = middles(source, ""), middles(source, "p1")
    in_plain = {id: x for id, x in in_plain.items() if not id.startswith("p1-")}
    assert set(in_plain) <= set(in_residual)
    assert {x for x, _ in in_plain.values()} <= {x for x, _ in in_residual.values()}


@pytest.mark.parametrize("skips", [(False, True), (True, False), (True, True)])
def test_what_repeats_in_both_stands_in_one_frame(skips):
    F, G = (residual(40, skip)[0] for skip in skips)
    pictures = compare(F, G, ["W0"]).pictures()
    places = []
    for shown in pictures:
        (name,) = shown.repeats
        assert shown.repeats[name].times == 40
        framed = {box.lines[0]: box.id for box in shown.boxes if box.cluster == (name,)}
        assert {"h", "@", "tanh", "W"} <= set(framed)
        assert all(box.cluster == () for box in shown.boxes if box.id not in framed.values())
        places.append({box.id: box.lines[0] for box in shown.boxes if box.cluster})
    common = places[0].keys() & places[1].keys()
    assert {"h", "@", "tanh", "W"} <= {places[0][id] for id in common}
    assert all(places[0][id] == places[1][id] for id in common)
    (frame,) = pictures[0].base.frames
    assert frame == (next(iter(pictures[0].repeats)),)


def test_three_computations_are_held_against_the_first(FG):
    F, G, t = FG
    stopped = replay(G, stop_gradient="f3")
    found = compare(F, G, stopped, ["W1", "W3"], ONES)
    assert found.titles == ("F", "G (1)", "G (2)")
    for row in found.rows:
        assert (row.first, row.second) == row.sides[:2]
        for side, y in zip(row.sides, (F, G, stopped), strict=True):
            (dy,) = grad(y, [t[row.name]], ONES)
            assert side.norm == pytest.approx(np.linalg.norm(dy.data))
    two = compare(F, stopped, ["W1", "W3"], ONES)
    for row, pair in zip(found.rows, two.rows, strict=True):
        assert row.sides[2].own == pair.second.own
        assert row.sides[2].common == pair.second.common
    header = str(found).split("\n")[0]
    for column in (
        "|∂F|",
        "|∂G (1)|",
        "|∂G (2)|",
        "only in G (1)",
        "G (1): F has it too",
        "G (2): coherence",
    ):
        assert column in header
    assert found.pipe().count(b"what the gradient of") >= 2
    assert len(found.to_json()["parameters"][0]["sides"]) == 3


@pytest.mark.parametrize("outputs", [(), (1,), ("F",)])
def test_fewer_than_two_outputs_are_refused(FG, outputs):
    F, _, _ = FG
    with pytest.raises(TypeError, match="compare takes two outputs or more, each a Tensor"):
        compare(F, *outputs)


def test_a_flow_shows_negative_shares_dashed_and_a_folded_net_its_scopes(tmp_path):
    _, G, t = skip_networks(34)
    found = flow(G, t["W1"], ONES)
    found.save(tmp_path / "g.svg")
    drawn = (tmp_path / "g.svg").read_text().replace("\N{NO-BREAK SPACE}", " ")
    assert min(found.shares.values()) < 0
    for share in found.shares.values():
        assert percent(share) in drawn
    assert "stroke-dasharray" in drawn
    y, x, _ = deep_net(100, skip=True)
    found = flow(y, x)
    found.save(tmp_path / "deep.svg")
    folded = (tmp_path / "deep.svg").read_text()
    assert "× 100" in folded
    assert "block99" in folded  # a bar of its own
    found.save(tmp_path / "all.svg", fold=False)
    assert (tmp_path / "all.svg").read_text().count('class="node') > 400


def test_a_folder_that_does_not_exist_is_named(tmp_path, FG):
    F, G, _ = FG
    with pytest.raises(FileNotFoundError, match="nowhere"):
        compare(F, G, gradient=ONES).save(tmp_path / "nowhere" / "c.svg")


# Commands

SCRIPT = """
import numpy as np
from tinygrad_lite import Tensor, scope, sigmoid
W = Tensor([[0.5, -1.0], [2.0, 0.3]], requires_grad=True, name="W")
x = Tensor([1.0, 2.0])
with scope("f"):
    F = sigmoid(W @ x)
G = F + W @ x
F.name, G.name = "F", "G"
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["paths", "{}:G"], "2 paths from sum(G) to W"),
        (["paths", "{}:G", "--by", "depth"], "2 paths in 2 classes"),
        (["paths", "{}:G", "--by", "skips"], "2 paths in 1 class"),
        (["compare", "{}:F", "G", "--by", "skips"], "F has it too"),
        (["flow", "{}:G", "--wrt", "W"], "  +90 %     8"),
        (["profile", "{}:F"], "the gradient of sum(F), layer by layer"),
        (["compare", "{}:F", "G"], "only in G"),
    ],
)
def test_commands_print_text_and_json(words, expected, script, capsys):
    words = [word.format(script) for word in words]
    assert main(words) == 0
    assert expected in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_commands_say_where_they_took_ones_for_the_cotangent(script, tmp_path, capsys):
    said = "The cotangent is ones, where the script ran no backward."
    assert main(["compare", f"{script}:F", "G"]) == 0
    assert capsys.readouterr().out.startswith(f"{said}\nparameter")
    for suffix in (".svg", ".html"):
        target = tmp_path / f"c{suffix}"
        assert main(["compare", f"{script}:F", "G", "-o", str(target)]) == 0
        assert said in target.read_text(encoding="utf-8")
    for command in ("paths", "flow"):
        target = tmp_path / "p.svg"
        assert main([command, f"{script}:G", "--wrt", "W", "-o", str(target)]) == 0
        assert "sum(G)" in target.read_text(encoding="utf-8")
    assert main(["step", f"{script}:G"]) == 0
    assert "those of L = sum(G)" in capsys.readouterr().out
    scalar = tmp_path / "scalar.py"
    scalar.write_text(f"{SCRIPT}L = G @ np.ones(2)\nF.backward(x.data)\nL.name = 'L'\n")
    for target, name in (("F", "F"), ("L", "L")):  # with a backward of its own; a scalar
        assert main(["paths", f"{scalar}:{target}"]) == 0
        assert f"from {name} to W" in capsys.readouterr().out


def test_numbers_that_json_lacks_are_strings_that_float_reads(script, tmp_path, capsys):
    path = tmp_path / "nan.py"
    path.write_text(f"{SCRIPT}import tinygrad_lite as tl\nN = tl.sqrt(W * 0.0).sum()\n")
    assert main(["flow", f"{path}:N", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["norm"] == "NaN"
    assert strict([1e999, -1e999, {"a": 1.5}]) == ["Infinity", "-Infinity", {"a": 1.5}]


def test_commands_save_pictures(script, tmp_path, capsys):
    target = tmp_path / "flow.svg"
    assert main(["flow", f"{script}:G", "--wrt", "W", "-o", str(target)]) == 0
    assert "<svg" in target.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["paths", "{}:G", "--wrt", "V"], "travels to a value named 'V'; one does to W, "),
        (["paths", "{}:G", "--wrt", "x"], "travels to a value named 'x'; one does to W, "),
        (["paths", "{}:x"], "requires no gradient"),
        (["compare", "{}:F", "H"], "left nothing under the name H"),
        (["compare", "{}:x", "F"], "requires no gradient"),
        (["compare", "{}:F", "x"], "requires no gradient"),
        (["flow", "{}:G", "-o", "flow.txt"], "use one of"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(words, message, script, capsys):
    assert main([word.format(script) for word in words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.strip().count("\n") == 0


def test_pictures_of_what_has_no_shares_say_so(tmp_path):
    x = Tensor(1.0, requires_grad=True, name="x")
    for shown in (flow(x - x, x), paths(x - x, x), path_classes(x - x, x)):
        shown.save(tmp_path / "p.svg")
        text = " ".join(ET.parse(tmp_path / "p.svg").getroot().itertext())
        assert "paths cancel at x" in " ".join(text.split())
        assert "100 %" not in text


def test_paths_that_enter_the_same_scopes_are_told_apart_in_the_picture(tmp_path):
    x = Tensor(1.0, requires_grad=True, name="x")
    paths(x * x, x).save(tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert all(f"by operand {i}" in text for i in (1, 2))


# Paths that scopes do not tell apart


def residual(depth, skip, block=nullcontext, seed=0):
    """(output, first weight) of tanh layers, each with a skip or none, inside `block(i)`."""
    rng = np.random.default_rng(seed)
    weights = [
        Tensor(rng.standard_normal((4, 4)), requires_grad=True, name=f"W{i}") for i in range(depth)
    ]
    h = Tensor(np.ones(4))
    for i, w in enumerate(weights):
        with block(f"f{i}"):
            f = tanh(w @ h)
            h = h + f if skip else f
    return h.sum(), weights[0]


@pytest.mark.parametrize("block", [nullcontext, scope])
@pytest.mark.parametrize("depth", [2, 8, 40])
def test_a_skip_that_scopes_do_not_tell_is_never_taken_for_a_path_of_the_plain_net(depth, block):
    """Of the 2**(depth - 1) paths to the first weight, the plain net has the one without skips:
    what it carries is found by stopping every skip."""
    F, _ = residual(depth, False, block)
    G, v = residual(depth, True, block)
    edges = [e for e in graph(G).edges if e.skip]
    deep = grad(replay(G, stop_gradient=edges), v).data
    whole = grad(G, v).data
    for first, second in ((F, G), (G, F)):
        row = compare(first, second, ["W0"]).rows[0]
        here = row.second if second is G else row.first
        assert here.common.norm == pytest.approx(np.linalg.norm(deep))
        assert here.own.norm == pytest.approx(np.linalg.norm(whole - deep))
        assert here.common.share + here.own.share == pytest.approx(1)
        plain = row.first if second is G else row.second
        assert plain.own is None
        assert plain.common.share == 1
        assert sum(found.count for found in here.classes.values()) == 2 ** (depth - 1)
        assert here.to_json()["classes"][-1]["key"][-1].startswith("over ")
        assert row.note.count("name scopes") == 0


def test_what_goes_around_an_output_that_the_other_was_computed_from_is_its_own():
    w = Tensor(2.0, requires_grad=True, name="w")
    F = w * w
    around, back = compare(F, F - 3.0 * w).rows[0], compare(F - 3.0 * w, F).rows[0]
    assert (around.second.common.norm, around.second.own.norm) == (4, 3)
    assert (back.first.common.norm, back.first.own.norm) == (4, 3)
    assert back.second.own is None
    y = tanh(F)  # the skip is what F travels, not what it passes
    row = compare(F, F + y).rows[0]
    assert row.second.common.norm == pytest.approx(4)
    assert row.second.own.norm == pytest.approx(4 / np.cosh(4) ** 2)


def test_paths_that_turn_away_from_the_other_more_than_once_all_count():
    w = Tensor(2.0, requires_grad=True, name="w")
    F = w + w
    with scope("b"):
        G = (w - F) + F  # w itself turns away twice, w - F once
        row = compare(F, tanh(G) - F).rows[0].second
    parts = row.classes.values()
    assert sum(part.count for part in parts) == 7
    slope = 1 / np.cosh(2) ** 2
    assert sum(part.contribution for part in parts) == pytest.approx(slope - 2, rel=1e-12)
    assert row.norm == pytest.approx(2 - slope, rel=1e-12)


def test_paths_that_nothing_tells_apart_are_said_not_to_be():
    w = Tensor(2.0, requires_grad=True, name="w")
    row = compare(w * w, w * w - 3.0 * w).rows[0]
    assert "G has more paths than F in one class: name scopes to tell them apart" in row.note
    with scope("square"):
        F = w * w
    assert "name scopes" not in compare(F, F - 3.0 * w).rows[0].note


def test_nets_of_the_same_paths_have_all_in_common_and_scopes_that_tell_skips_stay_the_names(FG):
    F, _ = residual(140, True)
    G, _ = residual(140, True)
    (row,) = compare(F, G, ["W0"]).rows
    assert row.second.common.share == 1
    assert row.second.own is None
    F, G, _ = FG
    keys = [list(side.classes) for side in compare(F, G, ["W1"], ONES).rows[0].sides]
    assert keys == [[("f1", "f2", "f3")], [("f1", "f2"), ("f1", "f2", "f3")]]


def test_parameters_of_other_names_do_not_stand_for_each_other():
    alpha = Tensor(2.0, requires_grad=True, name="alpha")
    beta = Tensor(3.0, requires_grad=True, name="beta")
    with pytest.raises(ValueError, match="share no parameter"):
        compare(alpha * alpha, beta * beta * beta)
    with pytest.raises(ValueError, match="share no parameter"):  # of which one has no name
        compare(alpha * alpha, (lambda w: w * w)(Tensor(3.0, requires_grad=True)))
