"""A computation in a few lines of text: the ops of one way from left to right, the leaves that
join them below, and arcs above for the values that go round some of them.

The way is the longest that passes the place where a step stands, so that this is always seen. What
joins from a branch that is not on the way is shown as ⋯.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..recorded.nodes import Computation, Edge, Node
from ..stepping.steps import Step
from ..text import cells, number, oneline

LEGEND = "line  ━ travelled   ─ not yet   ◀ ▼ way of the gradient   [ ] here   skip: round a branch"
ARCS = 2  # lines for arcs, at most


@dataclass
class Canvas:
    """Rows of letters that are written at places; those that are wide take two."""

    rows: dict[int, list[str]] = field(default_factory=dict)

    def write(self, row: int, at: int, text: str) -> None:
        """Write a text over what stands there."""
        line = self.rows.setdefault(row, [])
        line += [" "] * (at + cells(text) - len(line))
        for c in text:
            wide = cells(c)
            if wide:
                line[at : at + wide] = [c, *[""] * (wide - 1)]
            elif at:
                line[at - 1] += c
            at += wide

    def lines(self, first: int, width: int, folded: bool) -> list[str]:
        """The rows from the top down, from a column on, "…" where one goes on; or one of them."""
        shown = []
        for _, line in [(0, self.rows[0])] if folded else sorted(self.rows.items()):
            part = line[first : first + width]
            if first and any(c != " " for c in line[:first]):
                part[:1] = "…"
            if len(line) > first + width and width:
                part[-1] = "…"
            shown.append("".join(part).rstrip())
        return shown


class Strip:
    """The ways of a computation, and the lines that show one."""

    def __init__(self, graph: Computation) -> None:
        self.graph = graph
        n = len(graph)
        # The op next on the longest way to the output, and the operand next on the longest away.
        self.above: list[Edge | None] = [None] * n
        self.below: list[Edge | None] = [None] * n
        height, depth = [0] * n, [0] * n
        for node in graph:
            for edge in graph.into[node.id]:
                source = graph.nodes[edge.source]
                # Of leaves an input comes before a parameter, and that before a constant.
                rank = 2 * depth[edge.source] + (source.kind == "input")
                best = self.below[node.id]
                if source.kind == "constant":
                    continue
                if best is None or rank > 2 * depth[best.source] + (
                    graph.nodes[best.source].kind == "input"
                ):
                    self.below[node.id] = edge
                    depth[node.id] = depth[edge.source] + 1
        for node in reversed(graph.nodes):
            for edge in graph.out_of[node.id]:
                if self.above[node.id] is None or height[edge.target] + 1 > height[node.id]:
                    self.above[node.id] = edge
                    height[node.id] = height[edge.target] + 1

    def way(self, id: int) -> list[Edge]:
        """The edges of the longest way through a node, in the order of the computation."""
        way: list[Edge] = []
        edge = self.below[id]
        while edge is not None:
            way.append(edge)
            edge = self.below[edge.source]
        way.reverse()
        edge = self.above[id]
        while edge is not None:
            way.append(edge)
            edge = self.above[edge.target]
        return way

    def lines(
        self, step: Step, width: int, encode: Callable[[str], str], folded: bool = False
    ) -> list[str]:
        """The way through a step: arcs, the line itself, and two below it for what joins; folded,
        the line alone."""
        return Drawn(self.graph, self.way(step.id), step, encode, width // 4 + 2).lines(
            width, folded
        )


class Drawn:
    """One way, drawn for a step."""

    def __init__(
        self,
        graph: Computation,
        way: Sequence[Edge],
        step: Step,
        encode: Callable[[str], str],
        most: int,
    ) -> None:
        """At most so many ops on either side of the step are drawn."""
        self.graph, self.step, self.encode = graph, step, encode
        self.canvas = Canvas()
        ids = [*(e.source for e in way[:1]), *(e.target for e in way)] or [step.id]
        self.places = {id: i for i, id in enumerate(ids)}  # of what is on the way
        here = self.places[step.id]
        first, last = max(0, here - most), here + most
        self.into = {e.target: e for e in way}
        self.tails: dict[int, int] = {}  # where what a node gives begins its way
        self.heads: dict[int, int] = {}  # where its op stands
        self.end = 0
        for id in ids[first : last + 1]:
            self.end = self.place(graph.nodes[id], self.into.get(id), self.end)
        self.arcs()

    def travelled(self, edge: Edge) -> bool:
        """Whether what an edge carries has come through it by this step."""
        if self.step.direction == "forward":
            return edge.target <= self.step.id
        return edge.contribution is not None and edge.target >= self.step.id

    def stroke(self, edge: Edge) -> str:
        """A piece of line: which way it was travelled, and by how much just now."""
        if not self.travelled(edge):
            return " ─ "
        if self.step.direction == "forward":
            return " ━▶ " if edge.target == self.step.id else " ━ "
        return f" ◀━{self.sent(edge)}━ "

    def sent(self, edge: Edge) -> str:
        """The length of what an edge carries, where this step sends it."""
        return f" {number(edge.norm or 0.0)} " if edge.target == self.step.id else ""

    def place(self, node: Node, edge: Edge | None, x: int) -> int:
        """Write a node behind the edge that comes to it, what else joins it below; where the next
        thing may stand."""
        here = node.id == self.step.id
        name = self.encode(oneline(node.name or "", 12))
        symbol = self.encode(oneline(node.symbol or "", 8))
        if node.op is None:
            symbol, name = name or self.encode(oneline(self.graph.title(node), 12)), ""
        line = self.encode(self.stroke(edge)) if edge else ""
        joins = [e for e in self.graph.into[node.id] if e != edge]
        beside = [e for e in joins if e.source not in self.places]
        below = self.encode(self.joined(beside))
        symbol = f"[{symbol}]" if here else symbol
        room = max(cells(symbol), cells(below) - 2)  # a piece of line on either side is as wide
        self.canvas.write(0, x, line)
        x += cells(line)
        middle = x + room // 2
        self.canvas.write(0, x + (room - cells(symbol)) // 2, symbol)
        self.heads[node.id] = self.tails[node.id] = middle
        if below:
            come = any(self.travelled(e) for e in beside) and self.step.direction == "backward"
            mark = "▼" if come else "┃" if any(map(self.travelled, beside)) else "│"
            self.canvas.write(1, middle, self.encode(mark))
            self.canvas.write(2, max(0, x + (room - cells(below)) // 2), below)
        x += room
        if name:
            backward = self.step.direction == "backward"
            done = node.id >= self.step.id if backward else node.id <= self.step.id
            done = done and (node.gradient is not None or not backward)
            stroke = self.encode(" ◀━ " if done and backward else " ━ " if done else " ─ ")
            self.canvas.write(0, x, f"{stroke}{name}")
            x += cells(stroke)
            self.tails[node.id] = x + cells(name) // 2
            x += cells(name)
        return x

    def joined(self, edges: Sequence[Edge]) -> str:
        """What joins an op from beside the way: leaves by name, else ⋯."""
        nodes = (self.graph.nodes[e.source] for e in edges)
        return ",".join("⋯" if node.op else oneline(self.graph.title(node), 8) for node in nodes)

    def arcs(self) -> None:
        """Draw, above the line, the edges between what stands on it that pass something by."""
        near = [e for id in self.tails for e in (*self.graph.into[id], *self.graph.out_of[id])]
        found = [
            (self.tails.get(e.source, 0), self.heads.get(e.target, self.end), e)
            for e in dict.fromkeys(near)
            if e != self.into.get(e.target) and {e.source, e.target} <= self.places.keys()
        ]
        taken: list[list[tuple[int, int]]] = [[] for _ in range(ARCS)]
        for a, b, edge in sorted(found, key=lambda arc: arc[1] - arc[0]):
            free = (
                level for level, spans in enumerate(taken, 1)
                if all(b <= start or a >= end for start, end in spans)
            )  # fmt: skip
            level = next(free, 0)
            if level and b - a > 2:
                taken[level - 1].append((a, b))
                self.arc(edge, level, a, b)

    def arc(self, edge: Edge, level: int, a: int, b: int) -> None:
        """Draw one edge as an arc, with its ends down to the line."""
        done = self.travelled(edge)
        dash, side = ("━", "┃") if done else ("─", "│")
        back = done and self.step.direction == "backward"
        words = f"{'skip' if edge.skip else ''}{self.sent(edge) if back else ''}".strip()
        words = self.encode(f" {words} " if words else "")
        middle = (dash * (b - a - 1)).replace("━", self.encode("━")).replace("─", self.encode("─"))
        if len(words) <= len(middle):
            start = (len(middle) - len(words)) // 2
            middle = middle[:start] + words + middle[start + len(words) :]
        left = "▼" if back and level == 1 else "╭"
        self.canvas.write(-level, a, f"{self.encode(left)}{middle}")
        if not "".join(self.canvas.rows[-level][b : b + 1]).strip():  # where no other arc begins
            self.canvas.write(-level, b, self.encode("╮"))
        for lower in range(1, level):
            last = back and lower == 1
            self.canvas.write(-lower, a, self.encode("▼" if last else side))
            self.canvas.write(-lower, b, self.encode(side))

    def lines(self, width: int, folded: bool) -> list[str]:
        """The rows, or so much of them around the step as there is room for."""
        whole = max(map(len, self.canvas.rows.values()))
        middle = self.heads.get(self.step.id, 0)
        first = max(0, min(middle - width // 2, whole - width))
        return self.canvas.lines(first, width, folded)
