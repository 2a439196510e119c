"""What every question gives: data that can be printed, saved, and shown in a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, ClassVar, overload

import graphviz
import numpy as np

from ..drawing.picture import Direction, Picture
from ..drawing.render import encode, png, svg
from ..drawing.svg import fit_width, image
from ..drawing.table import Table
from ..files import file_path, json_text, save_file, strict, whole_file
from ..recorded.measure import narrow, norm
from ..recorded.nodes import Edge
from ..recorded.states import State
from ..text import first_lines, number
from .formulas import LATEX, TEXT, Formula

LINES = 60  # of a table, in a console
ROWS = 1000  # in a notebook, where they scroll
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ margin: 2rem; }}
</style>
{body}
</html>
"""
UNDRAWABLE = (RuntimeError, ValueError)  # no Graphviz here; too large for it


class Numbers:
    """An object whose attributes named in `numbers` say all that JSON holds of it."""

    __slots__ = ()
    numbers: ClassVar[tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """The numbers, as plain data for JSON; an edge as (source, target, slot)."""
        return attributes(self, self.numbers)


def attributes(x: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Some attributes of an object, as plain data."""
    return {name: plain(getattr(x, name)) for name in names}


def plain(x: Any) -> Any:
    """Anything that a result is made of, as plain data."""
    if isinstance(x, Numbers):
        return x.to_json()
    if isinstance(x, Edge):
        return [x.source, x.target, x.slot]
    if isinstance(x, tuple):
        return [plain(item) for item in x]
    if hasattr(x, "__array__"):
        array = np.asarray(x)
        if array.dtype == np.longdouble:  # what no float holds is a string, as NaN is
            array = np.vectorize(json_number, [object])(array)
        data = array.tolist()
        return data if array.dtype != object and np.isfinite(array).all() else strict(data)
    return x


def json_number(x: np.longdouble) -> float | str:
    """A number as a float, or as text where no float holds it."""
    held = narrow(x)
    return held if isinstance(held, float) else str(x)


class Item(Numbers):
    """One of the things that an answer lists: `cells` are its row in the table, `header` says
    what they are."""

    __slots__ = ()
    header: ClassVar[tuple[str, ...]]
    cells: Callable[[], tuple[str, ...]]

    def __repr__(self) -> str:
        shown = zip(self.header, self.cells(), strict=True)
        row = ", ".join(f"{what} {cell}".strip() for what, cell in shown if cell)
        return f"{type(self).__name__}({row})"


class Result:
    """An answer: numbers as attributes, text by `str`, and a file by `save`."""

    suffixes: ClassVar[tuple[str, ...]]
    # What files are made of: a result has those of them that its suffixes need.
    to_json: Callable[[], dict[str, Any]]
    pictures: Callable[..., Sequence[Picture]]
    svg: Callable[..., str]
    page: Callable[..., str]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into a file, in the format that the suffix says.

        Raises: ValueError for a suffix not among `suffixes`, or what is too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where the format
        cannot be made on this machine. The file is written whole or not at all.
        """
        save_file(path, self.suffixes, self.content)

    def content(self, suffix: str, **how: Any) -> bytes:
        """What a file with this suffix holds; `how` says how it is drawn."""
        match suffix:
            case ".html":
                return self.page(**how).encode()
            case ".json":
                return json_text(self.to_json()).encode()
            case ".pdf" | ".dot":
                return encode(suffix, *self.pictures(**how))
            case ".png":
                return png(self.svg(**how))
        return self.svg(**how).encode()


def as_text(result: object) -> str:
    """An answer as text, which a notebook unfolds on request."""
    text = escape(first_lines(str(result), ROWS))
    style = "font-family:monospace;line-height:1.2;white-space:pre;overflow-x:auto"
    return f'<details><summary>as text</summary><pre style="{style}">{text}</pre></details>\n'


class Chart(Numbers, Result):
    """An answer that is shown as a table, as a picture (.svg or .png), and as a page of both.

    A console shows the first rows of the table, a notebook the picture and the table; below
    stands the chain rule written out, where the answer has `formulas`.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".html")
    table: Callable[[], Table]

    @property
    def formulas(self) -> Sequence[Formula]:
        """The chain rule written out."""
        return ()

    @property
    def formulas_shown(self) -> Sequence[Formula]:
        """Those formulas that stand below the table."""
        return self.formulas

    def __str__(self) -> str:
        return "\n".join(map(str, (self.table(), *self.formulas_shown)))

    def __repr__(self) -> str:
        return "\n".join(map(str, (self.table().first(LINES), *self.formulas_shown)))

    def _repr_svg_(self) -> str | None:
        with suppress(*UNDRAWABLE):
            return self.svg()
        return None

    def _repr_html_(self) -> str:
        try:
            shown = image(self.svg())
        except UNDRAWABLE as error:
            shown = f"<p>{escape(str(error))}</p>\n"
        return f'{shown}<div style="overflow:auto;max-height:40em">\n{self.text_html()}</div>'

    @property
    def subject(self) -> str:
        """What its page is called."""
        return self.table().above

    def page(self, **how: Any) -> str:
        """Picture and table as one HTML page; `how` says how it is drawn."""
        body = fit_width(self.svg(**how)) + self.table().html()
        return PAGE.format(title=escape(self.subject), body=body)

    def text_html(self) -> str:
        """What stands below the picture in a notebook."""
        table = self.table().first(ROWS).html()
        return table + "".join(formula.html() for formula in self.formulas_shown)


class Derived(Chart):
    """An answer with the chain rule written out: `formula` is text, `latex` its mathematics."""

    @property
    def formula(self) -> str:
        """The chain rule written out on one line; of a comparison, a line each."""
        return "\n".join(formula.write(TEXT) for formula in self.formulas)

    @property
    def latex(self) -> str:
        """The same in LaTeX, for its mathematics."""
        return "\n".join(formula.write(LATEX) for formula in self.formulas)


class Drawing(Chart):
    """An answer that is drawn on the graph of a computation."""

    suffixes: ClassVar[tuple[str, ...]] = (".svg", ".png", ".pdf", ".dot", ".html")
    picture: Callable[..., Picture]

    def pictures(self, fold: bool | None = None, direction: Direction = "LR") -> Sequence[Picture]:
        """The drawing as data: what stands one below the other."""
        return [self.picture(fold, direction)]

    def svg(self, fold: bool | None = None, direction: Direction = "LR") -> str:
        """The drawing as SVG; `fold` and `direction` as in `save`."""
        return svg(*self.pictures(fold, direction))

    @property
    def source(self) -> str:
        """The drawing in DOT, Graphviz's language; of a comparison, one graph after the other."""
        return self.pipe("dot", encoding="utf-8")

    @overload
    def pipe(self, format: str = ..., *, encoding: None = ...) -> bytes: ...
    @overload
    def pipe(self, format: str = ..., *, encoding: str) -> str: ...
    def pipe(self, format: str = "svg", *, encoding: str | None = None) -> bytes | str:
        """What `save` writes into a file of this format; with an encoding, as a str.

        Raises: ValueError for a format that `save` does not write; else as `save`.
        """
        suffix = f".{format}"
        if suffix not in self.suffixes:
            known = ", ".join(name[1:] for name in self.suffixes)
            raise ValueError(f"the format is one of {known}, but got {format!r}")
        data = self.content(suffix)
        return data if encoding is None else data.decode(encoding)

    def render(
        self,
        filename: str | os.PathLike[str] | None = None,
        format: str = "svg",
        directory: str | os.PathLike[str] | None = None,
        view: bool = False,
        cleanup: bool = False,
    ) -> str:
        """Write the drawing as the `graphviz` package does: its DOT source into `filename`
        ("Digraph.gv" if None) in `directory`, made where there is none, the drawing beside it
        under that name with the format as one more suffix, whose path is returned. `cleanup`
        leaves out the source, `view` opens the drawing in what the system opens such files with.

        Raises: as `pipe`, and as the system does where a file cannot be written.
        """
        contents = {f".{format}": self.pipe(format)}
        if not cleanup:
            contents[""] = self.source.encode()
        path = Path(directory or "", file_path("Digraph.gv" if filename is None else filename))
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix, data in contents.items():
            with whole_file(Path(f"{path}{suffix}")) as file:
                file.write(data)
        drawn = f"{path}.{format}"
        if view:
            graphviz.view(drawn)
        return drawn

    def save(
        self, path: str | os.PathLike[str], *, fold: bool | None = None, direction: Direction = "LR"
    ) -> None:
        """Write the drawing into a file, by its suffix: .svg, .png, .pdf, .dot, or .html, a page
        with the table below it; a comparison not as .pdf; a graph also as .json, and its .html
        is the page on which it is stepped through (see `steps`).

        `direction` is "LR" (left to right) or "TB" (top to bottom). `fold` says whether what
        repeats is drawn once, with curves over the repeats, and the ops of a scope as one box:
        True, False, or None for only if there are more than 60 boxes.

        Raises: ValueError for another suffix or direction, or a graph too large to draw;
        FileNotFoundError for a folder that does not exist; RuntimeError where the format
        cannot be made on this machine. The file is written whole or not at all.
        """
        content = partial(self.content, fold=fold, direction=direction)
        save_file(path, self.suffixes, content)


class Piece(Item):
    """A piece of a gradient, and its signed share of it (None where the gradient vanishes)."""

    __slots__ = ()
    contribution: np.ndarray
    share: float | None

    @property
    def norm(self) -> float:
        """The norm of the contribution."""
        return norm(self.contribution)


@dataclass(frozen=True, repr=False)
class Breakdown(Numbers):
    """The gradient of an output with respect to `wrt`, which is broken down into parts, and a
    remark on these; `state` says what became of it, and `first_bad` where its numbers or those of
    the computation first were not finite ("" if they are)."""

    numbers: ClassVar[tuple[str, ...]] = ("output", "wrt", "norm", "state", "note", "first_bad")

    gradient: np.ndarray
    output: str
    wrt: str
    note: str
    state: State
    first_bad: str

    @property
    def norm(self) -> float:
        """The norm of the gradient."""
        return norm(self.gradient)

    def heading(self, what: str) -> str:
        """The line above a table of the parts; `what` ends before the name of the output."""
        note = f" ({self.note})" if self.note else ""
        return f"{what} {self.output} to {self.wrt}, |gradient| {number(self.norm)}{note}"
