"""Text tables and the few ways numbers are written in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns in plain text: the first flush left, the others flush right.

    A last column whose header is empty holds remarks, and is flush left too.
    """
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    remark = len(header) - 1 if not header[-1] else None
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in (0, remark) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def percent(share: float | None) -> str:
    """A signed share as a percentage; "-" where there is none.

    >>> percent(1.313), percent(-0.0123), percent(1e-9), percent(None)
    ('+131 %', '-1.2 %', '≈0 %', '-')
    """
    if share is None:
        return "-"
    if abs(share) < 5e-4:
        return "≈0 %" if share else "0 %"
    return f"{100 * share:+.{0 if abs(share) >= 0.1 else 1}f} %"


def count(n: int) -> str:
    """An exact integer, grouped by thousands; past 15 digits its power of ten.

    >>> count(2**40), count(2**20_000)
    ('1,099,511,627,776', '3.98e6020')
    """
    if n < 10**15:
        return f"{n:,}"
    return f"{Decimal(n):.2e}".replace("+", "")  # Python writes no int of over 4300 digits
