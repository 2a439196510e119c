"""How an op carries cotangents back and tangents forward, quick where it promised something.

Promises are taken at their word here, so that what comes out is held to what must be true of
any gradient: parts sum to it, and a flow is conserved. Where it is not, the op is found whose
promise or rule is broken.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from ..backward import contributions, leaf_gradients, messages, to_input
from ..operation import Op, Rule, blocked
from ..ops.shape import concatenate, stack
from ..recorded.joins import Use
from ..recorded.measure import narrow, norm, wide
from ..recorded.names import Names
from ..recorded.outcome import LAW, eps_of
from ..recorded.trace import Trace, operands
from ..tensor import Tensor
from ..value import Value

LOST = 0.005  # of a gradient, where it is seen in per cent


def sends(
    node: Value, cotangents: np.ndarray, within: set[Value]
) -> Iterator[tuple[int, Value, np.ndarray]]:
    """For each input inside `within`: (slot, input, what each cotangent sends there)."""
    if is_foreign(node.op):
        check_promises(node, cotangents[0], within)
    yield from trusting_sends(node, cotangents, within)


def trusting_sends(
    node: Value, cotangents: np.ndarray, within: set[Value]
) -> Iterator[tuple[int, Value, np.ndarray]]:
    """The same, whatever the op promised taken for true."""
    wanted, op = operands(node, within), node.op
    if op is not None and op.batched and not {None, blocked} & set(op.rules) and not op.sequence:
        for slot, x in wanted:
            rule = cast(Rule, op.rules[slot])  # plain ops have all their rules
            parts = rule(cotangents, node._array, *node.arrays, **node.params)
            if np.ndim(parts) <= x._array.ndim:  # a constant, as 0 where the derivative is 0
                parts = np.stack([to_input(parts, x, node)] * len(cotangents))
            elif parts.shape[1:] != x._array.shape or parts.dtype != x._array.dtype:
                parts = np.stack([to_input(part, x, node) for part in parts])
            yield slot, x, parts
    else:
        each = [list(contributions(node, g, within=within)) for g in cotangents]
        for i, (slot, x) in enumerate(wanted):
            yield slot, x, np.stack([sent[i][2] for sent in each])


def pushforward(node: Value, tangents: Mapping[Value, Any], uses: list[tuple[int, Value]]) -> Any:
    """The tangent of a value, given those of (some of) its inputs: its Jacobian times them.

    From the vjps alone: a vjp is linear in the cotangent, so it is differentiated with
    respect to the cotangent, and the transpose of a transposed Jacobian is the Jacobian.
    Where the Jacobian is diagonal it is its own transpose, and where the op is linear it
    is the op itself, so that the rule need not be recorded and differentiated.
    """
    op, shape = node.op, node._array.shape
    assert op is not None
    if hasattr(op, "push"):  # it knows how, for all its inputs at once
        return op.push(node, {slot: tangents[x] for slot, x in uses})
    if op in (stack, concatenate):  # in one go: there may be thousands of inputs
        inside = {slot: tangents[x] for slot, x in uses}
        joined = (inside.get(i, np.zeros_like(x)) for i, x in enumerate(node.arrays))
        return op.compute(*joined, **node.params)
    parts = []
    for slot, x in uses:
        tangent, rule = tangents[x], op.rule(slot)
        if rule is blocked:
            continue
        if op.elementwise and rule is not None:
            if tangent.shape != shape:
                tangent = np.broadcast_to(tangent, shape)
            part = rule(tangent, node._array, *node.arrays, **node.params)
            if getattr(part, "shape", None) != shape:  # a constant
                part = np.broadcast_to(part, shape)
            parts.append(part)
        elif op.linear:
            inputs = (*node.arrays[:slot], tangent, *node.arrays[slot + 1 :])
            parts.append(op.compute(*inputs, **node.params))
        else:
            parts.append(transpose(node, slot, tangent, x))
    return sum(parts[1:], parts[0]) if parts else np.zeros_like(node._array)


def edge_shares(
    order: Sequence[Value], within: set[Value], sent: Mapping[Use, Any], total: Any
) -> tuple[dict[Use, float], dict[Value, Any], Any]:
    """For each use between an output and the first value of `order`: the signed share of that
    value's gradient `total` that goes back through it, given what was `sent`. Also the tangents of
    a forward pass along the gradient, and the size that both are scaled by."""
    wrt, scale = order[0], np.abs(total).max()
    direction = wide(total) / scale
    tangents: dict[Value, Any] = {wrt: direction / np.vdot(direction, direction)}
    shares: dict[Use, float] = {}
    for node in order[1:]:
        uses = operands(node, within)
        for slot, x in uses:
            shares[node, slot] = narrow(np.vdot(sent[node, slot], tangents[x]) / scale)
        tangents[node] = pushforward(node, tangents, uses)
    return shares, tangents, scale


def flaw_of(
    shares: Mapping[Use, float], output: Value, total: Any, scale: Any, names: Names
) -> tuple[str, dict[Value, float]]:
    """Why the `edge_shares` of a gradient `total` say nothing, "" if they do, and the values at
    which what arrives does not seem to leave again."""
    most = np.finfo(total.dtype).max / scale
    over = next((node for (node, _), part in shares.items() if abs(part) > most), None)
    if over is not None:
        return f"overflow at {names.where(over)}", {}
    largest, eps = np.nanmax([0, *map(abs, shares.values())]), eps_of(total.dtype)
    # The parts may be so large that the gradient is within their rounding.
    if largest * LAW * eps > 1:
        return "paths cancel", {}
    gaps = not_conserved(shares, output, LAW * eps)
    lost = [node for node, gap in gaps.items() if gap > LOST * max(1, largest)]
    # It cancels within an op, as in softmax that of what only shifts its input.
    return f"only rounding is left at {names.where(lost[0])}" if lost else "", gaps


def not_conserved(
    shares: Mapping[Use, float], output: Value, tolerance: float
) -> dict[Value, float]:
    """The values at which what arrives does not seem to leave again, with the difference, and
    those of ops whose promises are not ours."""
    arrives, leaves, sizes = (defaultdict[Value, float](float) for _ in range(3))
    arrives[output] = 1.0
    for (node, slot), share in shares.items():
        x: Any = node.inputs[slot]
        leaves[node] += share
        arrives[x] += share
        sizes[node] += abs(share)
        sizes[x] += abs(share)
    gaps = {node: abs(arrives[node] - share) for node, share in leaves.items()}
    return {
        node: gap
        for node, gap in gaps.items()
        if gap > tolerance * sizes[node] or is_foreign(node.op)
    }


def transpose(node: Value, slot: int, tangent: Any, x: Value) -> Any:
    """The Jacobian with respect to one input times a tangent, by differentiating the rule."""
    u = Tensor(np.zeros_like(node._array), requires_grad=True)
    part = next(part for i, _, part in contributions(node, u, within={x}) if i == slot)
    found = leaf_gradients(part, tangent) if getattr(part, "requires_grad", False) else {}
    return found.get(u, np.zeros_like(node._array))


def check_sum(traced: Trace, parts: Sequence[Any], gradient: Any) -> list[float]:
    """The norms of the parts of a gradient, once these are seen to sum to it.

    Raises: ValueError that names the op whose promise or rule is broken, where they differ by
    more than their rounding.
    """
    sizes = list(map(norm, parts))
    if np.isfinite(whole := sum(sizes)):
        error = norm(np.add.reduce(list(parts)) - gradient)
        if error > (LAW + len(traced.order)) * eps_of(gradient.dtype) * whole:
            for node, g, slot, _ in messages(traced.output, traced.start, within=traced.within):
                if slot is not None:
                    check_promises(node, g, traced.within)
    return sizes


def check_conserved(
    node: Value,
    g: Any,
    sent: Mapping[tuple[Value, int], Any],
    tangents: Mapping[Value, Any],
    within: set[Value],
) -> None:
    """Hold a flow to its law: what arrives at a value, its gradient times its tangent, leaves
    it again. Raises: as `check_sum`."""
    pairs = [(sent[node, slot], tangents[x]) for slot, x in operands(node, within)]
    arrives, sizes = np.vdot(g, tangents[node]), norm(g) * norm(tangents[node])
    leaves = sum(np.vdot(part, tangent) for part, tangent in pairs)
    sizes += sum(norm(part) * norm(tangent) for part, tangent in pairs)
    eps = max(eps_of(x.dtype) for x in (g, *(part for part, _ in pairs)))
    if abs(arrives - leaves) > LAW * eps * sizes or is_foreign(node.op):
        check_promises(node, g, within)


def is_foreign(op: Op | None) -> bool:
    """Whether an op that is not ours promised something, so that it must be seen to be true."""
    ours = __name__.split(".")[0]
    promised = op is not None and (op.elementwise or op.linear or op.batched)
    return promised and str(op.__module__).split(".")[0] != ours


def check_promises(node: Value, g: Any, within: set[Value]) -> None:
    """Hold the rules and promises of an op to random cotangents and tangents, at one value.

    Raises: ValueError that names the op and what is not so.
    """
    op, uses, rng = node.op, operands(node, within), np.random.default_rng(0)
    assert op is not None
    one, two = (rng.standard_normal(np.shape(g)).astype(g.dtype) for _ in "ab")
    slots = [slot for slot, _ in uses]
    alone, other, both = (
        {slot: part for slot, _, part in contributions(node, u, within=within)}
        for u in (one, two, one + two)
    )
    eps = max(eps_of(x.dtype) for x in (g, *alone.values()))
    close, rounding = math.sqrt(eps), LAW * eps * (norm(one) + norm(two))
    for slot in slots:
        apart = both[slot] - alone[slot] - other[slot]
        sizes = norm(both[slot]) + norm(alone[slot]) + norm(other[slot])
        if norm(apart) > close * sizes + rounding:  # what is sent may be all but cancelled
            raise broken(op, "its rule must be linear in g")
    if op.batched:
        promise = f"it promised {'elementwise' if op.elementwise else 'batched'}=True"
        try:
            stacked = {
                slot: both for slot, _, both in trusting_sends(node, np.stack([one, two]), within)
            }
        except (ValueError, TypeError, IndexError):  # alone, it went well
            raise broken(op, promise) from None
        for slot in slots:
            for part, expected in zip(stacked[slot], (alone[slot], other[slot]), strict=True):
                if norm(part - expected) > close * norm(expected) + rounding:
                    raise broken(op, promise)
    for slot, x in uses:
        tangent = rng.standard_normal(x._array.shape).astype(x._array.dtype)
        moved = pushforward(node, {x: tangent}, [(slot, x)])
        sizes = norm(alone[slot]) * norm(tangent) + norm(one) * norm(moved)
        apart = abs(np.vdot(alone[slot], tangent) - np.vdot(one, moved))
        if apart > close * sizes + rounding * norm(tangent):
            what = "elementwise" if op.elementwise else "linear" if op.linear else ""
            raise broken(op, f"it promised {what}=True" if what else "its rule must be linear in g")


def broken(op: Op, what: str) -> ValueError:
    """What to say of an op that does not keep to what the analyses rely on."""
    return ValueError(
        f"the parts of this gradient do not add up at {op.name}: {what}, but that is not so; "
        "mend the op, and check(...) its rule"
    )
