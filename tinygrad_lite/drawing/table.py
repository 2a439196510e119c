"""Tables, as text and as HTML, and the few ways numbers are written in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from html import escape

from ..text import and_more


@dataclass(frozen=True)
class Table:
    """Rows of cells below a header, with a text above the whole and one below it.

    The first column stands flush left, the others flush right. A last column whose header
    is empty holds remarks, and is flush left too.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    above: str = ""
    below: str = ""

    @property
    def sides(self) -> list[str]:
        """Where the text of each column stands: "left" or "right"."""
        last = "right" if self.header[-1] else "left"
        return ["left", *["right"] * (len(self.header) - 2), last]

    def filled(self) -> Table:
        """The columns that have something in them; the first and the last in any case."""
        inner = range(1, len(self.header) - 1)
        empty = {i for i in inner if self.rows and not any(row[i] for row in self.rows)}
        header, *rows = (
            [cell for i, cell in enumerate(row) if i not in empty]
            for row in (self.header, *self.rows)
        )
        return replace(self, header=header, rows=rows)

    def first(self, most: int) -> Table:
        """At most so many of the rows, and below them how many more there are."""
        more = len(self.rows) - most
        if more <= 0:
            return self
        below = f"{and_more(more)}\n{self.below}".rstrip()
        return replace(self, rows=self.rows[:most], below=below)

    def __str__(self) -> str:
        lines = [self.header, *self.rows] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        to = ["<" if side == "left" else ">" for side in self.sides]
        aligned = ("  ".join(map("{:{}{}}".format, line, to, widths)).rstrip() for line in lines)
        return "\n".join(filter(None, (self.above, *aligned, self.below)))

    def html(self) -> str:
        """The same for a page: every cell on one line."""
        styles = [f"text-align:{side};white-space:nowrap;padding:.2em .8em" for side in self.sides]

        def line(cells: Sequence[str], tag: str) -> str:
            shown = zip(cells, styles, strict=True)
            return "".join(f'<{tag} style="{style}">{escape(x)}</{tag}>' for x, style in shown)

        above, below = (
            f'<p style="white-space:pre-line">{escape(text)}</p>\n' if text else ""
            for text in (self.above, self.below)
        )
        if not self.rows:
            return above + below
        rows = "".join(f"<tr>{line(row, 'td')}</tr>\n" for row in self.rows)
        return (
            f'{above}<table style="font-variant-numeric:tabular-nums;margin:.5em 0">\n'
            f"<thead><tr>{line(self.header, 'th')}</tr></thead>\n"
            f"<tbody>\n{rows}</tbody>\n</table>\n{below}"
        )


def percent(share: float | None) -> str:
    """A signed share as a percentage; "-" where there is none.

    >>> percent(1.313), percent(-0.0123), percent(1e-9), percent(None)
    ('+131 %', '−1.2 %', '≈0 %', '-')
    """
    if share is None:
        return "-"
    if abs(share) < 5e-4:
        return "≈0 %" if share else "0 %"
    text = f"{100 * abs(share):.{0 if abs(share) >= 0.1 else 1}f} %"
    return ("−" if share < 0 else "+") + text


def mark_of_share(largest: float) -> float:
    """The share that a scale up to the largest one is marked with: 100 %, where that can be seen;
    of what is less, all; of what is far more, 1, 2 or 4 times a power of ten."""
    if largest <= 4:
        return 1.0 if largest > 0.8 else largest
    power = 10.0 ** math.floor(math.log10(largest))
    return max(n * power for n in (1, 2, 4) if n * power <= largest)


def plain_percent(share: float) -> str:
    """A share as a scale is marked with it, without a sign where it is above 0."""
    size = 100 * abs(share)
    return "−" * (share < 0) + f"{size:{'.0f' if 100 <= size < 1e6 else '.3g'}} %"


def count(n: int) -> str:
    """An exact integer, grouped by thousands; past 15 digits its power of ten.

    >>> count(2**40), count(2**20_000)
    ('1,099,511,627,776', '3.98e6020')
    """
    if n < 10**15:
        return f"{n:,}"
    return f"{Decimal(n):.2e}".replace("+", "")  # Python writes no int of over 4300 digits
