"""How each tensor was made: PyTorch's record, with the calls that were noted beside it."""

from __future__ import annotations

from typing import Any, NamedTuple

from .calls import Call, Key
from .installed import torch
from .recorder import Recorder


class Recipe(NamedTuple):
    """How a tensor was made."""

    node: Any  # of PyTorch's record; None where that has none
    number: int  # which of the node's results it is
    inputs: list[Key | None]  # what it was made of
    slots: list[int | None]  # for each gradient that the node returns, the input that it is of
    call: Call | None  # that makes it again; None where nothing can
    result: int  # which of the call's results it is


def recipes_of(ends: list[Key], recorder: Recorder) -> dict[Key, Recipe | None]:
    """How these were made, and everything that they were made of; None for a leaf."""
    recipes: dict[Key, Recipe | None] = {}
    waiting = list(ends)
    while waiting:
        if (where := waiting.pop()) not in recipes:
            recipe = recipes[where] = recipe_of(where, recorder)
            waiting += [x for x in recipe.inputs if x is not None] if recipe else []
    return recipes


def recipe_of(where: Key, recorder: Recorder) -> Recipe | None:
    """How a tensor was made. Where its node has an input that no call had, as after a write into a
    view, or in a custom Function, it is made of the node's inputs and not again."""
    call, result = recorder.calls.get(where, (None, 0))
    if where in recorder.given:
        return None
    node, number = where
    inputs: list[Key | None] = list(call.keys) if call else []
    if isinstance(node, int):
        return Recipe(None, 0, inputs, [], call, result) if call else None
    leaf = torch._C._functions.AccumulateGrad
    edges: list[Key | None] = [
        recorder.see(other.variable) if isinstance(other, leaf) else other and (other, i)
        for other, i in node.next_functions
    ]
    free, slots = list(range(len(inputs))), list[int | None]()
    for edge in edges:
        slot = next((i for i in free if inputs[i] == edge), None)
        if edge is not None and slot is None:
            slots = [i if x else None for i, x in enumerate(edges)]
            return Recipe(node, number, edges, slots, None, 0)
        free = [i for i in free if i != slot]
        slots.append(slot)
    return Recipe(node, number, inputs, slots, call, result)
