"""The page, driven in a real browser: its keys and buttons, what it shows, what it refuses."""

import base64
import html
import http.server
import json
import os
import re
import threading
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from nets import deep_net, skip_networks

import tinygrad_lite as tl
from tinygrad_lite import Tensor, scope, sigmoid, source_lines, steps, tanh
from tinygrad_lite.drawing.page import LARGEST, embed_json
from tinygrad_lite.insight.travels import travels
from tinygrad_lite.views import page_data
from tinygrad_lite.views.boxes import diagram


class Page:
    """A page in the browser."""

    def __init__(self, browser, path):
        self.browser, self.path = browser, path

    def open(self, anchor=""):
        self.browser.get("about:blank")
        for log in ("browser", "performance"):
            self.browser.get_log(log)
        self.browser.get(f"file://{self.path}{anchor}")
        return self

    def run(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        for key in keys:
            ActionChains(self.browser, duration=0).send_keys(key).perform()
        return self

    def click(self, id):
        self.run("document.getElementById(arguments[0]).click()", id)
        return self

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    @property
    def at(self):
        return int(self.run("return document.documentElement.dataset.step"))

    @property
    def badge(self):
        return self.text(".badge").lower()

    def media(self, **features):
        told = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

    def problems(self):
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self):
        """Every address that was asked for since the page was opened."""
        entries = [json.loads(e["message"])["message"] for e in self.browser.get_log("performance")]
        return {
            e["params"]["request"]["url"].split("#")[0]
            for e in entries
            if e["method"] == "Network.requestWillBeSent"
        }


@pytest.fixture
def shown(chromium, tmp_path):
    """Save steps as a page and open it."""
    made = []

    def show(some, anchor=""):
        path = tmp_path / f"page{len(made)}.html"
        some.save(path)
        made.append(Page(chromium, path).open(anchor))
        return made[-1]

    yield show
    for page in made:
        page.media(prefers_color_scheme="light", prefers_reduced_motion="no-preference")


@pytest.fixture
def G():
    with source_lines():
        G = skip_networks()[1]
    G.backward(np.ones(4))
    return G


# Every key and its button


@pytest.mark.parametrize(
    ("key", "button", "start", "end"),
    [
        ("\ue014", "right", 3, 4),
        ("\ue012", "left", 3, 2),
        ("\ue011", "home", 7, 1),
        ("\ue010", "end", 7, 21),
        ("f", "forward", 15, 6),
        ("b", "backward", 6, 15),
    ],
)
def test_a_key_and_its_button_step(shown, G, key, button, start, end):
    page = shown(steps(G), f"#{start}")
    assert page.at == start
    assert page.press(key).at == end
    page.open(f"#{start}")
    assert page.click(button).at == end
    assert page.run("return document.getElementById('scrub').value") == str(end)
    assert not page.problems()


def test_stepping_stops_at_both_ends(shown, G):
    page = shown(steps(G))
    assert page.press("\ue012").at == 1
    assert page.run("return document.getElementById('left').disabled")
    page.press("\ue010", "\ue014")
    assert page.at == 21
    assert page.run("return document.getElementById('right').disabled")


@pytest.mark.parametrize("how", ["key", "button"])
def test_play_and_pause(shown, G, how):
    page = shown(steps(G))
    page.run("const real = setInterval; setInterval = (f) => real(f, 20)")

    def play():
        page.press(" ") if how == "key" else page.click("play")

    play()
    assert page.run("return document.getElementById('play').getAttribute('aria-pressed')") == "true"
    until(lambda: page.at == 21)
    until(lambda: page.text("#play") == "▶ play")  # it ends at the end
    page.press("\ue011")
    play()
    until(lambda: page.at > 2)
    play()
    stopped = page.at
    page.browser.execute_async_script("setTimeout(arguments[0], 100)")
    assert page.at == stopped


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def edges_lit(page):
    return page.run("return document.querySelectorAll('.bands path').length")


@pytest.mark.parametrize("how", ["key", "button"])
def test_paths_are_shown_one_after_the_other(shown, G, how):
    page = shown(steps(G), "#12").press("]")  # the first parameter: two paths lead to W1

    def path():
        page.press("p") if how == "key" else page.click("path")
        return page.text("#said"), edges_lit(page)

    found = tl.paths(G, wrt=next(n.tensor for n in tl.graph(G) if n.name == "W1"))
    for i, known in enumerate(found, 1):
        said, lit = path()
        assert said.startswith(f"Path {i} of 2: {known.way}, ")
        assert lit > len(known.edges)  # with the arrows from ops to their named results
        chosen = page.text(".rowpath[aria-pressed=true]")
        assert f"{100 * known.share:.0f} %" in chosen.replace("+", "").replace("−", "-")
        assert f"{len(known.edges)} edges" in chosen
    assert path() == ("That was the last path.", 0)
    page.press("p", "\ue00c")
    assert edges_lit(page) == 0
    assert not page.problems()


def test_the_length_along_a_path_is_told_op_by_op(shown, G):
    page = shown(steps(G)).press("]", "p", "p")
    told = page.run(
        "return [...document.querySelectorAll('.lengths b')].map((e) => Number(e.innerText))"
    )
    (deep,) = [p for p in tl.paths(G, wrt=tl.graph(G).nodes[0].tensor) if len(p.edges) == 10]
    assert told[0] == 2
    assert told[-1] == pytest.approx(deep.norm, rel=1e-2)
    assert page.text(".chain .heard") == deep_formula(G)


def deep_formula(G):
    return tl.paths(G, wrt=tl.graph(G).nodes[0].tensor).formula


def test_a_click_on_a_parameter_shows_its_paths(shown, G):
    page = shown(steps(G), "#3")
    for name, paths in (("W1", 2), ("b3", 1)):
        node = next(n.id for n in tl.graph(G) if n.name == name)
        page.run(f"document.querySelector('#n{node}').dispatchEvent("
                 "new MouseEvent('click', {bubbles: true}))")  # fmt: skip
        assert page.run("return document.querySelector('#travel select').value") == str(node)
        assert f"{paths} path" in page.text(".choice")
        assert page.at == 3


