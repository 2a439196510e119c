"""How a gradient comes to each parameter, as the page shows it: the share of every edge, the paths
or classes of paths with what they carry, and the chain rule written out.

All of it is what `flow`, `paths` and `path_classes` answer, read off a graph that has its gradients
already: a parameter costs one forward pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from ..ancestors import between
from ..recorded.joins import Use
from ..recorded.measure import norm
from ..recorded.nodes import Computation, Node
from ..recorded.outcome import Receipt, shares_of, start_receipt
from ..recorded.trace import Trace, coherence
from ..stepping.record import Passes
from ..text import oneline
from ..value import Value
from ..views.page_data import Travels, steps_page
from .bundles import REST, Named, bundles_at, key_of_step
from .formulas import LATEX, TEXT, Chain, Factor, Omitted, Quotient, Sum, Term
from .jacobians import edge_shares, flaw_of
from .routes import Routes
from .ways import Stride, count_paths, walk

PATHS = 12  # to one parameter that are listed; of more there are classes
WORK = 9_000  # nodes that are passed for all parameters together, about


def page_of(steps: Passes, live: Any = None) -> str:
    """The page of some steps, with the ways of their gradients. Raises: as `steps_page`."""
    return steps_page(steps, travels(steps.record.graph), live)


def travels(graph: Computation, wanted: Sequence[int] | None = None) -> Travels:
    """How the gradient comes to the parameters of a graph, by their nodes' ids: to `wanted`, or to
    as many as is soon done, evenly spread; empty where no gradient was computed."""
    if graph.receipts is None:
        return {}
    reached = [node for node in graph if node.kind == "parameter" and node.gradient is not None]
    if wanted is None:
        most = min(len(reached), max(1, WORK // len(graph)))
        chosen = [reached[i * len(reached) // most] for i in range(most)] if reached else []
    else:
        chosen = [node for node in reached if node.id in wanted]
    with np.errstate(all="ignore"):  # backward has warned; here NaN is a result
        return {node.id: travel(graph, node) for node in chosen}


def travel(graph: Computation, end: Node) -> dict[str, Any]:
    """How the gradient comes to one parameter."""
    output, wrt = graph.output.tensor, end.tensor
    within = between(output, {wrt})
    traced = Trace(output, (wrt,), graph.output.gradient, graph.names, within)
    numbers = {(graph.nodes[e.target].tensor, e.slot): i for i, e in enumerate(graph.edges)}
    sent = {use: graph.edges[i].contribution for use, i in numbers.items()}
    arriving = [edge.contribution for edge in graph.out_of[end.id] if edge.contribution is not None]
    arriving = arriving or [np.asarray(end.gradient)]
    found, note = shares_of(
        arriving, list(map(norm, arriving)), end.gradient, end.outcome, "edges", graph.names
    )
    by_use, flaw = dict[Use, float](), ""
    if None not in found:
        try:
            by_use, _, scale = edge_shares(traced.order, within, sent, end.gradient)
            flaw, _ = flaw_of(by_use, output, end.gradient, scale, graph.names)
            if flaw:
                by_use, flaw = {}, f"{flaw}: arrows have no shares"
        except NotImplementedError as error:  # a rule that cannot be differentiated
            note = note or str(error)
    chain, total = Chain(output, wrt, graph.names), count_paths(traced, wrt)
    if total <= PATHS:
        rows, parts = path_rows(graph, traced, end, chain, numbers)
    else:
        rows, parts = class_rows(graph, traced, end, numbers)
    sizes = list(map(norm, parts))
    shares, remark = shares_of(parts, sizes, end.gradient, end.outcome, "parts", graph.names)
    for row, size, share in zip(rows, sizes, shares, strict=True):
        row |= {"norm": size, "share": share}
    formula = chain.formula()
    return {
        "name": oneline(graph.title(end), 60),
        "formula": formula_tree(formula.left, formula.right, formula.value),
        "text": formula.write(TEXT),
        "latex": formula.write(LATEX),
        "norm": number(norm(end.gradient)),
        "state": end.state,
        "note": "; ".join(filter(None, (remark or note, flaw))),
        "coherence": coherence(parts, end.gradient),
        "shares": [[numbers[use], round(share, 6)] for use, share in by_use.items()]
        if all(map(np.isfinite, by_use.values()))
        else [],
        "total": f"{total:,}" if total < 1e15 else f"{float(total):.3g}" if total < 1e300 else "∞",
        "classes": total > PATHS,
        "rows": [plain_row(row) for row in rows],
    }


Rows = tuple[list[dict[str, Any]], list[Any]]


def path_rows(
    graph: Computation, traced: Trace, end: Node, chain: Chain, numbers: dict[Use, int]
) -> Rows:
    """A row for each path, shortest first, and what each carries."""
    walked = sorted(walk(traced, end.tensor), key=lambda last: len(last.way))
    ways = [last.way for last in walked]
    routes, start = Routes(graph.names, ways), start_receipt(traced.start)
    everywhere = (1 << len(ways)) - 1
    rows = []
    for last, way, route in zip(walked, ways, routes.routes, strict=True):
        lines = [x for x in routes.lines_of(way) if routes.passing_lines[x] != everywhere]
        stops = chain.stops(x.inputs[slot] for x, slot in reversed(way))
        outcome = last.outcome(start, norm(last.part))
        edges = [numbers[use] for use in way]
        rows.append({
            "way": str(route), "lines": ", ".join(lines), "edges": edges,
            "skip": any(graph.edges[i].skip for i in edges), "state": outcome.state,
            "remark": "" if outcome.state.arrives else route.remark(outcome),
            "term": term_tree(chain.term(stops)), "lengths": list(lengths(graph, start, last)),
        })  # fmt: skip
    return rows, [last.part for last in walked]


def lengths(graph: Computation, start: Receipt, last: Stride) -> Iterator[list[Any]]:
    """How long what travels a path is, op by op from the output on: the norm, the symbol of the op
    that it has just passed, and, where all is one number, the factor."""
    steps = []
    stride: Stride | None = last
    while stride is not None and stride.before is not None:
        steps.append(stride)
        stride = stride.before
    yield [number(start.norm), oneline(graph.title(graph.output), 12), None]
    for step in reversed(steps):
        assert step.node is not None
        assert step.before is not None
        op, slope = step.node.op, None
        if np.size(step.part) == 1 == np.size(step.before.part) and step.before.part.item():
            slope = number(step.part.item() / step.before.part.item())
        yield [number(norm(step.part)), str(op.symbol if op else ""), slope]


def class_rows(graph: Computation, traced: Trace, end: Node, numbers: dict[Use, int]) -> Rows:
    """A row for each class of paths, by the number of skips on them, or by the scopes that they
    enter where there is no skip, with the edges that its paths pass; and what each carries."""
    inside = {node.id for node in graph if node.tensor in traced.within}
    skips = any(e.skip for e in graph.edges if e.target in inside and e.source in inside)
    by: Named = "skips" if skips else "scope"
    bundle = bundles_at({end.tensor}, traced, by, PATHS)[0][end.tensor]
    found = sorted(
        zip(bundle.keys, bundle.counts, bundle.parts, strict=True),
        key=lambda row: (isinstance(row[0], str), row[0] if skips and row[0] != "other" else 0),
    )
    uses = [use for use, i in numbers.items() if graph.edges[i].contribution is not None]
    steps = {
        (target, slot): key_of_step(by, traced, target, slot)
        for target, slot in uses
        if target in traced.within and target.inputs[slot] in traced.within
    }
    rows: list[dict[str, Any]] = []
    for key, count, _ in found:
        text = f"{count:,}" if count < 1e15 else f"{count:.3g}"
        rows.append({"way": class_name(key, skips), "count": text})
        if key is not REST and key != "other":
            parts: Sequence[Any] = (
                (1,) * key if skips else [(name,) for name in reversed(key or ())]
            )
            passed = uses_of_class(traced.output, end.tensor, steps, parts)
            rows[-1]["edges"] = sorted(numbers[use] for use in passed)
    return rows, [part for _, _, part in found]


def uses_of_class(
    output: Value, end: Value, steps: Mapping[Use, Any], parts: Sequence[Any]
) -> Iterator[Use]:
    """The uses that paths from the output back to `end` pass whose steps add up to `parts`.

    `steps` say what each use adds, oldest first: one part, or nothing. A value is reached with so
    many parts behind it, and left with so many before it, as the bits of a number say.
    """
    at = dict[Any, int]()  # for each part, the places at which it comes
    for i, part in enumerate(parts):
        at[part] = at.get(part, 0) | 1 << i
    places = {use: at.get(step, 0) if step else None for use, step in steps.items()}
    behind, before = defaultdict[Value, int](int, {output: 1}), defaultdict[Value, int](int)

    def onward(bits: int, place: int | None) -> int:
        return bits if place is None else (bits & place) << 1

    for (target, slot), place in reversed(places.items()):
        behind[target.inputs[slot]] |= onward(behind[target], place)
    before[end] = 1 << len(parts)
    for (target, slot), place in places.items():
        left = before[target.inputs[slot]]
        before[target] |= left if place is None else left >> 1 & place
    for use, place in places.items():
        if onward(behind[use[0]], place) & before[use[0].inputs[use[1]]]:
            yield use


def class_name(key: Any, skips: bool) -> str:
    """What a class of paths is called."""
    if key is REST or key == "other":
        return "all other paths"
    if skips:
        return f"over {key} skip{'s' * (key != 1)}"
    return f"through {' → '.join(islice(map(oneline, key or ()), 8)) or 'no scope'}"


def plain_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with numbers short enough to be stored."""
    share = row["share"]
    share = None if share is None or not np.isfinite(share) else number(share)
    return row | {"norm": number(row["norm"]), "share": share}


def number(x: float) -> float | str:
    """A number in six digits; what JSON cannot say, as text."""
    if not np.isfinite(x):
        return "NaN" if np.isnan(x) else "∞" if x > 0 else "−∞"
    return float(f"{float(x):.6g}")


def formula_tree(left: Quotient, right: Term, value: float | None) -> list[Any]:
    """A formula as nested lists, for the page to typeset."""
    same = value is not None and right.factors == (value,)
    end = [] if value is None or same else ["=", number(value)]
    return ["row", factor_tree(left), "=", term_tree(right), *end]


def term_tree(term: Term) -> list[Any]:
    """A product as nested lists."""
    factors = [factor_tree(factor) for factor in term.factors] or ["I"]
    return ["minus" if term.negative else "times", *factors]


def factor_tree(factor: Factor) -> Any:
    """A factor of a product as nested lists."""
    match factor:
        case Quotient(above, below):
            return ["quotient", above, below]
        case Sum(terms, more):
            rest = [["more", f"{more:,} more terms"]] if more else []
            return ["sum", *map(term_tree, terms), *rest]
        case Omitted(more):
            return ["more", f"{more:,} more factors"]
    return number(factor)
