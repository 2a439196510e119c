"""Results in a notebook: its cells run without Jupyter, and what they show looked at in a browser.

JupyterLab and VS Code say on <body> whether their theme is light or dark. The reader's system may
say otherwise, and the cell itself has no background.
"""

import ast
import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import require

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SETUP = next(
    code for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "compare" in code
)

# What stands in the cells of a notebook, one question each.
CELLS = {
    "graph": "graph(G)",
    "paths": "paths(G, wrt=W1, gradient=ones)",
    "flow": "flow(G, wrt=W1, gradient=ones)",
    "compare": "compare(F, G, gradient=ones)",
    "classes": "path_classes(G, wrt=W1, gradient=ones)",
    "profile": "profile(G)",
    "what_if": "what_if(G, wrt=W1, gradient=ones)",
    "history": "history = History()\nhistory.record(G)\nhistory",
    "steps": "steps(G, ones)",
    "wide": "h = G\nfor _ in range(40):\n    h = sigmoid(h)\ngraph(h, ones)",
}
FORMULAS = ("paths", "compare", "classes")
LIGHT, DARK = (255, 255, 255), (17, 17, 17)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What each cell shows: its last line's `_repr_html_`, as Jupyter takes it."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        exec(SETUP, names)
    exec("from tinygrad_lite import *", names)
    found = {}
    for name, cell in CELLS.items():
        *before, last = ast.parse(cell).body
        exec(compile(ast.Module(before, []), "<cell>", "exec"), names)
        result = eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)
        found[name] = result._repr_html_()
    return found


class Sanitised(HTMLParser):
    """What a notebook that is not trusted leaves of a cell: neither scripts, styles, frames, nor
    SVG elements, but the text in these."""

    KEPT = (
        "div",
        "p",
        "img",
        "table",
        "thead",
        "tbody",
        "tr",
        "td",
        "th",
        "details",
        "summary",
        "pre",
    )

    def __init__(self, cell):
        super().__init__()
        self.text, self.images, self.inside = "", 0, ""
        self.feed(cell)

    def handle_starttag(self, tag, attrs):
        self.images += tag == "img" and dict(attrs)["src"].startswith("data:image/svg+xml;")
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.text += data * (self.inside != "style")


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_has_a_picture_and_text_and_formulas(shown, name):
    cell = ET.fromstring(f"<div>{shown[name].replace(' srcdoc', ' data')}</div>")
    assert len([*cell.iter("img"), *cell.iter("iframe")]) == 1
    table = name not in ("graph", "wide", "steps")
    assert bool([*cell.iter("table")]) == table
    assert (
        bool([*cell.iter("details")]) != table
    )  # the text tree, or the steps, unfolded on request
    written = re.findall(r"\$\$(.+?)\$\$", "".join(cell.itertext()))
    assert bool(written) == (name in FORMULAS)
    assert all(r"\frac{\partial" in formula for formula in written)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_that_is_not_trusted_still_shows_its_picture_and_no_debris(shown, name):
    left = Sanitised(shown[name])
    assert left.images == (name != "steps")
    outside = re.sub(r"<details>.*?</details>", "", shown[name], flags=re.DOTALL)
    assert "not computed" not in Sanitised(outside).text  # what an SVG's own text would say
    assert "├" not in Sanitised(outside).text


# In a browser

HOST = """<!DOCTYPE html><meta charset="utf-8"><title>notebook</title>
<style>body {{ margin: 0; font: 14px sans-serif; background: {background}; color: {ink} }}
.cell {{ width: {room}px; margin: 0 0 20px 10px }}</style>
<body {theme}>{cells}"""
# Of a notebook's theme: what stands on <body>, background and text.
THEMES = {
    "lab light": ('data-jp-theme-light="true"', "#ffffff", "#000000"),
    "lab dark": ('data-jp-theme-light="false"', "#111111", "#e0e0e0"),
    "vscode light": ('class="vscode-light"', "#ffffff", "#000000"),
    "vscode dark": ('class="vscode-dark"', "#111111", "#e0e0e0"),
    "color-scheme": ('style="color-scheme:dark"', "#111111", "#e0e0e0"),
}