def test_the_flow_is_a_layer_of_its_own(shown, G):
    page = shown(steps(G), "#3").press("]", "w")
    W1 = tl.graph(G).nodes[0].tensor
    flow = tl.flow(G, wrt=W1)
    labels = page.run("""
      return Object.fromEntries([...document.querySelectorAll(".trail:not(.off)")].map((e) =>
        [e.dataset.wire, e.querySelector(".amount").textContent]))
    """)
    for edge, share in flow.shares.items():
        told = labels[f"e{edge.target}-{edge.slot}"]
        assert float(told.rstrip(" %").replace("−", "-")) == pytest.approx(100 * share, abs=0.6)
    off = page.run("return document.querySelectorAll('.trail.off').length")
    assert off > 0
    assert "share of the gradient of W1" in page.text("#legend")
    page.press("w")
    assert "|gradient|" in page.text("#legend")


def test_signs_agree_everywhere(shown):
    a, b = Tensor(2.0, True, name="a"), Tensor(-0.5, True, name="b")
    y = tl.tanh(a * b) * a
    y.name = "y"
    page = shown(steps(y), "#4").press("\ue010")
    labels = list(page.run(
        "return [...document.querySelectorAll('.trail .amount')].map((e) => e.textContent)"
    ))  # fmt: skip
    y.backward()
    for x in (a.grad, b.grad):
        told = f"{'−' if x < 0 else '+'}{abs(x):#.3g}"
        assert told in page.text("#step").replace("\n", " ")
    node = tl.graph(y)
    sent = [e.contribution.item() for e in node.edges if e.contribution is not None]
    told = [float(text.replace("−", "-")) for text in labels if text]
    for x in sent:
        assert any(np.isclose(x, y, rtol=5e-3) for y in told)
    dashed = page.run(
        "return [...document.querySelectorAll('.trail.negative .amount')].map(e => e.textContent)"
    )
    assert dashed
    assert all(text.startswith("−") for text in dashed)


def test_a_path_is_lit_where_the_steps_have_not_come_yet(shown):
    page = shown(steps(deep_net(3, skip=True)[0]), "#1")
    page.media(prefers_reduced_motion="reduce")
    page.press("p")
    seen = """
      const seen = (e) =>
        e.tagName === "svg" ? 1 : getComputedStyle(e).opacity * seen(e.parentElement);
      return [".node.onpath", ".node:not(.onpath)"].map((selector) =>
        [...document.querySelectorAll(`.view:not([hidden]) ${selector}`)].map(seen));
    """
    on, off = page.run(seen)
    assert min(on) > max(off, default=0)
    page.press("\ue00c")
    assert edges_lit(page) == 0


def test_paths_are_grouped_where_they_cannot_be_listed(shown):
    y = Tensor(1.0, requires_grad=True, name="x") * 1.0
    for _ in range(60):
        y = y + y
    page = shown(steps(y), "#1").press("p")
    assert f"{2**60:.3g} paths" in page.text(".choice")
    assert "grouped" in page.text("#travel")


def without_skips(layers):
    """A computation of 2**layers paths that enter a scope at each layer, and no skip."""
    h = Tensor(0.7, requires_grad=True, name="x")
    for i in range(layers):
        with scope(f"a{i}"):
            a = tanh(h)
        with scope(f"b{i}"):
            b = tl.sin(h)
        h = a * b
    return h


@pytest.mark.parametrize("skips", [True, False])
def test_a_class_passes_what_its_paths_pass(skips):
    y = deep_net(5, True)[0] if skips else without_skips(4)
    y.backward()
    graph = steps(y).graph
    x = next(n for n in graph if n.name == "x")
    index = {(e.target, e.slot): i for i, e in enumerate(graph.edges)}
    expected = {}
    for path in tl.paths(y, x.tensor):
        n = sum(edge.skip for edge in path.edges)
        over = f"over {n} skip{'s' * (n != 1)}"
        way = over if skips else f"through {' → '.join(path.scopes)}"
        expected.setdefault(way, set()).update(index[e.target, e.slot] for e in path.edges)
    rows = travels(graph, [x.id])[x.id]["rows"]
    told = {row["way"]: set(row["edges"]) for row in rows if row["way"] != "all other paths"}
    assert len(told) == (6 if skips else 11)
    assert told == {way: expected[way] for way in told}


@pytest.mark.parametrize(
    ("blocks", "nodes", "bands"),
    [
        (5, 7, 6),  # x, five sums, and the sum of all
        (50, 3, 3),  # folded: x, the sum of a block, and the sum of all; into, through and out
    ],
)
def test_a_class_of_paths_is_lit(shown, blocks, nodes, bands):
    y = deep_net(blocks, True)[0]
    y.backward()
    page = shown(steps(y), "#1")
    choose = """
      const select = document.querySelector("#travel select");
      select.value = [...select.options].find((o) => o.text === "x").value;
      select.onchange();
      const rows = [...document.querySelectorAll(".rowpath")];
      rows.find((b) => b.innerText.includes(arguments[0])).click();
    """
    page.run(choose, f"over {blocks} skips")
    lit, band, dimmed = page.run("""
      const svg = document.querySelector(".view:not([hidden]) svg");
      return [".node.onpath", ".bands path", ".node:not(.onpath)"]
        .map((what) => svg.querySelectorAll(what).length);
    """)
    assert (lit, band) == (nodes, bands)
    assert dimmed > 3
    page.press("p")  # behind the last class, none
    assert page.run("return document.querySelectorAll('.bands path').length") == 0


def test_the_last_step_shows_all_gradients(shown, G):
    page = shown(steps(G)).press("\ue010")
    told = page.text("#step")
    for name in ("W1", "b1", "W2", "b2", "W3", "b3"):
        assert f"∂L/∂{name}" in told
    assert page.run("return document.querySelectorAll('.trails .ahead').length") == 0


def test_keys_go_on_where_they_chose(shown, G, compared):
    page = shown(steps(G), "#14").press("]")
    page.run("document.querySelectorAll('.rowpath')[1].focus()")
    page.press("\ue007")
    focus = "return [document.activeElement.className, document.activeElement.ariaPressed]"
    assert page.run(focus) == ["rowpath through", "true"]
    compared.open()
    compared.run("document.querySelectorAll('.compared thead button')[1].focus()")
    compared.press("\ue007")
    assert "|∂F|" in compared.run("return document.activeElement.innerText")


def test_what_is_summed_at_a_value_stands_in_a_ledger(shown, G):
    page = shown(steps(G), "#15")  # y: over the skip, and through f3
    rows = page.run("""
      return [...document.querySelectorAll("#step .ledger .numbers")].map((e) =>
        [...e.querySelectorAll(".cell")].map((c) => Number(c.textContent.replace("−", "-"))))
    """)
    *parts, total = np.array(rows)
    assert np.allclose(sum(parts), total, atol=2e-3)


