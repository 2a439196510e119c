"""One offline page: pictures, a text beside them, and steps that light both.

Everything is inside the file: markup, style and script from the three files next to this
one, the pictures as SVG, the data as JSON. Its content policy forbids any request, and any
script but its own, so a name can do no harm even if it were not escaped; it is, twice over:
Python escapes what becomes markup, and the script only ever sets text.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .svg import THEMES, dark_style

HERE = Path(__file__).parent
LARGEST = 5_000_000  # bytes of a page, at most


def page(title: str, pictures: Sequence[str], data: Mapping[str, Any]) -> str:
    """The page as HTML: `pictures` are the SVG of each view, `data` what page.js reads."""
    frame, style, script = (
        (HERE / f"page.{kind}").read_text("utf-8") for kind in ("html", "css", "js")
    )
    style += dark_style('[data-theme="dark"] .tinygrad-lite')
    # The page's own theme colours the pictures.
    views = (re.sub("<style>.*?</style>", "", svg, count=1, flags=re.DOTALL) for svg in pictures)
    sources = f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}"
    parts = {
        "policy": f"{sources}; base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style,
        "script": script,
        "views": "\n".join(f'<div class="view" hidden>{view}</div>' for view in views),
        "data": embed_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], frame)


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
    """A page as a notebook shows it: in a frame that may run its script and nothing else, and is
    light or dark as the notebook is."""
    return (
        f'<style>{THEMES}</style><iframe class="tinygrad-lite" sandbox="allow-scripts" '
        f'srcdoc="{html.escape(page)}" '
        f'style="box-sizing:border-box;width:100%;height:{height}px;border:1px solid #8884;'
        'border-radius:6px" '
        'title="steps of a computation"></iframe>'
    )
