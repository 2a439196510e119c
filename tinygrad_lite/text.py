"""Text for people: names on one line, numbers with few digits, and the room they need."""

from __future__ import annotations

import codecs
import math
import textwrap
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from decimal import Decimal
from typing import Any, TypeVar
from unicodedata import combining, east_asian_width, name, normalize

Item = TypeVar("Item", bound=Hashable)

DIGITS = (3, 6, 9, 12, 17)  # of the numbers in a formula: the first with which it holds
CLOSE = 0.02  # what they come to, to what stands behind the "=" with three digits

# What stands for a letter where an encoding lacks it, so that the text still says the same.
PLAIN_LETTERS = {
    "∂": "d", "×": "x", "·": "*", "÷": "/", "−": "-", "±": "+-", "≈": "~", "≠": "!=", "≤": "<=",
    "≥": ">=", "∞": "inf", "√": "sqrt", "∛": "cbrt", "Σ": "sum", "∑": "sum", "Π": "prod",
    "∏": "prod", "‖": "||", "ᵀ": "^T", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5",
    "⁶": "^6", "⁷": "^7", "⁸": "^8", "⁹": "^9", "⁻": "^-", "′": "'", "⌊": "floor(", "⌋": ")",
    "½": "1/2", "µ": "u", "→": "->", "↳": "=>", "…": "...", "—": "-", "–": "-", "‹": "<", "›": ">",
    "│": "|", "├": "|", "└": "`", "─": "-", "━": "=", "┃": "|", "╭": ".", "╮": ".", "█": "#",
    "▒": "%", "▶": ">", "◀": "<", "▼": "v", "▸": ">", "◆": "@", "⋯": "...",
    "◺": "tril", "◹": "triu", "\ufffd": "?",
}  # fmt: skip


class Letters(dict[int, str]):
    """A table for `str.translate` that is filled as letters come: what stands for each."""

    def __init__(self, meaning: Callable[[str], str]) -> None:
        self.meaning = meaning

    def __missing__(self, code: int) -> str:
        self[code] = made = self.meaning(chr(code))
        return made


# Widths in units of the font size, those of DejaVu Sans rounded up: it is the widest of the
# usual sans-serif faces, so what fits with it fits with Helvetica, Arial or Roboto too.
NARROW, WIDE = set("ijl.,:;'|!`Il "), set("mwMWOQ@%—…→≈∂ΣΩ")
WIDTHS = {"n": 0.4, "w": 1.05, "u": 0.78, "l": 0.65}


def kind_of(c: str) -> str:
    """How wide a letter is, as a key of `WIDTHS`; nothing for one above another."""
    if combining(c):
        return ""
    if c in NARROW:
        return "n"
    if c in WIDE or east_asian_width(c) in "WF" or ord(c) > 0x2FFF:
        return "w"
    return "u" if c.isupper() else "l"


KINDS = Letters(kind_of)
CELLS = Letters(lambda c: "" if combining(c) else "12" if east_asian_width(c) in "WF" else "1")
SHOWN = Letters(lambda c: c if c.isprintable() or c == "\n" else "\ufffd")


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
    return printable(text)


def printable(text: str) -> str:
    """`text` with everything but newlines made fit for XML and a terminal."""
    return text if text.isprintable() else text.translate(SHOWN)