def test_what_arrives_is_summed_in_the_box(shown):
    W, x = Tensor(np.eye(2) + 0.5, True, name="W"), Tensor(np.array([0.3, -0.7]), name="x")
    y = tanh(W @ x)
    G = sigmoid(y * 3.0) + y
    y.name = "y"
    G.backward(np.ones(2))
    page = shown(steps(G), "#7")
    box = (
        "return [...document.querySelectorAll('.view:not([hidden]) .gradient')].map((e) =>"
        "[e.classList.contains('quiet'), [...e.children].map((c) => c.textContent).join('; ')])"
        ".find(([, t]) => t.includes('1.00 = '))"
    )
    hidden, _ = page.run(box)
    assert hidden  # y * 3 has yet to send its part
    page.press("\ue014")
    hidden, text = page.run(box)
    assert not hidden
    for sum in re.findall(r"([-+−\d.]+) ([+−]) ([\d.]+) = ([-+−\d.]+)", text):
        one, sign, other, total = (x.replace("−", "-") for x in sum)
        assert float(one) + float(sign + other) == pytest.approx(float(total), abs=2e-3)


def test_where_a_box_has_no_room_for_numbers_the_sum_stands_beside_it(shown, G):
    page = shown(steps(G), "#14")  # W3 @ y sends to y, which had the skip's part
    rows = page.run(
        "return [...document.querySelectorAll('.callout text')].map((e) => e.textContent)"
    )
    words, numbers = (
        rows[::2],
        [[float(x.replace("−", "-")) for x in r.split()] for r in rows[1::2]],
    )
    assert words == ["had", "now", "sum"]
    assert np.allclose(np.add(*numbers[:2]), numbers[2], atol=0.011)
    overlaps = page.run("""
      const box = document.querySelector(".callout rect").getBoundingClientRect();
      const nodes = [...document.querySelectorAll(".view:not([hidden]) .node")];
      return nodes.map((e) => e.getBoundingClientRect()).filter((r) => r.left < box.right
        && box.left < r.right && r.top < box.bottom && box.top < r.bottom).length;
    """)
    assert overlaps == 0


# How large it is shown


LETTERS = """
  const room = document.getElementById("views").getBoundingClientRect();
  const shown = [...document.querySelectorAll(".view:not([hidden])")];
  const boxes = shown.flatMap((view) => [...view.querySelectorAll(".node, .cluster")]);
  const inside = boxes.every((e) => {
    const box = e.getBoundingClientRect();
    return box.left >= room.left && box.right <= room.right + 1 && box.top >= room.top
      && box.bottom <= room.bottom + 1;
  });
  const texts = shown.flatMap((view) => [...view.querySelectorAll(".node text, .amount")]);
  const scale = shown[0].querySelector("svg").getScreenCTM().a;
  const size = (e) => scale * parseFloat(getComputedStyle(e).fontSize);
  return [inside, Math.min(...texts.filter((e) => e.textContent).map(size))];
"""


@pytest.mark.parametrize("size", [(1400, 900), (1280, 720)])
@pytest.mark.parametrize("what", ["F", "G", "F and G"])
def test_exercise_4_is_seen_whole_in_letters_that_can_be_read(shown, size, what):
    F, G, _ = skip_networks(34)
    v = np.ones(4)
    some = {"F": steps(F, v), "G": steps(G, v), "F and G": tl.compare(F, G, gradient=v)}
    page = shown(some[what])
    set_size(page, *size)
    try:
        inside, letters = page.open("#20").run(LETTERS)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert inside
    assert letters >= 11


def set_size(page, width, height):
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def test_the_sub_expression_is_marked_with_its_calls(shown):
    def layer(W, x):
        return sigmoid(W @ x)

    W3, y = Tensor(np.eye(2), True, name="W3"), Tensor(np.ones(2), name="y")
    with source_lines():
        z = layer(W3, y)
    page = shown(steps(z, np.ones(2)), "#1")
    assert page.text("#code mark") == "W @ x"
    assert "layer(W3, y)" in page.text("#code .calls")
    assert "here W = W3, x = y" in page.text("#code .calls")
    page.press("\ue014")
    assert page.text("#code mark") == "sigmoid(W @ x)"
    assert page.run("return document.querySelectorAll('#code mark').length") == 1


def test_what_is_sent_runs_along_the_arrows_unless_less_motion_is_wanted(shown, G):
    page = shown(steps(G), "#13").press("\ue014")
    assert page.run("return document.querySelectorAll('.dots circle').length") > 0
    page.media(prefers_reduced_motion="reduce")
    page.open("#13").press("\ue014")
    assert page.run("return document.querySelectorAll('.dots circle').length") == 0


def test_the_calls_that_led_to_a_line_stand_beside_it(shown):
    with source_lines():
        y = (lambda x: x * 2.0)(Tensor(1.0, True))
        z = y + 1.0
    page = shown(steps(z))
    line = steps(z)[0].source[1]
    assert f"test_page.py:{line} → {line}" in page.text(".where")
    page.press("\ue014")
    assert f"line {line + 1}" in page.text(".where")
    assert "calls" not in page.text(".where")


@pytest.mark.parametrize("how", ["key", "button"])
def test_search_finds_names_ops_and_scopes(shown, G, how):
    page = shown(steps(G))
    page.press("/") if how == "key" else page.click("search")
    page.press(*"f2")
    found = page.text("#hits").split("\n")
    assert len(found) == 3
    assert all("in f2" in line for line in found)
    page.press("\ue003", "\ue003", *"sigm", "\ue007")  # the first of the sigmoids
    assert page.text(".equation .heard") == "z = sigmoid(‹W1 @ x + b1›)"
    page.press("/", *"W3", "\ue007")
    assert "W3" in page.text(".equation")
    page.press("/", *"nobody")
    assert page.text("#hits") == "nothing found"
    page.press("\ue00c", "\ue014")  # Escape closes it, and keys step again
    assert page.at > 1
    assert not page.problems()


@pytest.mark.parametrize(("how", "blocks", "folded"), [("key", 50, True), ("button", 90, True)])
def test_a_deep_net_folds_and_unfolds(shown, how, blocks, folded):
    page = shown(steps(deep_net(blocks, skip=True)[0]), "#30")

    def boxes():
        return page.run("return document.querySelectorAll('.view:not([hidden]) .node').length")

    def fold():
        page.press("c") if how == "key" else page.click("fold")

    for _ in range(4):  # a graph of many nodes, or many in a row, is folded from the start
        assert (boxes() < 20) if folded else (boxes() > 200)
        now = "return document.querySelectorAll('.view:not([hidden]) .node.now').length"
        assert page.run(now) == 1
        fold()
        folded = not folded
        assert page.text("#said") == ("Folded." if folded else "Unfolded.")


