"""One offline page: pictures, a text beside them, and steps that light both.

Everything is inside the file: markup, style and script from the files of this folder, the
pictures as SVG, the data as JSON. The script is in a few files by concern, as modules that are
joined in the order of `SCRIPTS`. Its content policy forbids any request (a page with a server may
ask that one) and any script but its own, so a name can do no harm even if it were not escaped; it
is, twice over: Python escapes what becomes markup, and the script only ever sets text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..svg import THEMES, dark_style

HERE = Path(__file__).parent
LARGEST = 5_000_000  # bytes of a page, at most
# A file uses only those before it, while the page starts.
SCRIPTS = (
    "numbers", "formulas", "timeline", "geometry", "state", "dom", "values", "rules", "step",
    "source", "graph", "camera", "travel", "motion", "export", "compare", "changes",
    "live", "main",
)  # fmt: skip


def page(
    title: str, pictures: Sequence[str], data: Mapping[str, Any], *, served: bool = False
) -> str:
    """The page as HTML: `pictures` are the SVG of each view, `data` what the script reads. One
    that is `served` may ask its own server, and no other."""
    frame, style, script = (HERE / "frame.html").read_text("utf-8"), theme(), joined_script()
    # The page's own theme colours the pictures.
    views = (re.sub("<style>.*?</style>", "", svg, count=1, flags=re.DOTALL) for svg in pictures)
    # Pictures that are exported pass through blob: and data:, which are no sources outside.
    sources = {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "blob: data:",
        "connect-src": "'self'" if served else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    parts = {
        "policy": "; ".join(f"{what} {source}" for what, source in sources.items()),
        "title": html.escape(title),
        "style": style,
        "script": script,
        "views": "\n".join(f'<div class="view" hidden>{view}</div>' for view in views),
        "data": embed_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], frame)


@cache
def joined_script() -> str:
    """The files of the script as one module: without the lines that import and export."""
    texts = ((HERE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    return "\n".join(
        re.sub(r"^export (?=\w)", "", re.sub(r"(?ms)^import .*?;\n", "", text), flags=re.MULTILINE)
        for text in texts
    )


@cache
def theme() -> str:
    """The style of the page, and of the pictures in its dark theme."""
    return (HERE / "style.css").read_text("utf-8") + dark_style(
        '[data-theme="dark"] .tinygrad-lite'
    )


def digest(text: str) -> str:
    """What a content policy allows an inline style or script by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embed_json(data: Any) -> str:
    """JSON that cannot end the element it stands in, whatever strings it holds."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def notebook_frame(page: str, height: int = 640) -> str:
    """A page as a notebook shows it: in a frame that may run its script, hand out its files and
    nothing else, and is light or dark as the notebook is."""
    return (
        f'<style>{THEMES}</style><iframe class="tinygrad-lite" '
        f'sandbox="allow-scripts allow-downloads" srcdoc="{html.escape(page)}" '
        f'style="box-sizing:border-box;width:100%;height:{height}px;border:1px solid #8884;'
        'border-radius:6px" '
        'title="steps of a computation"></iframe>'
    )
