"""The boxes of what is folded: of a unit's nodes, of what its repeats hand on, and of parts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from statistics import median_high

from ..drawing.picture import COMPUTED, OP, Box
from ..recorded.fold import Folding, Part, Unit
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Node
from ..text import number, oneline


def repeated_box(graph: Computation, folded: Folding, unit: Unit, node: Node, box: Box) -> Box:
    """The box of a node, with the name that it has in all repeats; outside of scopes whose other
    ops are one box."""
    nodes = repeats_of(graph, unit, node.id)
    names = f"{graph.title(nodes[0])} … {graph.title(nodes[-1])}"
    tooltip = f"{len(nodes)} times, {names}\n{node.op or node.kind}, {node.shape}, {node.dtype}"
    scope = node.scope
    boxed = {(*part.scope, part.name) for part in folded.parts}
    while any(scope[:n] in boxed for n in range(1, len(scope) + 1)):
        scope = scope[:-1]
    cluster = cluster_in(graph, unit, node.id, scope)
    if node.op is not None:
        return Box(box.id, (str(node.symbol),), "op", OP, tooltip, cluster=cluster)
    same = {x.name for x in nodes}
    name = common_name([x.name for x in nodes]) or (
        box.lines[0] if nodes[-1].name and len(same) == 1 else node.kind
    )
    lines = (name,) if node.kind == "constant" else (name, str(node.shape))
    sizes = sorted(norm(x.gradient) for x in nodes if x.gradient is not None)
    below = (
        (number(median_high(sizes)), f"{number(sizes[0])} … {number(sizes[-1])}") if sizes else ()
    )
    return replace(box, lines=lines, tooltip=tooltip, cluster=cluster, below=below)


def repeats_of(graph: Computation, unit: Unit, id: int) -> list[Node]:
    """The nodes that one node of a unit's last repeat stands for."""
    place = unit.places[id]
    return [graph.nodes[block[place]] for block in unit.blocks]


def cluster_in(graph: Computation, unit: Unit, id: int, scope: tuple[str, ...]) -> tuple[str, ...]:
    """The frames around what stands in a scope of a unit's last repeat: those of the unit, and
    scopes within it, with their names in the first and the last repeat."""
    first = repeats_of(graph, unit, id)[0].scope
    pairs = list(zip(first, scope, strict=False))[len(unit.inner) :]
    return (*unit.scope, unit.id, *(a if a == b else f"{a} … {b}" for a, b in pairs))


def port_id(unit: Unit, value: tuple[int, int]) -> str:
    """The id of the box for what a repeat has from one before it."""
    return f"{unit.id}h{value[0]}" + (f"b{value[1]}" if value[1] > 1 else "")


def port_box(graph: Computation, unit: Unit, value: tuple[int, int], n: int) -> Box:
    """The circle of what a repeat has from one before it: the n-th such value."""
    nodes = repeats_of(graph, unit, value[0])
    name = common_name([x.name for x in nodes]) or "h" + "′" * n
    before = "the repeat" if value[1] == 1 else f"{value[1]} repeats"
    text = f"what comes from {before} before, {nodes[0].shape}"
    return Box(port_id(unit, value), (name,), "op", COMPUTED, text, cluster=(*unit.scope, unit.id))


def common_name(names: Sequence[str | None]) -> str:
    """What the names of repeated values have in common, at the end: W of W0, W1, ... or of
    net.layers[0].W, net.layers[1].W, ...; empty if that is nothing."""
    if not all(names):
        return ""
    plain = [re.sub(r" \(\d+\)$", "", str(name)) for name in names]
    pieces = [re.split(r"(\d+)", name) for name in plain]
    if len({tuple(x[::2]) for x in pieces}) > 1:
        return ""
    same = [len(set(column)) == 1 for column in zip(*pieces, strict=True)]
    text = "".join(x if keep else "\0" for x, keep in zip(pieces[-1], same, strict=True))
    text = re.sub(r"\[\0\]$", "", text).replace("[\0]", "[i]").replace("\0", "").rpartition(".")[2]
    key = re.search(r"\[[\"'](.+)[\"']\]$", text)
    return oneline(key[1] if key else text)


MINOR = {
    "add", "subtract", "multiply", "divide", "reshape", "transpose", "permute_dims", "getitem",
    "broadcast_to", "squeeze", "expand_dims", "matrix_transpose", "swapaxes", "moveaxis",
}  # fmt: skip


def part_box(graph: Computation, folded: Folding, part: Part, often: Counter[str | None]) -> Box:
    """The box of a folded part: its name, the ops that it has and few others have (`often` says
    how many), and how many parameters."""
    nodes = [graph.nodes[i] for i in part.members]
    ops = [node for node in nodes if node.op is not None]
    parameters = [node for node in nodes if node.kind == "parameter"]
    main = [x for x in ops if x.op not in MINOR] or ops
    kinds = list(dict.fromkeys(str(node.symbol) for node in main))
    rarest = sorted(kinds, key=lambda symbol: often[symbol])[:3]
    what = ", ".join(x for x in kinds if x in rarest) + " …" * (len(kinds) > 3)
    counts = [counted(len(ops), "op")] if part.name or not parameters else []
    count = ", ".join(counts + [counted(len(parameters), "parameter")] * bool(parameters))
    unit = folded.repeat[part.members[0]][0] if part.members[0] in folded.repeat else None
    name = part_name(graph, unit, part)
    lines = [name, what, str(ops[-1].shape), count] if name else [what, str(ops[-1].shape), count]
    below: tuple[str, ...] = ()
    if parameters and not unit and all(x.gradient is not None for x in parameters):
        below = (f"|∂| = {number(norm([norm(x.gradient) for x in parameters]))}",)
    tooltip = "\n".join(
        [
            *filter(None, (part.name, count)),
            *(f"{graph.title(x)}: {x.op or x.kind}, {x.shape}" for x in nodes[:40]),
        ]
    )
    cluster = part.scope
    if unit:
        cluster = cluster_in(graph, unit, ops[0].id, part.scope)
    return Box(part.id, tuple(lines), "folded", OP, tooltip, cluster=cluster, below=below)


def part_name(graph: Computation, unit: Unit | None, part: Part) -> str:
    """The name of a part: of one in a unit, those in the first and the last repeat."""
    if not unit or not part.name:
        return part.name
    op = next(i for i in part.members if graph.nodes[i].op is not None)
    first = repeats_of(graph, unit, op)[0].scope[len(part.scope)]
    return part.name if part.name == first else f"{first} … {part.name}"


def leaves_last(graph: Computation, unit: Unit, node: Node) -> bool:
    """Whether a value is what the last repeat of a unit hands on."""
    own = unit.blocks[-1]
    return node.id in own and all(edge.target not in own for edge in graph.out_of[node.id])


def counted(n: int, what: str) -> str:
    """So many things, in words."""
    return f"{n:,} {what}{'s' * (n != 1)}"