def test_a_graph_without_scopes_says_that_nothing_folds(shown):
    page = shown(steps(Tensor(1.0, requires_grad=True) * 2.0)).press("c")
    assert page.text("#said").startswith("Nothing folds")


@pytest.mark.parametrize("how", ["key", "button"])
def test_help_lists_every_key(shown, G, how):
    page = shown(steps(G))
    page.press("?") if how == "key" else page.click("help")
    told = page.text("#keys")
    for key in ("Home", "space", "F", "B", "P", "[", "W", "X", "/", "C", "D", "M", "?"):
        assert key in told
    page.press("\ue00c", "\ue014")
    assert page.at == 2


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_theme_is_the_systems_until_d_is_pressed(shown, G, system):
    page = shown(steps(G))

    def colours():
        page.run("void document.body.offsetHeight")
        paper = page.run("return getComputedStyle(document.body).backgroundColor")
        box = page.run("return getComputedStyle(document.querySelector('.node.value rect')).fill")
        return [sum(map(int, re.findall(r"\d+", c)[:3])) for c in (paper, box)]

    page.media(prefers_color_scheme=system)
    page.open()
    first = colours()
    second = (page.press("d"), colours())[1]
    light, dark = (first, second) if system == "light" else (second, first)
    assert min(light) > 600
    assert max(dark) < 300
    assert (page.click("theme"), colours())[1] == first


# The address


def test_a_link_opens_with_its_step_in_the_middle(shown, G):
    page = shown(steps(G), "#15")
    off = page.run(
        "const box = (e) => e.getBoundingClientRect();"
        "const at = box(document.querySelector('#views .node.now'));"
        "const views = box(document.getElementById('views'));"
        "return Math.abs(at.left + at.width / 2 - views.left - views.width / 2)"
    )
    assert off < 200  # and not at the left end, where the picture begins


def test_the_address_is_the_step(shown, G):
    page = shown(steps(G), "#7")
    assert page.badge == "forward 7 of 10"
    page.run("location.hash = '#12'")
    until(lambda: page.badge == "backward 2 of 10")
    page.press("\ue014")
    until(lambda: page.run("return location.hash") == "#13")
    page.run("location.hash = '#999'")  # a link to a step that is not there changes nothing
    page.run("location.hash = '#x'")
    assert page.badge == "backward 3 of 10"


def test_a_slice_keeps_the_numbers_of_its_steps(shown, G):
    page = shown(steps(G)[12:16], "#14")
    assert page.badge == "backward 4 of 10"
    assert page.press("\ue010").at == 17  # the last shows what has been sent
    assert page.press("\ue011").at == 13


# What is shown


def test_a_step_is_read_out_in_full(shown, G):
    page = shown(steps(G, check=True), "#15")
    told = page.text("#step")
    for words in (
        "backward 5 of 10", "step 15", "in f2", "nets.py, line", "y = sigmoid(‹W2 @ z + b2›)",
        "∂L/∂‹W2 @ z + b2› = g · y · (1 − y)", "agrees", "from G (+)", "from ‹W3 @ y› (@)",
        "g, the sum", "to ‹W2 @ z + b2›", "gradients so far", "waiting",
    ):  # fmt: skip
        assert words.lower() in told.lower()


def test_the_code_of_a_rule_opens_with_a_key(shown, G):
    page = shown(steps(G), "#15")
    code = "lambda g, out, x: g * (out * (1 - out))"
    assert code not in page.text("#step")
    page.run("document.querySelector('summary').focus()")
    assert page.press(" ").at == 15
    assert code in page.text("#step")


def test_a_screen_reader_hears_the_step(shown, G):
    page = shown(steps(G), "#15").press("\ue014")
    tree = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    by_id = {node["nodeId"]: node for node in tree}

    def properties(node):
        return {p["name"]: p["value"].get("value") for p in node.get("properties", [])}

    live = next(n for n in tree if n["role"]["value"] == "region" and properties(n).get("live"))
    assert properties(live)["live"] == "polite"
    assert properties(live)["atomic"]
    heard, stack = [], [live]
    while stack:
        node = stack.pop()
        if node["role"]["value"] == "StaticText":
            heard.append(node["name"]["value"])
        stack.extend(by_id[child] for child in reversed(node.get("childIds", ())))
    heard = " ".join(heard)
    assert "∂L/∂‹W2 @ z› = g" in heard
    heard = heard.lower()
    assert "backward 6 of 10" in heard
    assert heard.index("arrives") < heard.index("sends") < heard.index("gradients so far")
    buttons = [n["name"]["value"] for n in tree if n["role"]["value"] == "button"]
    assert {"Previous step", "Next step", "Play", "Help"} <= set(buttons)
    assert all(buttons)
    assert any(n["role"]["value"] == "slider" for n in tree)


def test_the_current_line_is_marked(shown, G):
    page = shown(steps(G), "#15")
    assert "sigmoid(t[f" in page.text("#code li.now")
    assert page.run("return document.querySelectorAll('[aria-current=step]').length") == 1


def test_without_source_lines_the_computation_is_listed(shown):
    page = shown(steps(skip_networks()[1], np.ones(4)), "#15")
    assert "source_lines()" in page.text("#code p")
    assert page.text("#code li.now").split("\n")[-1].strip() == "y = sigmoid(‹W2 @ z + b2›)"


def test_the_node_and_its_edges_are_lit(shown, G):
    page = shown(steps(G), "#15")
    lit = page.run(
        "return [...document.querySelectorAll('.view:not([hidden]) .lit, .now')].map(e => e.id)"
    )
    g = steps(G).graph
    y = next(node.id for node in g if node.name == "y")
    output = g.output.id
    arrows = {id for id in lit if id.startswith("e")}
    senders = {f"e{e.target}-{e.slot}" for e in g.out_of[y]}
    assert arrows == senders | {f"e{y}-0"}
    assert f"e{output}-1" in senders
    assert f"n{y}" in lit
    assert f"v{y}" in lit


