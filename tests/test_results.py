"""Results at home: what a console and a notebook show, and what users of graphviz expect."""

import base64
import json
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import graphviz
import numpy as np
import pytest
from conftest import require
from nets import deep_net, skip_networks, tangled

import tinygrad_lite as tl
from tinygrad_lite import (
    History,
    compare,
    flow,
    graph,
    path_classes,
    paths,
    profile,
    steps,
    what_if,
)
from tinygrad_lite.drawing import render
from tinygrad_lite.drawing.table import Table
from tinygrad_lite.views.boxes import LARGEST

SVG = "{http://www.w3.org/2000/svg}"
DRAWN = ("graph", "paths", "flow", "compare")
CHARTS = ("path_classes", "profile", "history", "what_if")


def ask(question):
    """An answer about the skip networks; their W1 has a name that is markup."""
    F, G, t = skip_networks(34)
    t["W1"].name = '<b>&"W1'
    G.backward(np.ones(4))
    history = History()
    history.record(G)
    return {
        "graph": lambda: graph(G),
        "paths": lambda: paths(G, t["W1"]),
        "flow": lambda: flow(G, t["W1"]),
        "compare": lambda: compare(F, G, gradient=np.ones(4)),
        "path_classes": lambda: path_classes(G, t["W1"]),
        "profile": lambda: profile(G),
        "steps": lambda: steps(G),
        "history": lambda: history,
        "what_if": lambda: what_if(G, t["W1"]),
    }[question]()


# A console


@pytest.mark.parametrize("question", [*DRAWN, *CHARTS])
def test_the_repr_of_a_result_is_its_text(question):
    assert repr(ask(question)) == str(ask(question))


def test_the_repr_of_steps_is_a_line_each():
    found = ask("steps")
    note, *lines, hint = repr(found).split("\n")
    assert note == "The gradients are those of L = sum(G)."
    assert lines == list(map(repr, found))
    assert lines[2] == "forward 3/10 (step 3): z = sigmoid(‹… + b1›)"
    assert lines[12] == "backward 3/10 (step 13): ∂L/∂‹W3 @ y› = g; ∂L/∂b3 = g"
    assert "print(...)" in hint
    assert ".interactive()" in hint


def test_the_repr_of_a_large_result_is_a_page_and_says_how_much_is_left_out():
    y, x, _ = deep_net(100, skip=True)
    z, rng = x, np.random.default_rng(0)
    for i in rng.integers(3, size=200):  # which does not repeat
        z = (tl.tanh, tl.sin, tl.cos)[i](z)
    for found in (graph(z), flow(y, x), path_classes(y, x, "depth"), profile(y)):
        lines = repr(found).split("\n")
        (left,) = re.findall(r"^… (\d+) more; print\(\.\.\.\) shows all$", repr(found), re.M)
        assert len(lines) < 66
        assert len(lines) - 1 + int(left) == str(found).count("\n") + 1
    assert repr(profile(y)).endswith(profile(y).culprit)  # what stands below a table stays
    assert repr(steps(y)).count("\n") < 66
    assert f"… {len(steps(y)) - 60} more; print(...) shows all" in repr(steps(y))


def test_the_elements_of_results_are_a_readable_line():
    first = [ask(question)[0] for question in ("paths", "profile")]
    classes, found = ask("path_classes"), ask("compare")
    assert list(map(repr, [*first, *classes.values(), found.rows[0]])) == [
        'Path(path <b>&"W1 → z → y → G, edges 7, |part| 0.304, share +102 %)',
        "Layer(layer f1, |at result| 0.578, |parameters| 0.300, of the next ×0.42)",
        "PathClass(paths 1, |part| 0.304, share +102 %)",
        "PathClass(paths 1, |part| 0.122, share −1.7 %)",
        'Row(parameter <b>&"W1, |first| 0.122, |second| 0.274, paths oppose)',
    ]


# A notebook


