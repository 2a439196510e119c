"""What the values of a computation are called: by their own names, else by where they are found.

Nothing is searched before someone looks. Then the objects are walked that the caller's code can
reach: those in `names`, the local variables, and the global ones; and a value is called by the
shortest way to it, as ``net.layers[0].W`` or ``params["b1"]``. One that no way leads to is called
by the expression that made it, with the names that stand there.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

import numpy as np

from ..ancestors import ancestors, in_order, place_in_order
from ..text import oneline
from ..value import Value
from .expressions import ATOM, nested_call
from .lines import LIBRARIES, place_of

Key = TypeVar("Key")

DEEPEST = 8  # steps from a variable to a value
MOST = 10_000  # objects that are looked at
LONGEST = 24  # characters of an expression
INNER = 10  # characters of an expression within another

OURS = __name__.partition(".")[0]
CLOSED = (
    np.ndarray, np.generic, int, float, complex, str, bytes, type(None), type, ModuleType, CodeType,
    FunctionType, MethodType,
)  # fmt: skip


class Names:
    """What the values of some outputs' computations are called; no two are called the same.
    `ways` are those that an earlier search found: with them nothing is searched."""

    def __init__(
        self, outputs: Iterable[Value], given: Any = None, ways: dict[Value, str] | None = None
    ) -> None:
        self.values, self.given = in_order(ancestors(outputs)), given
        own = {v: v._name for v in self.values if v._name}
        ways = self.search(given) if ways is None else ways
        self.found = distinct(own | {v: way for v, way in ways.items() if v not in own})

    def search(self, given: Any) -> dict[Value, str]:
        """The ways to the values, the shortest each; what a replay made is called as what it was
        made from."""
        ways: dict[Value, str] = {}
        known = set(self.values)
        replayed = {v.place: v for v in self.values if hasattr(v, "place")}
        for x, way in reachable(roots(given)):
            value = x if x in known or not replayed else replayed.get(place_in_order(x))
            if value in known:
                ways.setdefault(value, way)
        return ways

    def name(self, value: Value) -> str | None:
        """The name of a value, None if it has none."""
        return self.found.get(value)

    def title(self, value: Value) -> str:
        """What text calls a value: its name on one line, else the expression that made it."""
        name = self.found.get(value)  # most need no expression made
        return short_way(name) if name else self.titles.get(value) or "the input"

    def meant(self, name: str) -> Value | None:
        """The value that a name means: the one that is called so, else the one to which it leads
        from the variables by attributes, keys and indices; nothing is called on the way."""
        for called in (self.found.get, self.title):
            for value in self.values:
                if called(value) == name:
                    return value
        for variables in roots(self.given):
            x = variables.get("", variables)
            for link in links(name):
                try:
                    x = None if isinstance(x, Value) else follow(link, x)
                except Exception:  # a property may raise any
                    x = None
            if isinstance(x, Value):
                return x
        return None

    def where(self, value: Value) -> str:
        """What made a value, for a remark: its title, and the line if that was noted."""
        line = self.line(value)
        return f"{self.title(value)}, line {line}" if line else self.title(value)

    def line(self, value: Value) -> str:
        """The number of the line that made a value, behind the name of its file if there are
        several; empty where it was not noted."""
        place = place_of(value.source) if value.op else None
        if place is None:
            return ""
        file, number = place.source
        return str(number) if len(self.files) == 1 else f"{os.path.basename(file)}:{number}"

    @cached_property
    def files(self) -> set[str]:
        """The files in which the values were made, as far as lines were noted."""
        places = (place_of(v.source) for v in self.values if v.op)
        return {place.source[0] for place in places if place}

    @property
    def hint(self) -> str:
        """How to have lines named, where none were noted."""
        known = self.files or not any(v.op for v in self.values)
        return "" if known else "Compute inside `with source_lines():` to have lines named here."

    def made(self, value: Value) -> str:
        """How a value was made: its name, the call, and the line if that was noted."""
        if value.op is None:
            return self.title(value)
        call = self.call(value)
        text = oneline(f"{self.title(value)} = {call}" if value in self.found else call, 80)
        line = self.line(value)
        return f"{text}, line {line}" if line else text

    def call(self, value: Value) -> str:
        """The op that made a value, applied to what its operands are called."""
        return nested_call(value.op, self.operands(value), value.params)[0]  # type: ignore[arg-type]

    def operands(self, value: Value) -> list[tuple[str, int]]:
        """What text calls the operands of a value, and how tightly each holds together."""
        return [self.texts[x] if isinstance(x, Value) else (str(x), ATOM) for x in value.inputs]

    @cached_property
    def titles(self) -> dict[Value, str]:
        """What text calls each value."""
        named = {v: self.texts[v][0] for v in self.found}
        unnamed = {v: text for v, (text, _) in self.texts.items() if v not in named}
        return named | distinct(unnamed, named.values())

    @cached_property
    def texts(self) -> dict[Value, tuple[str, int]]:
        """The name of each value, or else the expression that made it, though others be called so
        too; and how tightly it holds together."""
        named = {v: short_way(name) for v, name in self.found.items()}
        texts: dict[Any, tuple[str, int]] = {v: (text, ATOM) for v, text in named.items()}
        for v in self.values:
            if v.op is not None and v not in texts:
                operands = [texts[x] if isinstance(x, Value) else (str(x), ATOM) for x in v.inputs]
                for i, x in enumerate(v.inputs):
                    text, tight = operands[i]
                    if x in named:
                        operands[i] = short_way(text, LONGEST - 6), tight
                    elif isinstance(x, Value) and len(text) > INNER:
                        operands[i] = "…", ATOM
                text, tight = nested_call(v.op, operands, v.params)
                place = place_of(v.source) if "…" in text else None
                text = (place and place.expression) or text  # which has the names that stand there
                texts[v] = oneline(text, LONGEST), tight
            elif v not in texts:
                kind = "parameter" if v._requires_grad else "input"
                texts[v] = f"{kind} {v._array.shape}", ATOM
        return texts


def short_way(name: str, limit: int = 60) -> str:
    """A name, or the way to a value, on one line of at most so many characters: steps that are no
    index are left out, the first from the left, then what is in the middle."""
    steps = re.split(r"(?<!^)(?=\.|\[)", oneline(name, 200))
    for i, step in enumerate(steps[1:-1], 1):
        if len("".join(steps)) > limit and step.startswith("."):
            steps[i] = "…" if steps[i - 1] != "…" else ""
    return oneline("".join(steps), limit)


def names_of(output: Value, names: Any = None) -> Names:
    """The names for an output: `names` itself where it is some, else what is found in it."""
    return names if isinstance(names, Names) else Names([output], names)


def distinct(names: Mapping[Key, str], taken: Iterable[str] = ()) -> dict[Key, str]:
    """The names, those that are taken or came before made others: W, W (2), W (3)."""
    counts = dict.fromkeys(taken, 1)
    made = {}
    for value, name in names.items():
        given = name
        while given in counts:
            counts[name] = n = counts.get(name, 1) + 1
            given = f"{name} ({n})"
        counts[given] = 1
        made[value] = given
    return made


def roots(given: Any) -> Iterator[dict[str, Any]]:
    """What to search, one after the other: `given`, the local variables of the caller and of its
    callers in the user's code, the global ones."""
    if given is not None:
        yield {"": vars(given) if isinstance(given, ModuleType) else given}
    frame: Any = sys._getframe(1)
    variables: list[dict[str, Any]] = []
    while frame is not None:
        if not frame.f_code.co_filename.startswith(LIBRARIES):
            variables.insert(len(variables) // 2, frame.f_locals)
            variables.append(frame.f_globals)
        frame = frame.f_back
    for some in variables:
        yield {k: x for k, x in [*some.items()] if k.isidentifier() and k[0] != "_"}


def reachable(start: Iterable[dict[str, Any]]) -> Iterator[tuple[Value, str]]:
    """The values that can be reached, each with the ways to it: from what stands first in `start`,
    by the shortest."""
    seen: set[int] = set()
    for variables in start:
        waiting = deque((way, x, 0) for way, x in variables.items())
        while waiting and len(seen) < MOST:
            way, x, depth = waiting.popleft()
            if isinstance(x, Value):
                yield x, way
            elif id(x) not in seen and not is_closed(x) and depth < DEEPEST:
                seen.add(id(x))
                with suppress(Exception):  # some objects do not let themselves be looked at
                    for step, y in islice(parts(x, way), MOST):
                        if isinstance(y, Value) or not is_closed(y):
                            waiting.append((f"{way}{step}".lstrip("."), y, depth + 1))


def links(name: str) -> list[ast.expr]:
    """A name link by link: `net`, `net.layers`, `net.layers[0]`; none where it is anything but
    attributes, keys and indices of a variable."""
    try:
        found = [ast.parse(name, mode="eval").body]
        while not isinstance(link := found[0], ast.Name):
            if isinstance(link, ast.Subscript):
                ast.literal_eval(link.slice)
            elif not isinstance(link, ast.Attribute):
                return []
            found.insert(0, link.value)
    except (SyntaxError, ValueError):
        return []
    return found


def follow(link: ast.expr, x: Any) -> Any:
    """What a link leads to from all variables, or from what the link before it led to."""
    match link:
        case ast.Name(id):
            return x[id] if isinstance(x, Mapping) else getattr(x, id)
        case ast.Attribute(_, attribute):
            return getattr(x, attribute)
        case ast.Subscript(_, index):
            return x[ast.literal_eval(index)]


def nearest(name: str, names: Sequence[str]) -> str:
    """Those of some names that are like one, else the first of them, as a message lists them."""
    close = get_close_matches(name, names, n=3, cutoff=0.5) or names[:8]
    return ", ".join(x for x in names if x in close)


def is_closed(x: Any) -> bool:
    """Whether an object is not looked into: it can hold no Tensor, or is of this package."""
    return isinstance(x, CLOSED) or type(x).__module__.startswith(OURS)


def parts(x: Any, way: str) -> Iterator[tuple[str, Any]]:
    """What an object holds, each with what to write behind the way to the object."""
    if isinstance(x, dict):
        for key, y in [*x.items()]:
            if isinstance(key, str):
                yield f"[{json.dumps(key)}]" if way else key, y
            else:
                yield f"[{key!r}]", y
    elif isinstance(x, tuple) and hasattr(x, "_fields"):
        yield from ((f".{name}", y) for name, y in zip(x._fields, x, strict=True))
    elif isinstance(x, (list, tuple, deque)):
        yield from ((f"[{i}]", y) for i, y in enumerate(x))
    else:
        yield from ((f".{name}", y) for name, y in [*getattr(x, "__dict__", {}).items()])
        for kind in type(x).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if hasattr(x, name):
                    yield f".{name}", getattr(x, name)