def test_a_click_on_a_node_or_a_line_goes_to_its_step(shown, G):
    page = shown(steps(G), "#1")
    page.run(
        "document.querySelector('#n15').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert page.text(".equation .heard") == "F = sigmoid(‹W3 @ y + b3›)"
    page.open("#1")
    page.run("[...document.querySelectorAll('#code li.stepped')].at(-1).click()")
    assert page.at > 1


def test_nan_and_infinity_are_marked(shown):
    x = Tensor([1.0, np.nan, np.inf, -np.inf], requires_grad=True, name="x")
    page = shown(steps(x * 1.0, np.ones(4)))
    marked = page.run("return [...document.querySelectorAll('.cell.nan')].map(e => e.innerText)")
    assert marked[:3] == ["NaN", "∞", "−∞"]
    assert "1 NaN, 2 infinite" in page.text("#step")


def test_a_heat_map_shows_sign_and_nan_by_colour(shown):
    data = np.zeros((10, 10))
    data[0, 0], data[0, 1], data[0, 2] = 1.0, -1.0, np.nan
    page = shown(steps(Tensor(data, requires_grad=True, name="x") * 1.0, np.ones((10, 10))))
    pixel = """
      const canvas = document.querySelector("#step canvas"), size = canvas.width / 10;
      const pen = canvas.getContext("2d"), y = Math.floor(size / 2);
      return [0, 1, 2, 3].map((i) => Math.floor((i + 0.5) * size) + 2)
        .map((x) => [...pen.getImageData(x, y, 1, 1).data].slice(0, 3));
    """
    positive, negative, nan, zero = page.run(pixel)
    assert positive == [0x1B, 0x78, 0x37]
    assert negative == [0x76, 0x2A, 0x83]
    assert nan == [0xC2, 0x18, 0x8F]
    assert zero == [0xF3, 0xF4, 0xF6]


def test_all_values_are_shown_on_request_up_to_the_limit(shown):
    small = shown(steps(Tensor(np.arange(1000.0), name="x") * 1.0))
    small.run("document.querySelector('.value button').click()")
    assert small.text("pre.all").split() == [str(i) for i in range(1000)]
    large = shown(steps(Tensor(np.arange(5000.0).reshape(50, 100), name="x") * 1.0))
    assert large.run("return document.querySelectorAll('.value button').length") == 0
    assert "5,000 values; this page holds arrays of up to 4,096 whole" in large.text("#step")
    assert "0 to 4999, mean 2500" in large.text("#step")
    assert "shrunk to 48×48" in large.text("#step")


def test_blocked_and_wrong_rules_are_told(shown):
    page = shown(steps(tl.heaviside(Tensor([1.0], requires_grad=True, name="h")), np.ones(1)), "#2")
    assert "blocked: this derivative is 0 wherever it exists" in page.text("#step")


# Names are only ever shown

HOSTILE = [
    "<script>window.broken = true</script>",
    "</script><script>window.broken = true</script>",
    "\"><img src=x onerror='window.broken = true'>",
    "'; window.broken = true; '",
    '{"a": [1, 2, "</script>"]}',
    "<!-- <script> ]]>",
    "{{script}} ${window.broken = true} \\u003cscript>",
    "javascript:window.broken=true",
    "line\nbreak \u2028 \u202e \x00 \x1b[31m",
    "y" * 10_000,
]


def test_hostile_names_are_text_and_no_script_runs(shown):
    with scope('</style><script>window.broken = true</script>"'):
        y = Tensor([1.0, 2.0], requires_grad=True, name=HOSTILE[0])
        for name in HOSTILE[1:]:
            y = y * Tensor([1.0, 2.0], requires_grad=True, name=name)
    y.name = HOSTILE[1]
    y.backward(np.ones(2))
    page = shown(steps(y))
    told = ""
    for _ in range(len(steps(y))):
        page.press("p", "\ue014")
        told += page.text("#step")
    page.press("/", *"script", "\ue007")
    assert page.run("return window.broken") is None
    assert page.run("return document.querySelectorAll('img, iframe, object').length") == 0
    assert page.run("return document.scripts.length") == 2  # the data and the page's own
    assert "<script>wind" in told
    assert '{"a": [1, 2,' in told
    assert (
        page.run("return document.title")
        == "Steps of </script><script>window.broken = true</script> (2)"
    )
    assert not page.problems()


def test_embedded_data_is_the_data():
    for name in HOSTILE:
        assert json.loads(embed_json({"name": name}))["name"] == name
        assert not set("<>&\u2028\u2029") & set(embed_json({"name": name}))


def test_the_page_asks_nothing_of_any_network(shown, G):
    asked = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = shown(steps(G))
        page.press("\ue014", "p", "c", "d", "\ue010")
        assert page.requests() == {f"file://{page.path}"}
        # Nor could it, whatever ran in it.
        address = f"http://127.0.0.1:{server.server_address[1]}/"
        page.browser.execute_async_script(
            """
            const [address, done] = arguments;
            const image = new Image();
            image.src = address + "image";
            const frame = document.body.appendChild(document.createElement("iframe"));
            frame.src = address + "frame";
            const script = document.body.appendChild(document.createElement("script"));
            script.src = address + "script";
            navigator.sendBeacon(address + "beacon");
            try { new WebSocket(address.replace("http", "ws") + "socket"); } catch {}
            fetch(address + "fetch").catch(() => 0).then(() => setTimeout(done, 300));
            """,
            address,
        )
        assert asked == []
        assert any("Content Security Policy" in problem for problem in page.problems())
    finally:
        server.shutdown()
        server.server_close()


# Size and speed


def test_a_300_node_graph_steps_without_lag(shown):
    y = Tensor(np.linspace(-1, 1, 16).reshape(4, 4), requires_grad=True, name="x")
    for i in range(149):
        y = tanh(y) if i % 2 else sigmoid(y) * Tensor(1.0 + i, name=f"c{i}")
    some = steps(y, np.ones((4, 4)))
    assert len(some.graph) >= 298
    page = shown(some)
    assert page.run("return document.querySelectorAll('.node').length") >= 298
    times = page.run(
        """
        const times = [];
        for (let i = 0; i < 200; i++) {
          const began = performance.now();
          document.getElementById("right").click();
          void document.body.offsetHeight;  // with its layout
          times.push(performance.now() - began);
        }
        return times;
        """
    )
    assert page.at == 201
    assert np.median(times) < 50


@pytest.mark.slow
def test_a_page_never_grows_past_its_limit_and_says_what_it_left_out(shown):
    y = Tensor(np.random.default_rng(0).standard_normal((60, 60)), requires_grad=True, name="x")
    for i in range(200):
        with scope(f"block{i}"):
            y = tanh(y * 1.01)
    page = shown(steps(y, np.ones((60, 60))))
    size = page.path.stat().st_size
    assert LARGEST / 4 < size <= LARGEST
    assert "holds arrays of up to" in page.text("#step")
    long = Tensor(1.0, requires_grad=True)
    for i in range(6_000):
        with scope(f"s{i // 3}"):
            long = long * 1.0001
    page = shown(steps(long))
    assert page.path.stat().st_size <= LARGEST
    assert "Left out, as the page would be too large" in page.text("#note")
    assert "to 12,000" in page.text("#note")


def test_the_same_steps_give_the_same_page(tmp_path, G):
    some = steps(G)
    some.save(tmp_path / "a.html")
    steps(G).save(tmp_path / "b.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    some.graph.save(tmp_path / "c.html")  # a graph's page is that of its steps
    assert (tmp_path / "c.html").read_bytes() == (tmp_path / "a.html").read_bytes()


def test_every_box_and_arrow_of_the_graph_is_there(shown, G):
    page = shown(steps(G))
    ids = set(page.run("return [...document.querySelectorAll('.view g[id]')].map((e) => e.id)"))
    drawn = tl.graph(G).picture()
    assert {box.id for box in drawn.boxes} | {arrow.id for arrow in drawn.arrows} <= ids


def test_saving_refuses_what_it_cannot_write(tmp_path, G):
    with pytest.raises(ValueError, match=r"use one of \.html"):
        steps(G).save(tmp_path / "steps.pdf")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        steps(G).save(tmp_path / "nowhere" / "steps.html")
    with pytest.raises(ValueError, match="nothing was computed"):
        steps(Tensor(1.0)).save(tmp_path / "none.html")
    assert list(tmp_path.iterdir()) == []


# Long computations


def test_a_step_touches_only_what_it_changes(shown):
    """What every element would have to be worked out anew for, and drawn with an animation."""
    y = Tensor(1.0, requires_grad=True, name="x")
    for i in range(1500):
        with scope(f"s{i // 5}"):
            y = y * 1.001
    page = shown(steps(y), "#700")
    assert page.run("return document.getElementById('scrub').max") == "3001"
    page.run("""
        window.touched = new Set();
        new MutationObserver((all) => all.forEach((m) => touched.add(m.target.tagName)))
          .observe(document.documentElement, { attributes: true, attributeFilter: ["data-way"],
            subtree: true });
        window.looks = 0;
        const some = Array.prototype.some;
        Array.prototype.some = function (f) {
          window.looks += this.length;
          return some.call(this, f);
        };
    """)
    page.press("b")
    assert page.badge.startswith("backward")
    touched = set(page.run("return [...touched]"))
    assert touched == {"DIV"}  # of the step
    assert not touched & {"HTML", "BODY", "MAIN", "SECTION", "svg"}
    faded = "return getComputedStyle(document.querySelector('.node:not(.lit, .now)'))"
    assert page.run(f"{faded}.transitionDuration") == "0s"
    page.press("/")
    assert page.run("return document.querySelectorAll('#hits li').length") == 50
    assert page.run("return window.looks") < 50 * 3000


JUMP = """
  const views = document.getElementById("views"), scrub = document.getElementById("scrub");
  const styles = () => new Map([...views.querySelectorAll("g, text")].map((element) => {
    const { opacity, display } = getComputedStyle(element);
    return [element, opacity + display];
  }));
  const before = styles(), observer = new MutationObserver(() => {});
  observer.observe(views, { attributes: true, subtree: true });
  scrub.value = arguments[0];
  scrub.dispatchEvent(new Event("input"));
  const changed = new Set(observer.takeRecords().map((record) => record.target));
  for (const [element, style] of styles()) if (style !== before.get(element)) changed.add(element);
  const ids = [...views.querySelectorAll(".ahead[id], .ahead [id], .trail.ahead, .ahead .trail")]
    .map((element) => element.id || element.dataset.wire);
  return [changed.size, ids, getComputedStyle(views.querySelector(".trails")).opacity];
"""


@pytest.mark.parametrize("part", [slice(None), slice(500, None)], ids=["all steps", "a slice"])
def test_a_far_jump_changes_groups_and_not_each_element(shown, part, monkeypatch):
    unfolded = lambda graph: [diagram(graph, fold=False)]  # of many elements
    monkeypatch.setattr(page_data, "diagrams", unfolded)
    y = Tensor(0.0)
    for i in range(16):
        row = start = Tensor(1.0 + i, requires_grad=True)
        for _ in range(20):
            row = row * tl.exp(Tensor(0.001))  # no gradient reaches exp
        y = y + row + start
    some = steps(y)[part]
    page = shown(some)
    ids = page.run("return [...document.querySelectorAll('[id].node, [id].edge')].map((e) => e.id)")
    assert len(ids) > 2000
    arrows = set(
        page.run("return [...document.querySelectorAll('.trail')].map(e => e.dataset.wire)")
    )
    number = {(step.direction, step.id): step.number for step in some}

    def still_to_come(id, step):
        node = int(re.search(r"\d+", id)[0])
        if step.direction == "forward":
            return number.get(("forward", node), 0) > step.number
        return id in arrows and number.get(("backward", node), np.inf) > step.number

    farthest, before = 0, {id for id in ids if still_to_come(id, some[0])}
    for i in np.random.default_rng(0).integers(len(some), size=20).tolist():
        changed, faded, numbers = page.run(JUMP, i + 1)
        assert set(faded) == {id for id in ids if still_to_come(id, some[i])}
        assert (numbers == "0") == (some[i].direction == "forward")
        assert changed < 600
        farthest, before = max(farthest, len(before ^ set(faded))), set(faded)
    assert farthest > 800


def test_a_step_of_many_inputs_shows_the_rest_when_asked_and_wrong_rules_at_once(shown):
    @tl.op(sequence=True)
    def total(arrays):
        return np.sum(np.stack(arrays), axis=0)

    total.vjp(lambda g, out, arrays: [g * (1 + (i == 90)) for i, _ in enumerate(arrays)])
    x = Tensor(1.0, requires_grad=True, name="x")
    with scope("fan"):
        y = total([x * float(i) for i in range(100)])
    page = shown(steps(y, check=True), "#102")
    assert page.badge == "backward 1 of 101"
    count = "return document.querySelectorAll('#step .rule').length"
    assert page.run(count) == 24
    assert page.text("#step .check").startswith("✗")
    buttons = "[...document.querySelectorAll('#step button')]"
    page.run(f"{buttons}.find((b) => b.innerText === '76 more').click()")
    assert page.run(count) == 100


# Other ways to see it


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_is_cut_off_at_any_width(shown, G, width):
    page = shown(steps(G, check=True), "#15")
    set_size(page, width, 800)
    try:
        page.open("#15")
        assert page.run("return document.documentElement.scrollWidth") <= width
        for part in ("#code", "#views", "#step"):
            box = "return document.querySelector(arguments[0]).getBoundingClientRect().toJSON()"
            size = [page.run(box, part)[side] for side in ("width", "height")]
            assert min(size) > 120
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_less_motion_where_less_is_preferred(shown, G):
    page = shown(steps(G))
    page.media(prefers_reduced_motion="reduce")
    page.open()
    page.run("""
      window.scrolled = [];
      Element.prototype.scrollTo = function (to) { window.scrolled.push(to.behavior) };
    """)
    page.press("\ue010", "\ue011")
    assert "smooth" not in page.run("return window.scrolled")
    assert (
        page.run("return getComputedStyle(document.querySelector('.node')).transitionDuration")
        == "0s"
    )


def test_a_notebook_shows_it_in_a_sandboxed_frame(chromium, tmp_path, G):
    shown = steps(G)._repr_html_()
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    host = tmp_path / "notebook.html"
    host.write_text(f"<!DOCTYPE html><title>{html.escape('host')}</title>{shown}", "utf-8")
    page = Page(chromium, host).open()
    frame = chromium.find_element("tag name", "iframe")
    chromium.switch_to.frame(frame)
    try:
        assert page.badge == "forward 1 of 10"
        page.click("right")
        assert page.badge == "forward 2 of 10"
        reached = page.run("try { return parent.document.title } catch { return 'refused' }")
        assert reached == "refused"
    finally:
        chromium.switch_to.default_content()
    assert not page.problems()


# A comparison


@pytest.fixture
def compared(shown):
    F, G, _ = skip_networks(34)
    return shown(tl.compare(F, G, gradient=np.ones(4)))


def lit(page, side):
    """The names of the ops that are lit as current in a picture."""
    return page.run(
        "return [...document.querySelectorAll('.view')[arguments[0]].querySelectorAll('.node.now')]"
        ".map((e) => e.getAttribute('aria-label'))",
        side,
    )


def test_computations_step_together(compared):
    page, seen = compared, []
    last = int(page.run("return document.getElementById('scrub').max"))
    for _ in range(last):
        first, second = lit(page, 0), lit(page, 1)
        seen.append((bool(first), bool(second)))
        if first and second:  # what both have is lit in both
            assert {x.split(",")[0] for x in first} & {x.split(",")[0] for x in second}
        page.press("\ue014")
    assert seen.count((True, True)) == 2 * 9
    assert seen.count((False, True)) == 2  # G's sum, forward and backward
    assert not page.problems()


def test_the_same_parameter_is_marked_in_all_pictures_and_in_the_table(compared):
    page = compared
    page.run("document.querySelector('tr[data-row=\"0\"]').onmouseenter()")
    marked = page.run("return [...document.querySelectorAll('.node.twin')].map((e) => e.ariaLabel)")
    assert [label.split(",")[0] for label in marked] == ["W1", "W1"]
    page.run("document.querySelector('tr[data-row=\"0\"]').onmouseleave()")
    assert page.run("return document.querySelectorAll('.twin').length") == 0
    page.run("document.querySelector('tr[data-row=\"2\"] button').click()")
    assert "What if, for W2" in page.text("#compare")


def test_the_table_is_sorted_as_one_wishes(compared):
    F, G, _ = skip_networks(34)
    found = tl.compare(F, G, gradient=np.ones(4))
    order = "return [...document.querySelectorAll('.compared tbody th')].map((e) => e.innerText)"
    names = [row.name for row in found.rows]
    assert compared.run(order) == names
    header = "[...document.querySelectorAll('.compared thead button')]"
    compared.run(f"{header}.find((b) => b.innerText.startsWith('|∂G|')).click()")
    sizes = {row.name: row.second.norm for row in found.rows}
    assert compared.run(order) == sorted(names, key=lambda name: -sizes[name])
    compared.run(f"{header}.find((b) => b.innerText.startsWith('|∂G|')).click()")
    assert compared.run(order) == sorted(names, key=lambda name: sizes[name])


def test_stopped_and_ablated_stand_side_by_side_under_two_losses(compared):
    _, G, _ = skip_networks(34)
    W1 = next(n.tensor for n in tl.graph(G) if n.name == "W1")
    told = compared.text("#compare .cuts")
    for loss in (None, lambda y: (y * y).sum() / 2):
        start = None if loss else np.ones(4)
        for row in tl.what_if(G, W1, "skips", loss=loss, gradient=start):
            for size in (row.stopped_norm, row.ablated_norm):
                assert f"{size:#.3g}".rstrip(".") in told


@pytest.mark.parametrize("n", [3, 4])
def test_more_than_two_are_compared(shown, n):
    F, G, t = skip_networks(34)
    closed = tl.replay(G, {"b3": t["b3"].data + 20})
    some = [F, G, closed, tl.replay(G, ablate=["f3"])][:n]
    page = shown(tl.compare(*some, gradient=np.ones(4)), "#19")
    assert all(lit(page, side) for side in range(n))  # W2 @ z, in each
    page.run("document.querySelector('tr[data-row=\"0\"]').onmouseenter()")
    marked = page.run("return [...document.querySelectorAll('.node.twin')].map((e) => e.ariaLabel)")
    assert [label.split(",")[0] for label in marked] == ["W1"] * n
    header = "[...document.querySelectorAll('.compared thead button')]"
    titles = page.run(f"return {header}.map((b) => b.innerText)")
    column = [title for title in titles if title.startswith("|∂")][-1]
    page.run(f"{header}.find((b) => b.innerText === arguments[0]).click()", column)
    cells = page.run(
        "return [...document.querySelectorAll('.compared tbody tr')]"
        ".map((row) => row.cells[arguments[0]].innerText)",
        n,
    )
    sizes = [float(text.split()[0].replace("−", "-")) for text in cells]
    assert sizes == sorted(sizes, reverse=True)
    assert not page.problems()


# Other files, and other readers


def test_pictures_leave_the_page(shown, G):
    page = shown(steps(G), "#14")
    # What is handed to the reader is read as it is made: the page itself may fetch nothing.
    page.run("""
      window.files = [];
      const real = URL.createObjectURL;
      URL.createObjectURL = (blob) => {
        const read = new FileReader();
        read.onload = () => files.push([blob.type, read.result]);
        read.readAsDataURL(blob);
        return real(blob);
      };
      HTMLAnchorElement.prototype.click = () => {};
    """)
    found = {}
    for what in ("svg", "film", "png"):
        page.click(f"export-{what}")
        wanted = "image/png" if what == "png" else "image/svg+xml"
        until(lambda: page.run("return files.at(-1)?.[0]") == wanted)
        _, data = page.run("return files.pop()")
        found[what] = base64.b64decode(data.split(",")[1])
        page.run("files.length = 0")
    assert found["png"].startswith(b"\x89PNG")
    for what in ("svg", "film"):
        root = ElementTree.fromstring(found[what])
        assert root.tag.endswith("svg")
        assert b"var(--" not in found[what]
        assert {"G", "W1"} <= {text.strip() for text in root.itertext()}
    assert b"animateMotion" in found["film"]
    assert b"animateMotion" not in found["svg"]
    assert not page.problems()


def test_the_step_as_latex(shown, G):
    page = shown(steps(G), "#14").click("export-latex")
    assert page.text("#exported") == (
        "\\begin{aligned}\n"
        "  \\frac{\\partial L}{\\partial W_3} &= g y^{\\top} \\\\\n"
        "  \\frac{\\partial L}{\\partial y} &= W_3^{\\top} g\n"
        "\\end{aligned}"
    )


def test_printed_the_graph_is_whole_and_nothing_is_pressed(shown, G):
    page = shown(steps(G), "#14")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        whole = page.run("""
          const graph = document.querySelector(".view:not([hidden]) svg").getBoundingClientRect();
          const buttons = [...document.querySelectorAll("button")].filter((b) => b.offsetParent);
          return [graph.width <= innerWidth, buttons.map((b) => b.className).join(" "),
            getComputedStyle(document.querySelector("#step")).overflow];
        """)
        assert whole[0]
        assert set(whole[1].split()) <= {"chip"}
        assert whole[2] == "visible"
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_printed_a_comparison_keeps_its_table(compared):
    page = compared
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    set_size(page, 720, 1000)  # a sheet of paper between its margins
    try:
        seen, wide = page.run("""
          const names = [...document.querySelectorAll(".compared tbody button")];
          return [names.filter((b) => b.getBoundingClientRect().width > 0).map((b) => b.innerText),
            document.documentElement.scrollWidth];
        """)
        assert seen == ["W1", "b1", "W2", "b2", "W3", "b3"]
        assert wide <= 720
    finally:
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_paper_is_light(shown, G):
    page = shown(steps(G), "#14").press("d")
    theme = "return document.documentElement.dataset.theme"
    before = page.run(theme)
    if before == "light":
        page.press("d")
    page.run("""
      const seen = window.seen = [];
      const look = () => seen.push(document.documentElement.dataset.theme);
      addEventListener("beforeprint", look);
      addEventListener("afterprint", look);
    """)
    page.browser.execute_cdp_cmd("Page.printToPDF", {})
    assert page.run("return window.seen") == ["light", "dark"]


def test_on_a_phone_the_controls_are_one_row_and_the_step_is_first(shown, G):
    page = shown(steps(G), "#14")
    set_size(page, 375, 844)
    try:
        page.open("#14")
        tops = page.run(
            "return [...document.querySelectorAll('header button')].filter((b) => b.offsetParent)"
            ".map((b) => b.getBoundingClientRect().top)"
        )
        assert len(tops) == 9
        assert len(set(tops)) == 1
        panes = page.run(
            "return ['step', 'graph', 'paths', 'source'].map((name) =>"
            "document.querySelector(`.pane.${name}`).getBoundingClientRect().top)"
        )
        assert panes == sorted(panes)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def axe():
    """The text of axe-core: where AXE_CORE says, else beside the repository's other tools."""
    file = os.environ.get("AXE_CORE", "node_modules/axe-core/axe.min.js")
    if not os.path.exists(file):
        assert os.environ.get("TINYGRAD_LITE_REQUIRE_ALL") != "1", "no axe-core"
        pytest.skip("needs axe-core, of npm: AXE_CORE says where axe.min.js is")
    with open(file, encoding="utf-8") as text:
        return text.read()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("what", ["forward", "backward", "path", "flow", "all", "compare"])
def test_axe_finds_nothing_serious(shown, G, theme, what):
    script = axe()
    answer = (
        tl.compare(*skip_networks()[:2], gradient=np.ones(4)) if what == "compare" else steps(G)
    )
    page = shown(answer)
    page.media(prefers_color_scheme=theme, prefers_reduced_motion="reduce")
    page.open({"forward": "#3", "backward": "#15"}.get(what, "#21"))
    page.press(*{"path": "]p", "flow": "w"}.get(what, ""))
    page.run(script)
    found = page.browser.execute_async_script(
        "const done = arguments[0]; axe.run(document).then((r) => done(r.violations.map((v) =>"
        "[v.impact, v.id, v.nodes.slice(0, 3).map((n) => n.target.join(' ') + n.failureSummary)])))"
    )
    assert [one for one in found if one[0] in ("serious", "critical")] == []


def test_every_control_is_reached_by_keys_and_every_box_is_read_out(shown, G):
    page = shown(steps(G), "#14")
    labels = page.run(
        "return [...document.querySelectorAll('.node')].map((e) => [e.tabIndex, e.ariaLabel])"
    )
    assert all(index == 0 for index, _ in labels)
    told = [label for _, label in labels]
    assert any(label.startswith("W1, parameter (4×3)") for label in told)
    assert any("gradient norm" in label for label in told)
    node = next(n.id for n in tl.graph(G) if n.name == "W1")
    page.run(f"document.querySelector('#n{node}').focus()")
    page.press("\ue007")
    assert page.run("return document.querySelector('#travel select').value") == str(node)
    grip = "document.getElementById('grip-graph')"
    before = page.run("return document.querySelector('.pane.graph').offsetHeight")
    page.run(f"{grip}.focus()")
    page.press("\ue015")
    assert page.run("return document.querySelector('.pane.graph').offsetHeight") > before
    assert page.at == 14
