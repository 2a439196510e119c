"""What a gradient does over the repeats of a unit: curves, and the sentence that they prove."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..drawing.picture import Curve, Repeat, Series
from ..drawing.table import percent
from ..recorded.fold import Unit, common_scope
from ..recorded.measure import norm, wide
from ..recorded.nodes import Computation, Edge
from ..recorded.states import APPEARANCE, State
from ..text import number
from .boxes import Diagram, Wire
from .units import MINOR, common_name, port_id, repeats_of

SharesOf = Callable[[Iterable[Edge]], float | None]
ALIKE = 1.1  # times: a gradient that changes by less keeps its size
NOTABLE = 0.02  # a share below 0 by as much opposes
NAMED = 3  # parameters that a curve names


class Stream(NamedTuple):
    """What the repeats hand on: its norm before the first and after each, None where no gradient
    was computed, and the states."""

    sizes: list[float | None]
    states: list[State]


def repeat_of(diagram: Diagram, unit: Unit, share: SharesOf | None = None) -> Repeat:
    """A unit's frame: its name, how often it comes, its curves, and what they say. `share` gives
    that of some edges in a flow; without it shares are those of the gradient at the fork."""
    graph, n, word = diagram.graph, len(unit.blocks), word_for(diagram.graph, unit)
    label = f"one {word}"
    if unit.names:
        label = (
            unit.names[0] if len(set(unit.names)) == 1 else f"{unit.names[0]} … {unit.names[-1]}"
        )
    streams = [stream_of(graph, unit, id) for id, lag in unit.ports if lag == 1]
    streams = [s for s in streams if any(s.sizes)]
    curves, sentences = [], []
    if streams:
        lines = tuple(Series("", tuple(map(shown, s.sizes))) for s in streams)
        first = f"before {word} 1" if streams[0].sizes[0] is not None else f"after {word} 1"
        curves.append(Curve("|g| on the stream", f"{first} … after {n}, log scale", lines, "line"))
        sentences += [along(streams[0], word)]
    curves += parameter_curves(graph, unit, word)
    branches = branches_of(diagram, unit, share)
    if branches:
        of = "of the flow" if share else "of the gradient at the fork"
        what = "share through " + (branches[0].name if len(branches) == 1 else "each branch")
        note = f"{of}; the rest goes over the skip"
        curves.append(Curve(what, note, tuple(branches), "bars"))
        sentences += opposing(branches, word)
    said = " ".join(filter(None, sentences))
    return Repeat(label, n, word, len(graph), tuple(curves), said)


def word_for(graph: Computation, unit: Unit) -> str:
    """What a repeat is called: a step where all use the same parameters, as those of a recurrent
    net do, else a block."""
    own = any(graph.nodes[id].kind == "parameter" for id in unit.blocks[-1])
    return "step" if not own and shared_parameters(graph, unit) else "block"


def shown(size: float | None) -> float:
    """A number as a curve takes it."""
    return math.nan if size is None else size


def stream_of(graph: Computation, unit: Unit, id: int) -> Stream:
    """The gradient of what the repeats hand on in the place of a node."""
    uses = unit.ports[id, 1]
    before = {
        graph.nodes[edge.source]
        for target, slot in uses
        for edge in graph.into[repeats_of(graph, unit, target)[0].id]
        if edge.slot == slot
    }
    start = before.pop() if len(before) == 1 else None
    nodes = [start, *repeats_of(graph, unit, id)]
    sizes = [None if x is None or x.gradient is None else norm(x.gradient) for x in nodes]
    return Stream(sizes, [State.NO_GRADIENT if x is None else x.state for x in nodes])


def shared_parameters(graph: Computation, unit: Unit) -> dict[int, list[list[Edge]]]:
    """The parameters that every repeat uses, with what each repeat sends to them."""
    own, found = set(unit.blocks[-1]), dict[int, list[list[Edge]]]()
    for id in unit.blocks[-1]:
        for edge in graph.into[id]:
            x = graph.nodes[edge.source]
            if edge.source not in own and x.kind == "parameter":
                uses = found.setdefault(x.id, [[] for _ in unit.blocks])
                for k, node in enumerate(repeats_of(graph, unit, id)):
                    uses[k] += [e for e in graph.into[node.id] if e.slot == edge.slot]
    return found


def parameter_curves(graph: Computation, unit: Unit, word: str) -> list[Curve]:
    """|g| of the parameters that each repeat has, and of what it sends to those of all."""
    found = []
    own = [repeats_of(graph, unit, id) for id in unit.blocks[-1] if is_parameter(graph, id)]
    own = [nodes for nodes in own if all(x.gradient is not None for x in nodes)]
    if own:
        names = [common_name([x.name for x in nodes]) for nodes in own]
        sizes = [norm([norm(x.gradient) for x in nodes]) for nodes in zip(*own, strict=True)]
        if all(names) and len(own) <= NAMED:
            of = ", ".join(names)
        else:
            of = f"its {len(own)} parameters" if len(own) > 1 else "its parameter"
        found.append(
            Curve(f"|g| of {of}", f"each {word}, log scale", (Series("", tuple(sizes)),), "dots")
        )
    shared = shared_parameters(graph, unit)
    sent = [
        [[e.contribution for e in edges if e.contribution is not None] for edges in uses]
        for uses in shared.values()
    ]
    if sent and all(any(parts) for parts in sent):
        sizes = [
            norm([norm(sum(p[1:], p[0])) for p in parts if p]) for parts in zip(*sent, strict=True)
        ]
        names = [graph.title(graph.nodes[id]) for id in shared]
        of = ", ".join(names) if len(names) <= NAMED else f"{len(names)} shared parameters"
        found.append(
            Curve(
                f"|g| sent to {of}",
                f"by each {word}, log scale",
                (Series("", tuple(sizes)),),
                "dots",
            )
        )
    return found


def is_parameter(graph: Computation, id: int) -> bool:
    """Whether a node is a parameter."""
    return graph.nodes[id].kind == "parameter"


def branches_of(diagram: Diagram, unit: Unit, share: SharesOf | None) -> list[Series]:
    """The share of what goes through each branch of a unit that has a skip beside it, repeat by
    repeat, in their order."""
    inside = {f"n{id}" for id in unit.blocks[-1]} | {port_id(unit, v) for v in unit.ports}
    forks: dict[str, list[Wire]] = {}
    for wire in diagram.wires:
        if wire.source in inside and wire.repeats:
            forks.setdefault(wire.source, []).append(wire)
    found: list[Series] = []
    members: list[list[int]] = []
    for wires in forks.values():
        branch = [wire for wire in wires if not wire.skip]
        if not branch or len(branch) == len(wires):
            continue
        values = []
        for k in range(len(unit.blocks)):
            edges = [e for w in branch for e in w.repeats[k].edges]
            whole = [e for w in wires for e in w.repeats[k].edges]
            values.append(shown(share(edges) if share else local_share(edges, whole)))
        if any(map(math.isfinite, values)):
            found.append(Series("", tuple(values)))
            joins = {wire.target for wire in wires if wire.skip}
            members.append(branch_members(diagram, branch[0].target, joins))
    names = branch_names(diagram.graph, unit, members)
    return [series._replace(name=name) for series, name in zip(found, names, strict=True)]


def branch_members(diagram: Diagram, start: str, joins: set[str]) -> list[int]:
    """The nodes drawn from the box where a branch begins to where it joins its skip again."""
    parts = {part.id: part.members for part in diagram.folding.parts}
    onward: dict[str, list[str]] = {}
    for wire in diagram.wires:
        onward.setdefault(wire.source, []).append(wire.target)
    seen, waiting, found = set(joins), [start], list[int]()
    while waiting:
        id = waiting.pop()
        if id not in seen:
            seen.add(id)
            found += parts.get(id, (int(id[1:]),) if id[1:].isdecimal() else ())
            waiting += onward.get(id, ())
    return found


def branch_names(graph: Computation, unit: Unit, members: Sequence[Sequence[int]]) -> list[str]:
    """What branches are called: by the scope that each is in, else by an op that only it has."""
    ops = [[x for i in some if (x := graph.nodes[i]).op is not None] for some in members]
    names = []
    for k, some in enumerate(ops):
        scope = common_scope(some)[len(unit.inner) :]
        others = {x.op for j, other in enumerate(ops) if j != k for x in other}
        alone = [str(x.symbol) for x in some if x.op not in (others | MINOR)]
        spare = f"branch {k + 1}" if len(ops) > 1 else "the branch"
        names.append(scope[0] if scope else alone[-1] if alone else spare)
    return names


@np.errstate(all="ignore")
def local_share(edges: Sequence[Edge], whole: Sequence[Edge]) -> float | None:
    """The share that some edges have in what all of them send back to one value together."""
    parts = [wide(e.contribution) for e in edges if e.contribution is not None]
    every = [wide(e.contribution) for e in whole if e.contribution is not None]
    if not parts or len(every) < len(whole):
        return None
    total: Any = sum(every[1:], every[0])
    largest = float(np.abs(total).max(initial=0.0))
    if not 0 < largest < math.inf:
        return None
    g = total / largest
    return float(np.vdot(sum(parts[1:], parts[0]) / largest, g) / np.vdot(g, g))


# Words


def along(stream: Stream, word: str) -> str:
    """How the gradient's size changes on its way back, and where it is lost."""
    n = len(stream.sizes) - 1
    places = [i for i, size in enumerate(stream.sizes) if size is not None]
    first, last = places[0], places[-1]
    here, there = stream.sizes[first], stream.sizes[last]
    lost = [i for i in places if stream.states[i] is not State.GRADIENT]
    before = f"before {word} 1" if first == 0 else f"after {word} {first}"
    change = "."
    if here and there and math.isfinite(here) and math.isfinite(there):
        ratio = here / there
        verb = "grows" if ratio > 1 else "shrinks"
        fold = times(max(ratio, 1 / ratio))
        way = f"from {number(there)} after {word} {last} to {number(here)} {before}"
        if 1 / ALIKE < ratio < ALIKE:
            change = f"the gradient keeps its size, {way}."
        else:
            change = f"the gradient {verb} {fold}, {way}."
        change = f"On its way back {change}"
    if not lost:
        return f"{change} Nothing vanishes." if change != "." else ""
    place = max(lost)
    state = APPEARANCE[stream.states[place]].words.partition(":")[0]
    back = f"{n - place} {word}{'s' * (n - place != 1)} back" if n - place else "at once"
    where = f"after {word} {place}" if place else f"before {word} 1"
    found = f"It is {state} {back}, {where}."
    if stream.states[place] is State.VANISHING:
        found = f"It vanishes {back}: {where} next to nothing is left."
    return f"{change} {found}".lstrip(". ")


def times(factor: float) -> str:
    """A factor in words: 13-fold, or by its power of ten."""
    return (
        f"{factor:.2g}-fold"
        if factor < 100
        else f"{factor:,.0f}-fold"
        if factor < 1e5
        else (f"by a factor of {number(factor, 2)}")
    )


def opposing(branches: Sequence[Series], word: str) -> list[str]:
    """Which repeat's branch opposes the gradient most; if none does, where a branch carries most
    and where least."""
    several = len(branches) > 1
    known = [
        (share, k, f"{series.name} of {word} {k}" if several else f"{word} {k}")
        for series in branches
        for k, share in enumerate(series.values, 1)
        if math.isfinite(share)
    ]
    least, _, worst = min(known)
    if least < -NOTABLE:
        where = f"{worst[0].upper()}{worst[1:]}" if several else f"In {worst} {branches[0].name}"
        return [f"{where} opposes most: {percent(least)}."]
    name = "" if several else f" through {branches[0].name}"
    (largest, _, best), (least, _, worst) = max(known), min(known)
    most = f"The share{name} is largest in {best} ({percent(largest)})"
    return [f"{most}, least in {worst} ({percent(least)})."]
