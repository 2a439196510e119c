"""What every question gives: data that can be printed, saved, and shown in a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..drawing.picture import Direction, Picture
from ..drawing.render import encode, png, svg
from ..files import json_text, save_file
from ..recorded.measure import norm
from ..text import number


class Result:
    """An answer: numbers as attributes, text by `str`, and a file by `save`."""

    suffixes: ClassVar[tuple[str, ...]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into a file, in the format that the suffix says.

        Raises: ValueError for a suffix not among `suffixes`, or what is too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where the format
        cannot be made on this machine. The file is written whole or not at all.
        """
        save_file(path, self.suffixes, self.content)

    def content(self, suffix: str) -> bytes:
        """What a file with this suffix holds."""
        raise NotImplementedError


class Chart(Result):
    """An answer that is shown as a picture: .svg or .png."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png")

    def svg(self) -> str:
        """The picture as SVG."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON."""
        raise NotImplementedError

    def content(self, suffix: str) -> bytes:
        """What a file with this suffix holds."""
        match suffix:
            case ".json":
                return json_text(self.to_json()).encode()
            case ".png":
                return png(self.svg())
        return self.svg().encode()

    def _repr_svg_(self) -> str:
        return self.svg()


class Drawing(Chart):
    """An answer that is drawn on the graph of a computation."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".pdf", ".dot")

    def picture(self, fold: bool | None = None, direction: Direction = "LR") -> Picture:
        """The drawing as data (drawing/picture.py)."""
        raise NotImplementedError

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """The drawing as SVG; `fold` and `direction` as in `save`."""
        return svg(self.picture(fold, direction))

    def save(
        self, path: str | os.PathLike[str], *, fold: bool | None = None, direction: Direction = "LR"
    ) -> None:
        """Write the drawing into a file, by its suffix: .svg, .png, .pdf or .dot; a graph also
        as .json, or as .html, the page on which it is stepped through (see `steps`); a
        comparison as .svg, .png, or .html (pictures and table).

        `direction` is "LR" (left to right) or "TB" (top to bottom). `fold` says whether
        scopes are drawn as one box each: True, False, or None for only if there are more
        than 300 boxes.

        Raises: ValueError for another suffix or direction, or a graph too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where the format
        cannot be made on this machine. The file is written whole or not at all.
        """
        save_file(path, self.suffixes, lambda suffix: self.content(suffix, fold, direction))

    def content(self, suffix: str, fold: bool | None = None, direction: Direction = "LR") -> bytes:
        """What a file with this suffix holds."""
        match suffix:
            case ".svg":
                return self.svg(fold, direction).encode()
            case ".png":
                return png(self.svg(fold, direction))
            case ".pdf" | ".dot":
                return encode(suffix, self.picture(fold, direction))
        return super().content(suffix)


@dataclass(frozen=True)
class Breakdown:
    """The gradient of an output with respect to `wrt`, which is broken down into parts, and a
    remark on these."""

    gradient: np.ndarray = field(repr=False)
    output: str
    wrt: str
    note: str

    def heading(self, what: str) -> str:
        """The line above a table of the parts; `what` ends before the name of the output."""
        size = f"|gradient| {number(norm(self.gradient))}"
        return f"{what} {self.output} to {self.wrt}, {size}" + (
            f" ({self.note})" if self.note else ""
        )

    def numbers(self) -> dict[str, Any]:
        """What the data for JSON begins with."""
        return {
            "output": self.output,
            "wrt": self.wrt,
            "norm": norm(self.gradient),
            "note": self.note,
        }
