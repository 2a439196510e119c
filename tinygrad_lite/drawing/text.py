"""Text for people: names on one line, numbers with few digits, and the room they need."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar
from unicodedata import combining, east_asian_width

Item = TypeVar("Item", bound=Hashable)

# Widths in units of the font size, those of DejaVu Sans rounded up: it is the widest of the
# usual sans-serif faces, so what fits with it fits with Helvetica, Arial or Roboto too.
NARROW, WIDE = set("ijl.,:;'|!`Il "), set("mwMWOQ@%—…→≈∂ΣΩ")


def oneline(text: str, limit: int = 24) -> str:
    """`text` on one line: white space collapsed, what cannot be printed shown as U+FFFD,
    and at most `limit` characters, the middle left out.

    >>> oneline("a long\\nname " * 9, 16)
    'a long n…ng name'
    """
    text = " ".join(text.split())
    if len(text) > limit:
        head = limit // 2
        text = text[:head] + "…" + text[len(text) - (limit - head - 1) :]
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def printable(text: str) -> str:
    """`text` with everything but newlines made fit for XML and a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def text_width(text: str, size: float) -> float:
    """The room that one line of text needs, in the unit of the font's `size`; an upper
    bound for the usual sans-serif faces."""
    width = 0.0
    for c in text:
        if combining(c):
            continue
        if c in NARROW:
            width += 0.4
        elif c in WIDE or east_asian_width(c) in "WF" or ord(c) > 0x2FFF:
            width += 1.05
        else:
            width += 0.78 if c.isupper() else 0.65
    return width * size


def number(x: float, digits: int = 3) -> str:
    """A number as pictures and tables write it: `digits` significant ones.

    >>> [number(x) for x in (0.0, 2.0, 123.0, 0.06131, 1.2e-32, math.nan, -math.inf)]
    ['0', '2.00', '123', '0.0613', '1.20e-32', 'NaN', '-∞']
    """
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    return f"{x:#.{digits}g}".rstrip(".") if x else "0"


def tree(
    root: Item,
    children: Callable[[Item], Iterable[tuple[str, Item]]],
    line: Callable[[Item], str],
    name: Callable[[Item], str],
    deepest: int = 12,
) -> str:
    """A graph as an indented tree in which everything is printed once.

    `children` gives what stands below an item, each with a note to put after its line.
    `line` is what is printed for an item, `name` what refers to it where it comes again.
    Below `deepest` levels the tree goes on further down, again from the left edge, at the
    line that begins with ↳.

    >>> below = {"y": [("", "u"), ("", "x")], "u": [("", "x")], "x": []}
    >>> print(tree("y", below.get, str, str))
    y
    ├─ u
    │  └─ x
    └─ → x
    """
    out: list[str] = []
    seen = {root}
    later = deque([root])
    while later:
        top = later.popleft()
        out.append(line(top) if top == root else f"↳ {name(top)}")
        stack = [("", child, note, last) for note, child, last in reversed(marked(children(top)))]
        while stack:
            indent, item, note, last = stack.pop()
            start = indent + ("└─ " if last else "├─ ")
            if item in seen:
                out.append(f"{start}→ {name(item)}{note}")
                continue
            seen.add(item)
            below = marked(children(item))
            if below and len(indent) >= 3 * (deepest - 1):
                out.append(f"{start}{line(item)}{note}   ↳ {name(item)}")
                later.append(item)
                continue
            out.append(start + line(item) + note)
            inner = indent + ("   " if last else "│  ")
            stack.extend((inner, child, note, end) for note, child, end in reversed(below))
    return "\n".join(out)


def marked(children: Iterable[tuple[str, Item]]) -> list[tuple[str, Item, bool]]:
    """The children, each with whether it is the last."""
    found = list(children)
    return [(note, child, i == len(found) - 1) for i, (note, child) in enumerate(found)]