def transliterate(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that an encoding lacks: others that mean the same, a Greek letter's
    name, a letter without its accents, else its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = "".join(map(plain_letter, error.object[error.start : error.end]))
    return plain.replace("^-^", "^-"), error.end


def plain_letter(c: str) -> str:
    """A character in ASCII."""
    if c in PLAIN_LETTERS:
        return PLAIN_LETTERS[c]
    if (called := name(c, "")).startswith("GREEK "):
        greek = called.split(" WITH ")[0].split()[-1]
        return greek.capitalize() if c.isupper() else greek.lower()
    bare = normalize("NFD", c).encode("ascii", "ignore").decode()
    return bare or c.encode("ascii", "backslashreplace").decode()


TRANSLITERATE = "tinygrad_lite.transliterate"
codecs.register_error(TRANSLITERATE, transliterate)


def encodable(text: str, encoding: str | None) -> str:
    """`text` in letters that the encoding has."""
    encoding = encoding or "ascii"
    return text.encode(encoding, TRANSLITERATE).decode(encoding)


def clip(text: str, width: int) -> str:
    """Text of at most `width` characters; where it is cut it ends in an ellipsis."""
    return text if len(text) <= width else (text[: width - 1] + "…")[: max(0, width)]


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """A text over as many lines as it needs, those after the first behind the indent, where
    there is room for one."""
    indent = indent if len(indent) < width // 2 else ""
    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def first_lines(text: str, most: int) -> str:
    """At most so many lines of a text, and how many more there are."""
    lines = text.split("\n")
    more = len(lines) - most
    return "\n".join(lines[:most] + [and_more(more)] * (more > 0))


def and_more(n: int) -> str:
    """What a console says instead of so many lines."""
    return f"… {n:,} more; print(...) shows all"


def cells(text: str) -> int:
    """How many places of a terminal a text takes; some letters take two."""
    return len(text.translate(CELLS))


def fit_cells(text: str, width: int) -> str:
    """The beginning of a text that fits into `width` places of a terminal."""
    if cells(text) <= width:
        return text
    ends = range(len(text) + 1)
    return text[: bisect_right(ends, width, key=lambda end: cells(text[:end])) - 1]


def text_width(text: str, size: float) -> float:
    """The room that one line of text needs, in the unit of the font's `size`; an upper
    bound for the usual sans-serif faces."""
    kinds = text.translate(KINDS)
    return size * sum(width * kinds.count(kind) for kind, width in WIDTHS.items())


def number(x: float, digits: int = 3) -> str:
    """A number as pictures and tables write it: `digits` significant ones.

    >>> [number(x) for x in (-0.0, 2.0, -123.0, 0.06131, 1.2e-32, math.nan, -math.inf)]
    ['0', '2.00', '−123', '0.0613', '1.20e-32', 'NaN', '−∞']
    """
    if math.isnan(x):
        return "NaN"
    if x != float(x) and float(x) in (0.0, math.inf, -math.inf):  # a longdouble
        return minus(f"{Decimal(str(x)):.{digits - 1}e}")
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    return minus(f"{x:#.{digits}g}".rstrip(".")) if x else "0"


def minus(text: str) -> str:
    """A number's text with the sign for minus that mathematics has, as long as the one for plus;
    that of an exponent stays."""
    return f"−{text[1:]}" if text.startswith("-") else text


def signed(x: float, digits: int = 3) -> str:
    """A number with its sign, plus or minus; 0 has none.

    >>> signed(0.5), signed(-2.0), signed(-0.0)
    ('+0.500', '−2.00', '0')
    """
    return f"+{number(x, digits)}" if x > 0 else number(x, digits)


def plain_number(x: Any) -> str:
    """A number as it was written, where that is short; else with three digits.

    >>> plain_number(2.0), plain_number(-0.125), plain_number(1 / 3)
    ('2.0', '−0.125', '0.333')
    """
    text = str(x)
    return (
        text
        if text in ("True", "False")
        else minus(text)
        if x and math.isfinite(x) and len(text) <= 6
        else number(x)
    )


def written_sums(rows: Sequence[Sequence[float]]) -> list[list[str]]:
    """Rows of numbers, each of the parts of a sum and what they make together, signed and with so
    many digits, the same in all, that each comes out; else "≈" stands before the whole.

    >>> written_sums([[0.5727, -0.2707, 0.3020]])
    [['+0.573', '−0.271', '= +0.302']]
    >>> written_sums([[2.0, 0.0904, 2.0904], [1.0, -1.0, 0.0]])
    [['+2.000', '+0.090', '= +2.090'], ['+1.000', '−1.000', '= 0']]
    """
    largest = max((abs(x) for row in rows for x in row), default=0.0)
    if not 0 < largest < math.inf:
        return [[*map(signed, row[:-1]), f"= {signed(row[-1])}"] for row in rows]
    first, shift = digits_of(largest)
    for decimals in [*range(first, first + 6), first]:
        shown = [[decimal(x, decimals, shift) for x in row] for row in rows]
        exact = [sum(row[:-1]) == row[-1] for row in shown]
        pairs = (
            (d, x) for ds, xs in zip(shown, rows, strict=True) for d, x in zip(ds, xs, strict=True)
        )
        if all(exact) and all(not x or abs(d) * 10**decimals >= 10 for d, x in pairs):
            break
    made = []
    for ds, xs, comes_out in zip(shown, rows, exact, strict=True):
        *parts, whole = (fixed(d, x, shift) for d, x in zip(ds, xs, strict=True))
        sign = "=" if comes_out and whole != "≈0" else "≈"
        made.append([*parts, f"{sign} {whole.lstrip('≈')}"])
    return made


def signed_all(numbers: Sequence[float]) -> list[str]:
    """Numbers with their signs, with as many decimals as the largest needs for three digits.

    >>> signed_all([0.126, -0.0041, 0.0])
    ['+0.126', '−0.004', '0']
    """
    largest = max(map(abs, numbers), default=0.0)
    if len(numbers) < 2 or not 0 < largest < math.inf:
        return [signed(x) for x in numbers]
    decimals, shift = digits_of(largest)
    return [fixed(decimal(x, decimals, shift), x, shift) for x in numbers]


def digits_of(largest: float) -> tuple[int, int]:
    """How many decimals a number has with three digits, and the power of ten it is written by."""
    power = math.floor(math.log10(largest))
    shift = power if not -3 <= power < 6 else 0
    return max(0, 2 - power + shift), shift


def decimal(x: float, decimals: int, shift: int) -> Decimal:
    """A number over a power of ten, rounded."""
    return Decimal(f"{float(x) / 10.0**shift:.{decimals}f}")


def fixed(d: Decimal, x: float, shift: int) -> str:
    """A rounded number with its sign and its power of ten; "≈0" where nothing of it is left."""
    tail = f"e{shift:+03d}" if shift else ""
    return minus(f"{d:+f}{tail}") if d else "≈0" if x else "0"


def equation(parts: Sequence[str], whole: str) -> list[str]:
    """A sum in a line, or, if that is long, in several: ``+0.573 − 0.271 = +0.302``."""
    rest = (f"{x[0]} {x[1:]}" if x[0] in "+−" else f"+ {x}" for x in parts[1:])
    lines = [""]
    for term in (*parts[:1], *rest, whole):
        if lines[-1] and len(lines[-1]) + len(term) > 24:
            lines.append("")
        lines[-1] = f"{lines[-1]} {term}".strip()
    return lines


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
    out = [line(root)]
    seen = {root}
    later: deque[Item] = deque()

    def write(item: Item, indent: str) -> None:
        """What stands below an item that is itself written."""
        below = list(children(item))
        for i, (note, child) in enumerate(below, 1):
            mark, inner = ("├─ ", "│  ") if i < len(below) else ("└─ ", "   ")
            if child in seen:
                out.append(f"{indent}{mark}→ {name(child)}{note}")
                continue
            seen.add(child)
            out.append(f"{indent}{mark}{line(child)}{note}")
            if len(indent) < 3 * (deepest - 1):
                write(child, indent + inner)
            elif list(children(child)):
                out[-1] += f"   ↳ {name(child)}"
                later.append(child)

    write(root, "")
    while later:
        top = later.popleft()
        out.append(f"↳ {name(top)}")
        write(top, "")
    return "\n".join(out)


def is_torch(x: Any) -> bool:
    """Whether something is PyTorch's."""
    return type(x).__module__.partition(".")[0] == "torch"


def type_name(x: Any) -> str:
    """What an error calls something that is no Tensor of ours: by its type."""
    return f"a torch {type(x).__name__}" if is_torch(x) else f"of type {type(x).__name__}"