@pytest.mark.parametrize("question", [*DRAWN, *CHARTS])
def test_a_notebook_gets_one_picture_and_the_table(question):
    found = ask(question)
    cell = ET.fromstring(f"<div>{found._repr_html_()}</div>")
    (picture,) = cell.iterfind("div/img")
    assert picture.attrib["style"].startswith("max-width:100%;")
    kind, _, data = picture.attrib["src"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(data).decode() == found._repr_svg_()
    assert picture.attrib["alt"] == ET.fromstring(found._repr_svg_()).findtext(f"{SVG}title")
    if question == "graph":
        assert cell.findtext("div/details/pre") == str(found)
    else:
        table = found.table()
        rows = [tuple(x.text or "" for x in row) for row in cell.iter("tr")]
        assert rows[: len(table.rows) + 1] == [tuple(table.header), *map(tuple, table.rows)]
        assert table.above in "".join(cell.itertext())
        assert table.below in "".join(cell.itertext())


# A graph and a comparison have pages of their own (tests/test_page.py).
PLAIN = [question for question in (*DRAWN[1:], *CHARTS) if question != "compare"]


@pytest.mark.parametrize("question", PLAIN)
def test_a_page_is_the_picture_and_the_table(question, tmp_path):
    found = ask(question)
    found.save(tmp_path / "p.html")
    page = (tmp_path / "p.html").read_text("utf-8")
    body = page.partition("</style>")[2].removesuffix("\n</html>\n")
    picture = ET.fromstring(f"<div>{body}</div>")[0]
    drawn = picture.find(f"{SVG}svg")
    del drawn.attrib["style"]
    assert ET.tostring(drawn).strip() == ET.tostring(ET.fromstring(found.svg()))
    assert body.endswith(found.table().html())
    assert "color-scheme: light dark" in page
    assert "default-src 'none'" in page  # it loads nothing


def test_what_cannot_be_drawn_is_said_above_the_table(monkeypatch):
    def refuse(source):
        raise RuntimeError("there is no <Graphviz> here")

    monkeypatch.setattr(render, "layout", refuse)
    assert ask("paths")._repr_svg_() is None
    cell = ET.fromstring(f"<div>{ask('paths')._repr_html_()}</div>")
    assert cell.findtext("p") == "there is no <Graphviz> here"
    assert len(list(cell.iter("tr"))) == 6  # paths and terms
    y = tangled(2 * LARGEST)
    assert "the picture would have" in graph(y)._repr_html_()


def test_a_long_table_of_a_notebook_says_how_much_is_left_out():
    table = Table(("i", "i²"), [(str(i), str(i * i)) for i in range(5)], "squares", "all of them")
    assert str(table.first(2)) == "\n".join(
        ["squares", "i  i²", "0   0", "1   1", "… 3 more; print(...) shows all", "all of them"]
    )
    assert table.first(5) is table
    assert table.first(2).html().count("<tr>") == 3


# Users of the graphviz package


@pytest.mark.parametrize("question", DRAWN)
def test_the_source_is_the_drawing_in_dot(question, tmp_path):
    found = ask(question)
    found.save(tmp_path / "g.dot")
    assert found.source == (tmp_path / "g.dot").read_text("utf-8")
    assert found.source.count("digraph {") == (2 if question == "compare" else 1)
    assert graphviz.Source(found.source).source == found.source


@pytest.mark.parametrize("question", DRAWN)
def test_pipe_gives_what_save_writes(question, tmp_path):
    found = ask(question)
    found.save(tmp_path / "g.svg")
    assert found.pipe() == found.pipe("svg") == (tmp_path / "g.svg").read_bytes()
    assert found.pipe(encoding="utf-8") == found._repr_svg_()
    with pytest.raises(ValueError, match=r"the format is one of svg, png, .*dot.*, but got 'gif'"):
        found.pipe("gif")


@pytest.mark.skipif(os.name != "posix", reason="the stand-in for dot is a shell script")
@pytest.mark.parametrize(
    "how",
    [
        {}, {"filename": "x"}, {"filename": "x.gv", "cleanup": True}, {"filename": "a/./x.y"},
        {"filename": "x", "directory": "b/c"}, {"directory": "b"}, {"filename": "./x"},
        {"filename": "x", "format": "dot"},
    ],
)  # fmt: skip
def test_render_writes_the_files_that_graphviz_does(how, tmp_path, monkeypatch):
    script = 'for last; do case $last in -T*) format=${last#-T};; esac; done; : > "$last.$format"'
    (tmp_path / "dot").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    found = ask("paths")
    made = []
    for drawing in (graphviz.Digraph(format="svg"), found):
        folder = tmp_path / type(drawing).__name__
        folder.mkdir()
        monkeypatch.chdir(folder)
        returned = drawing.render(**how)
        made.append((returned, {path.relative_to(folder) for path in folder.rglob("*")}))
    assert made[0] == made[1]
    assert Path(returned).read_bytes() == found.pipe(how.get("format", "svg"))
    if not how.get("cleanup"):
        assert Path(returned).with_suffix("").read_text("utf-8") == found.source


def test_render_leaves_no_file_where_it_cannot_draw(tmp_path):
    with pytest.raises(ValueError, match="the format is one of"):
        ask("flow").render(tmp_path / "x", format="gif")
    assert not list(tmp_path.iterdir())


def test_render_opens_what_it_drew(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(graphviz, "view", opened.append)
    drawn = ask("flow").render(tmp_path / "x", view=True)
    assert opened == [drawn] == [f"{tmp_path / 'x'}.svg"]


# Users of NetworkX


def test_to_networkx_is_the_json_read_back(tmp_path):
    nx = require("networkx")
    found = ask("graph")
    found.save(tmp_path / "g.json")
    read = nx.node_link_graph(json.loads((tmp_path / "g.json").read_text()), edges="edges")
    assert type(found.to_networkx()) is nx.MultiDiGraph
    assert nx.utils.graphs_equal(found.to_networkx(), read)


def test_to_networkx_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(RuntimeError, match="pip install networkx"):
        ask("graph").to_networkx()
