"""Our graph: the values that a model computed, made one by one by their recipes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..operation import Op
from ..ops import add, concatenate, subtract
from ..recorded.lines import place_of
from ..tensor import Tensor
from ..truths import note
from ..value import new
from .agreement import Pair
from .calls import Call, Key, name_of
from .conversion import array_of, dtype_of
from .installed import torch
from .lent import Arrays, Lent, Watch
from .model import hidden_hook
from .recipes import Recipe, recipes_of
from .recorder import LEAF, Recorder
from .rules import TorchOp, read_by


class Importer:
    """Our graph, made of PyTorch's record and of what was noted beside it."""

    def __init__(self, recorder: Recorder, outputs: dict[Key, Any]) -> None:
        self.recorder, self.ends = recorder, outputs
        self.seen, self.calls, self.given = recorder.seen, recorder.calls, recorder.given
        if recorder.spoiled is not None:
            raise TypeError(
                f"{recorder.title(recorder.spoiled)} was overwritten while the model ran, after it "
                "had been used, so it has no one value"
            )
        self.recipes = recipes_of([*outputs, *(where for where, _ in recorder.truths)], recorder)
        self.watches = self.watch()
        self.made: dict[Key, Any] = {}
        for where in sorted(self.recipes, key=self.order):
            self.make(where)
        for where, calls in recorder.truths:
            place = place_of(calls)
            note(self.made[where], line=place.source if place else ("?", 0))
        devices = {str(x.t.device) for x in self.seen.values() if not x.t.is_cpu}
        if devices:
            warnings.warn(
                f"the model is on {min(devices)}: its values and gradients are copied to the "
                "host's memory, and all but the rules of its ops is computed there",
                stacklevel=3,
            )

    def watch(self) -> dict[int, list[Watch]]:
        """What may change of the leaves, by the memory in which it stands.

        Raises: TypeError where a tensor has a hook on gradients.
        """
        watches: dict[int, list[Watch]] = {}
        for where, recipe in self.recipes.items():
            if (view := self.seen.get(where)) is None:
                continue
            if view.t._backward_hooks or view.t._post_accumulate_grad_hooks:
                raise hidden_hook(self.recorder.title(view.t))
            private = where in self.given or view.place in self.recorder.born
            if recipe is None and view.place and not private:
                watch = Watch(view.t, self.recorder.title(view.t))
                watches.setdefault(view.place, []).append(watch)
        return watches

    def order(self, where: Key) -> int:
        """When something was made. What has no call, as leaves, is made where it is needed."""
        return self.calls[where][0].index if where in self.calls else sys.maxsize

    def make(self, end: Key) -> None:
        """Make a value, and before it those that it is made of."""
        waiting = [end]
        while waiting:
            where = waiting[-1]
            recipe = self.recipes[where]
            missing = [x for x in recipe.inputs if x and x not in self.made] if recipe else []
            waiting += reversed(missing)
            if not missing and waiting.pop() not in self.made:
                self.made[where] = self.node(where, recipe) if recipe else self.leaf(where)

    def allocate(self, values: Any, place: int = 0) -> tuple[Any, Any]:
        """A Tensor for some values, to be recorded, and their array, None where they are lent."""
        dtype = dtype_of(values)
        if watches := self.watches.get(place):
            return Lent.of(values, dtype, watches), None
        return new(Tensor), array_of(values)

    def leaf(self, where: Key) -> Tensor:
        """A parameter, an input or a constant."""
        view = self.seen[where]
        made, array = self.allocate(view.values, view.place)
        name, lent = self.given.get(where, (None, None))
        # Not as t has it: a constant that was written to since is none any more.
        needs_gradient = where[1] == LEAF if lent is None else lent.requires_grad
        made.record(array, requires_grad=needs_gradient)
        made._name = name or self.recorder.find_name(view.t)
        if name is None and made._name and not needs_gradient:  # a buffer belongs to its module
            made.scope = (*made.scope, *made._name.split(".")[:-1])
        return made

    def node(self, where: Key, recipe: Recipe) -> Tensor:
        """What an op gave."""
        if where in self.seen:
            view = self.seen[where]
            made, array = self.allocate(view.values, view.place)
        else:  # no op has used it, but PyTorch itself inside of one
            about = recipe.node._input_metadata[recipe.number]
            values = torch.full((), torch.nan, dtype=about.dtype).expand(about.shape)
            made, array = self.allocate(values)
        inputs = tuple(None if x is None else self.made[x] for x in recipe.inputs)
        lent = any(isinstance(x, Lent) for x in inputs)
        arrays: Any = (
            Arrays(inputs) if lent else tuple(x if x is None else x._array for x in inputs)
        )
        ours = None if lent or array is None else as_ours(recipe.call, array, arrays)
        if ours is None:
            op = TorchOp.of(recipe, arrays)
            op.watches = self.watches_of(where, *recipe.inputs)
            if op.watches and recipe.node is not None:
                op.read = self.watches_of(*read_by(where, recipe))
            ours = op, recipe.call.params if recipe.call else {}
        made.record(array, ours[0], inputs, arrays, ours[1], recipe.node is not None)
        if where in self.calls:
            call = self.calls[where][0]
            made.scope, made.source = (*made.scope, *call.scope), call.calls or None
        return made

    def watches_of(self, *wheres: Key | None) -> list[Watch]:
        """What may change of some values."""
        views = (self.seen[x] for x in wheres if x in self.seen)
        places = {view.place for view in views if view.place in self.watches}
        return [watch for place in places for watch in self.watches[place]]

    def outputs(self) -> list[Pair]:
        """What the model gave, as far as it requires a gradient."""
        pairs = [(self.made[where], t) for where, t in self.ends.items()]
        return [pair for pair in pairs if pair[0].requires_grad]

    def leaves(self) -> list[Pair]:
        """The leaves that require a gradient: the parameters, in the model's order, first."""
        order: dict[Any, int] = {name: i for i, name in enumerate(self.recorder.names.values())}
        pairs: list[Pair] = [
            (made, self.given[where][1] if where in self.given else self.seen[where].t)
            for where, recipe in self.recipes.items()
            if recipe is None and (made := self.made[where]).requires_grad
        ]
        return sorted(pairs, key=lambda pair: order.get(pair[0].name, len(order)))


def as_ours(
    call: Call | None, array: Any, arrays: Sequence[Any]
) -> tuple[Op, dict[str, Any]] | None:
    """The op of ours, with its parameters, that does what a call did, where there is one and that
    tells more: sums and lists, as a skip is seen at such a join."""
    if call is None or (name := name_of(call.op)) not in ("add", "sub", "cat"):
        return None
    forms = {(getattr(x, "shape", None), getattr(x, "dtype", None)) for x in (array, *arrays)}
    same = len(forms) == 1
    match name:
        case "add" if same and len(arrays) == 2 and not call.params:
            return add, {}
        case "sub" if same and len(arrays) == 2 and not call.params:
            return subtract, {}
        case "cat" if len({(np.ndim(x), x.dtype) for x in (array, *arrays)}) == 1:
            return concatenate, {"axis": call.params.get("dim", 0)}
    return None