@pytest.fixture
def notebook(chromium, tmp_path, shown):
    def show(theme, system, room=900, cells=CELLS):
        body, background, ink = THEMES[theme]
        html = "".join(f'<div class="cell" id="{name}">{shown[name]}</div>' for name in cells)
        host = tmp_path / "notebook.html"
        page = HOST.format(theme=body, background=background, ink=ink, room=room, cells=html)
        host.write_text(page, "utf-8")
        features = [{"name": "prefers-color-scheme", "value": system}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        chromium.get(f"file://{host}")
        return chromium

    yield show
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("room", [320, 700, 900, 1200])
def test_nothing_is_cut_off(notebook, room):
    """No cell is wider than its room, a picture that is has a bar to scroll it with, and each is
    as wide as its letters need."""
    browser = notebook("lab dark", "light", room)
    for name in CELLS:
        width, images, boxes = browser.execute_script(
            """const cell = document.getElementById(arguments[0]);
            const size = x => [x.getBoundingClientRect().width, x.clientWidth, x.scrollWidth,
                               getComputedStyle(x).overflowX, x.naturalWidth];
            return [cell.scrollWidth, [...cell.querySelectorAll('img')].map(size),
                    [...cell.querySelectorAll('div')].map(size)]""",
            name,
        )
        assert width <= room, name
        for shown_width, *_, natural in images:
            assert natural > 100
            assert shown_width >= 0.37 * natural, name
            assert shown_width <= max(room, 0.51 * natural), name
        for _, inner, content, overflow, _ in boxes:
            assert content <= inner + 1 or overflow == "auto", name


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize("theme", THEMES)
def test_pictures_are_light_or_dark_as_the_notebook_is(notebook, theme, system):
    """Whatever the system says: the paper's pixels are read from a screenshot."""
    Image = require("PIL.Image")
    browser = notebook(theme, system, cells=["graph", "steps"])
    dark = "light" not in theme
    for name, kind in (("graph", "img"), ("steps", "iframe")):
        element = browser.find_element("css selector", f"#{name} {kind}")
        browser.execute_script("arguments[0].scrollIntoView()", element)
        pixels = Image.open(io.BytesIO(element.screenshot_as_png)).convert("L")
        for x in (5, pixels.width - 5):
            for y in (5, pixels.height - 5):
                paper = pixels.getpixel((x, y))
                assert (paper < 64) if dark else (paper > 192), (theme, system, name, x, y)


CONTRASTS = """
const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const parts = text => text.match(/[\\d.]+/g).map(Number);
const fill = x => parts(getComputedStyle(x).fill);
return [...document.querySelectorAll('text')].map(text => {
  const paper = fill(text.closest('svg').querySelector(':scope > rect'));
  // What is painted behind a text: the last filled shape of its own group, else the paper.
  const shapes = [...text.parentNode.children].filter(
    x => /^(path|polygon|ellipse|rect)$/.test(x.tagName) && getComputedStyle(x).fill !== 'none');
  const inBox = /\\bnode\\b/.test(text.parentNode.getAttribute('class') || '') && shapes.length;
  const [a, b] = [fill(text), inBox ? fill(shapes.at(-1)) : paper].map(light).sort((x, y) => y - x);
  return [text.textContent, (a + 0.05) / (b + 0.05)];
});
"""


@pytest.mark.parametrize("name", [name for name in CELLS if name != "steps"])
def test_letters_stand_out_in_a_dark_notebook(chromium, tmp_path, shown, name):
    """At least 4.5:1, WCAG's bound for text, on the box or paper behind them. The picture draws its
    own paper, so that it matters not what is behind the cell."""
    data = re.search(r"base64,([^\"]+)", shown[name])[1]
    picture = tmp_path / "picture.svg"
    picture.write_bytes(base64.b64decode(data))
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    chromium.get(f"file://{picture}")
    found = chromium.execute_script(CONTRASTS)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert len(found) > 4
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


def test_tables_take_the_notebooks_own_colours(notebook):
    browser = notebook("lab dark", "light")
    for cell in browser.find_elements("css selector", "td, th, summary, p"):
        assert cell.value_of_css_property("color") == "rgba(224, 224, 224, 1)"
