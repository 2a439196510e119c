"""What stands around pictures: what they show, their curves, captions, and one legend for all."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..text import oneline
from .curves import draw_curves
from .layout import Layout
from .picture import GREY, SIZE, SMALL, Picture
from .svg import MARGIN, document, draw, legend, shorten, source, text, wrap

PLOT = 300.0  # the width of curves below a narrow unit
WORDS = 560.0  # and of the sentences above it
NARROWEST = 420.0  # room for the legend below a small picture


def compose(pictures: Sequence[Picture], layouts: Sequence[Layout]) -> str:
    """One SVG of the pictures, one below the other, each with its heading; then the
    captions, and one legend for all."""
    description = "\n\n".join(p.description for p in pictures if p.description)
    root = document("; ".join(p.title for p in pictures if p.title), shorten(description))
    width, y = NARROWEST, MARGIN
    for i, picture in enumerate(pictures):
        if picture.heading:
            text(root, MARGIN, y + SIZE, oneline(picture.heading, 80), size=13, font_weight="bold")
            y += 22
        width = max(width, layouts[i].width)
        y = findings(root, picture, width, y)
        draw(root, picture, layouts[i], f"p{i}-" * (i > 0), y)
        right, y = curves(root, picture, layouts[i], y)
        width, y = max(width, right), y + MARGIN
    for caption in dict.fromkeys(p.caption for p in pictures if p.caption):
        for line in wrap(caption, width, SMALL):
            text(root, MARGIN, y + SMALL, line, color=GREY, size=SMALL)
            y += 13
    y = legend(root, [e for p in pictures for e in p.legend], width, y + 4)
    return source(root, width + 2 * MARGIN, y + MARGIN)


def findings(root: ET.Element, picture: Picture, width: float, y: float) -> float:
    """What repeats in a picture, and what its curves say, above it; where the next thing goes."""
    repeats = [*picture.repeats.values()]
    if not repeats:
        return y
    text(root, MARGIN, y + 13, headline(picture), size=15, font_weight="bold")
    y += 22
    for n, repeat in enumerate(repeats, 1):
        which = f"In frame {n}: " if len(repeats) > 1 and repeat.finding else ""
        for line in wrap(f"{which}{repeat.finding}", max(width, WORDS), SIZE):
            text(root, MARGIN, y + SIZE, line, color=GREY)
            y += 15
    return y + 4


def headline(picture: Picture) -> str:
    """What repeats in a picture."""
    repeats = [*picture.repeats.values()]
    times = " + ".join(str(repeat.times) for repeat in repeats)
    return f"{times} {repeats[0].word}s alike: {repeats[0].values:,} values in one picture"


def curves(root: ET.Element, picture: Picture, laid: Layout, y: float) -> tuple[float, float]:
    """The curves of each unit below it; how far to the right and below they reach."""
    right, bottom = 0.0, y + laid.height
    for i, path in enumerate((picture.base or picture).frames, 1):
        repeat = picture.repeats.get(path[-1])
        if repeat and repeat.curves:
            left, _, end, _ = laid.frames[f"scope{i}"][0]
            left = max(left, right - MARGIN + 30 if right else 0.0)
            width = max(end - left, PLOT)
            at = y + laid.height + 8
            at = draw_curves(root, repeat, MARGIN + left, width, at)
            right, bottom = MARGIN + left + width + 44, max(bottom, at)
    return right, bottom
