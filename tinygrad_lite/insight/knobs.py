"""A computation with knobs: what a page with a server asks, by replaying what was recorded.

Every question brings all that is changed, so nothing is kept between two, and several pages may ask
one computation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np

from ..drawing.picture import Scale
from ..files import strict
from ..recorded.joins import Use, is_sum
from ..recorded.names import Names
from ..recorded.nodes import Computation, Edge, Node, computation_of
from ..recorded.replay import Plan
from ..recorded.rerun import ask_again, rerun
from ..recorded.states import State
from ..stepping.record import Passes
from ..tensor import Tensor
from ..text import oneline
from ..value import Value
from ..views.boxes import Diagram, Wire, diagram, node_box, value_box
from ..views.brief import brief_box
from ..views.numbers import arrivals, slope_text
from ..views.page_data import Arrays, Files, diagrams, page_data, view_data
from .travels import page_of, travels
from .what_if import array_had

LIMIT = 1024  # elements of an array that an answer holds
SWEEP, LONGEST = 41, 1.5  # points of a sweep, at most, and seconds that it may take
STILL = 0.35  # seconds a point may take where there is to be a sweep at all


class Knobs:
    """A computation that a page changes: `answer` computes it again with the changes it asks for.

    `target` is what code calls the output.
    """

    def __init__(self, steps: Passes, target: str = "") -> None:
        self.steps, self.graph = steps, steps.record.graph
        self.output: Any = self.graph.output.tensor
        self.called = target or str(self.graph.output.name or "output")
        self.plan = Plan(self.output, self.graph.names)
        self.drawn = diagrams(self.graph)
        self.scales = [Scale.of(w.magnitude for w in shown.wires) for shown in self.drawn]
        self.lock, self.files = Lock(), Files(())

    def page(self) -> str:
        """The page, with what can be changed."""
        return page_of(self.steps, self.offer())

    def close(self) -> None:
        """Nothing runs."""

    def offer(self) -> dict[str, Any]:
        """What a page needs to know to ask."""
        leaves = [
            {
                "node": node.id, "name": oneline(self.graph.title(node), 40), "kind": node.kind,
                "shape": node.shape, "data": node.value.ravel()[:64].tolist(),
            }
            for node in self.graph
            if node.kind in ("input", "parameter") and node.value.dtype.kind == "f"
        ]  # fmt: skip
        sums = {node.id for node in self.graph if node.op and is_sum(node.tensor)}
        asked = [e for e in self.graph.edges if self.graph.nodes[e.source].kind != "constant"]
        return {
            "called": self.called,
            "leaves": strict(leaves),
            "branches": [
                [e.target, e.slot, self.branch_name(e), int(e.target in sums), int(e.skip)]
                for e in asked
            ],
        }

    def branch_name(self, edge: Edge) -> str:
        """What an edge is called."""
        source, target = self.graph.nodes[edge.source], self.graph.nodes[edge.target]
        into = f"{target.symbol}" if target.name is None else self.graph.title(target)
        return oneline(f"{self.graph.title(source)} → {into}", 48)

    def answer(self, question: Mapping[str, Any]) -> bytes:
        """The answer as JSON. Raises: ValueError for a question that means nothing."""
        with self.lock, np.errstate(all="ignore"):
            match question.get("kind"):
                case "change":
                    found = self.change(question)
                case "sweep":
                    found = self.sweep(question)
                case "code":
                    found = {"code": self.code(question)}
                case "state":
                    found = {}
                case kind:
                    raise ValueError(f"a page does not ask for {kind!r}")
        return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()

    # What is changed

    def leaf(self, key: Any) -> Node:
        """The leaf of that number. Raises: ValueError if there is none."""
        i = int(key)
        if not 0 <= i < len(self.graph) or self.graph.nodes[i].kind not in ("input", "parameter"):
            raise ValueError(f"there is no leaf {key!r}")
        return self.graph.nodes[i]

    def data(self, question: Mapping[str, Any]) -> dict[Value, np.ndarray]:
        """The new arrays of leaves: each times a number, plus a number, with elements set."""
        found = {}
        for key, how in dict(question.get("data") or {}).items():
            node = self.leaf(key)
            had = np.asarray(array_had(self.plan, node.tensor))
            times, plus = float(how.get("times", 1)), float(how.get("add", 0))
            array = np.array(had * times + plus, had.dtype)
            for index, value in how.get("set", []):
                if not 0 <= int(index) < array.size:
                    raise ValueError(f"{self.graph.title(node)} has no element {index}")
                array.reshape(-1)[int(index)] = float(value)
            found[node.tensor] = array
        return found

    def uses(self, given: Any) -> list[Use]:
        """The uses that are meant by (target, slot). Raises: ValueError if one is none."""
        known = {(e.target, e.slot) for e in self.graph.edges}
        found = []
        for target, slot in given or ():
            if (target, slot) not in known:
                raise ValueError(f"there is no edge into {target} by operand {slot}")
            found.append((self.graph.nodes[target].tensor, slot))
        return found

    def replayed(self, question: Mapping[str, Any]) -> tuple[Tensor, dict[Value, Any], str]:
        """The output again with the changes, what was made again, and a warning, if any."""
        cuts: dict[Value, set[int]] = {}
        for value, slot in self.uses(question.get("stop")):
            cuts.setdefault(value, set()).add(slot)
        ablated = self.uses(question.get("ablate"))
        replaced = {use: self.plan.replacement(use, "", None) for use in ablated}
        made = rerun(self.plan.values, self.data(question), cuts, replaced)
        return made.get(self.output, self.output), made, ask_again(self.output, made)

    # Answers

    def computed(self, question: Mapping[str, Any]) -> tuple[Computation, dict[Value, Any], str]:
        """The computation with the changes, with its gradients."""
        y, made, warning = self.replayed(question)
        ways = {made.get(v, v): way for v, way in self.graph.names.found.items()}
        start = self.graph.output.gradient
        return computation_of(y, Names([y], ways=ways), start), made, warning

    def change(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """The data of the page after the changes: of the steps and pictures, those asked for."""
        began = time.perf_counter()
        graph, made, warning = self.computed(question)
        steps, arrays = Passes.of(graph), Arrays()
        wanted = question.get("wrt")
        base = self.counterparts(graph, made)
        back = {old: new for new, old in enumerate(base) if old is not None}
        which = min(max(int(question.get("view", 0)), 0), len(self.drawn) - 1)
        ablated = {(int(target), int(slot)) for target, slot in question.get("ablate") or ()}
        view = self.view(self.drawn[which], self.scales[which], graph, base, back, ablated)
        ends = [back[wanted]] if wanted in back else []
        at = min(max(int(question.get("at", len(steps))), 0), len(steps))
        found = travels(graph, ends)
        if not view["texts"]:
            warning = f"{warning} The folded boxes say no numbers now; unfolded they do.".strip()
        data = page_data(steps, arrays, self.files, [view], found, only=at)
        return {
            **data,
            "view": which,
            "arrays": arrays.stored(LIMIT),
            "limit": LIMIT,
            "base": base,
            "warning": warning,
            "took": round(1000 * (time.perf_counter() - began), 1),
        }

    def counterparts(self, graph: Computation, made: Mapping[Value, Any]) -> list[int | None]:
        """For each node of a changed computation: the number of the one that it stands for."""
        values = [node for node in self.graph if node.kind != "constant"]
        ids = {made.get(node.tensor, node.tensor): node.id for node in values}
        found: list[int | None] = [
            None if node.kind == "constant" else ids.get(node.tensor) for node in graph
        ]
        constants = {(e.target, e.slot): e.source for e in self.graph.edges}
        for edge in graph.edges:
            target = found[edge.target]
            if graph.nodes[edge.source].kind == "constant" and target is not None:
                found[edge.source] = constants.get((target, edge.slot))
        return found

    def view(
        self,
        shown: Diagram,
        scale: Scale,
        graph: Computation,
        base: Sequence[int | None],
        back: Mapping[int, int],
        ablated: Set[tuple[int, int]],
    ) -> dict[str, Any]:
        """A picture's arrows with what they carry now, on the layout there was."""
        now = {}
        for edge in graph.edges:
            if (target := base[edge.target]) is not None:
                now[target, edge.slot] = edge
        arriving = [arrivals(graph, node) for node in graph]

        def renewed(wire: Wire) -> Wire:
            edges, whole = (
                tuple(
                    e
                    for old in some
                    if (e := now.get((old.target, old.slot))) is not None
                    and base[e.source] == old.source
                )
                for some in (wire.edges, wire.whole)
            )
            node = back.get(wire.value.id) if wire.value else None
            value, numbers, slope = None, tuple[str, ...](), ""
            if node is not None:
                value = graph.nodes[node]
                numbers = arriving[node].total if wire.numbers else ()
            elif wire.numbers and len(edges) == 1:
                numbers = arriving[edges[0].source].sent.get(edges[0], ())
                slope = slope_text(graph, edges[0]) if wire.slope else ""
            repeats = tuple(map(renewed, wire.repeats))
            return replace(
                wire, edges=edges, whole=whole, value=value, repeats=repeats, numbers=numbers,
                slope=slope,
            )  # fmt: skip

        wires, lost = [], []
        for wire in shown.wires:
            kept = renewed(wire)
            if kept.edges or kept.value:
                wires.append(kept)
            else:
                lost.append((kept, wire))
        data = view_data(replace(shown, graph=graph, wires=tuple(wires)), scale)
        for wire, old in lost:  # it stands for nothing any more: left out, or only used there
            cut = any((edge.target, edge.slot) in ablated for edge in old.edges)
            state = "ablated" if cut else State.NOT_COMPUTED
            data["wires"].append([wire.id, [], None, 0, 0, "", state, 0, wire.source, wire.target])
        data["nodes"] = [() if i is None else shown.elements[i] for i in base]
        data["texts"] = []
        if shown.folding:
            data["texts"] = self.folded_texts(shown, graph, base)
        for box in () if shown.folding else shown.boxes:
            if box.kind != "constant" and (i := back.get(int(box.id[1:]))) is not None:
                node, own = graph.nodes[i], arriving[i]
                made = box.id[0] == "n" and node.op is not None
                again = node_box(graph, node, own) if made else value_box(graph, node, box.id, own)
                again = brief_box(graph, node, again) if shown.brief else again
                data["texts"].append([box.id, again.lines, again.below, again.tooltip])
        return data

    def folded_texts(
        self, shown: Diagram, graph: Computation, base: Sequence[int | None]
    ) -> list[Any]:
        """What stands in the boxes of a folded picture now; nothing where other ops are computed,
        as what repeats is then not the same."""
        if list(base) != list(range(len(self.graph))):
            return []
        again = diagram(graph, None if shown is self.drawn[0] else True)
        if [box.id for box in again.boxes] != [box.id for box in shown.boxes]:
            return []
        return [[box.id, box.lines, box.below, box.tooltip] for box in again.boxes]

    def is_known(self, leaf: Node) -> bool:
        """Whether its name means it, and nothing else, where code gives that to `replay`."""
        with suppress(ValueError):
            return self.plan.leaf(leaf.name) is leaf.tensor
        return False

    def sweep(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """How long the gradient to a parameter is, and the parts of its paths, as one knob turns;
        no points where one takes too long."""
        leaf, how, wrt = question["leaf"], str(question["how"]), int(question["wrt"])
        low, high = float(question["from"]), float(question["to"])
        points: list[list[Any]] = []
        began, count = time.perf_counter(), SWEEP
        for i in range(SWEEP):
            if i >= count:
                break
            x = low + (high - low) * i / (count - 1)
            data = dict(question.get("data") or {})
            data[str(leaf)] = turned(data.get(str(leaf), {}), how, x)
            graph, made, _ = self.computed({**question, "data": data})
            base = self.counterparts(graph, made)
            ends = [new for new, old in enumerate(base) if old == wrt]
            found = travels(graph, ends)
            if ends and ends[0] in found:
                travel = found[ends[0]]
                rows = [] if travel["classes"] else [[r["way"], r["norm"]] for r in travel["rows"]]
                points.append([x, travel["norm"], rows])
            if i == 0:
                each = time.perf_counter() - began
                if each > STILL:
                    return {"points": [], "slow": round(each, 2)}
                count = max(5, min(SWEEP, math.floor(LONGEST / each)))
        return {"points": points}

    def code(self, question: Mapping[str, Any]) -> str:
        """The changes as Python: a call of `replay`."""
        y, lines, given = self.called, list[str](), list[str]()
        for key, how in dict(question.get("data") or {}).items():
            node = self.leaf(key)
            known = self.is_known(node)
            leaf = repr(node.name) if known else f"node[{node.id}].tensor"
            array = f"value[{node.name!r}]" if known else f"node[{node.id}].value"
            times, plus = float(how.get("times", 1)), float(how.get("add", 0))
            array += f" * {times!r}" if times != 1 else ""
            array += f" {'-' if plus < 0 else '+'} {abs(plus)!r}" if plus else ""
            if how.get("set"):
                lines.append(f"new_{node.id} = np.array({array})")
                lines += [f"new_{node.id}.flat[{int(i)}] = {float(x)!r}" for i, x in how["set"]]
                array = f"new_{node.id}"
            given.append(f"{leaf}: {array}")
        words = [f"{{{', '.join(given)}}}"] if given else []
        for name in ("stop", "ablate"):
            uses = [tuple(map(int, use)) for use in question.get(name) or ()]
            self.uses(uses)
            edges = ", ".join(f"edge[{target}, {slot}]" for target, slot in uses)
            argument = {"stop": "stop_gradient"}.get(name, name)
            words += [f"{argument}=[{edges}]"] if uses else []
        call = f"changed = replay({', '.join([y, *words])})"
        tables = {
            "value[": f"value = {{node.name: node.value for node in graph({y})}}",
            "node[": f"node = {{node.id: node for node in graph({y})}}",
            "edge[": f"edge = {{(edge.target, edge.slot): edge for edge in graph({y}).edges}}",
        }
        body = "\n".join([*lines, call])
        head = ["import numpy as np\n"] if lines else []
        head.append("from tinygrad_lite import graph, replay\n")
        head += [table for sign, table in tables.items() if sign in body]
        return "\n".join([*head, body, ""])


def turned(had: Mapping[str, Any], how: str, x: float) -> dict[str, Any]:
    """A leaf's change with one knob at x: "add", "times", or the number of an element."""
    if how in ("add", "times"):
        return {**had, how: x}
    others = [pair for pair in had.get("set", []) if int(pair[0]) != int(how)]
    return {**had, "set": [*others, [int(how), x]]}
