"""Straight-line code for a recorded computation and its gradients: what `program` runs.

The reverse pass is recorded once: op by op where a rule is made of ops alone (PURE), else as a call
of the rule. So value and gradients are a list of lines, each of which computes one array from
earlier ones, and the list becomes one Python function. That records nothing and walks nothing; it
writes a result over an operand that nobody needs any more, lets go of large arrays in time, and
keeps their memory for the next run.
"""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any
from weakref import getweakrefcount

import numpy as np
from numpy import ndarray

from ..ancestors import between
from ..backward import contributions, missing_rule, to_input, unbroadcast
from ..context import CONTEXT, Context
from ..operation import Op, blocked
from ..ops.convolution import conv2d, conv2d_image, conv2d_kernel, geometry_of
from ..ops.elementwise import (
    add,
    divide,
    equal,
    exp,
    greater,
    less,
    log,
    maximum,
    minimum,
    multiply,
    negative,
    relu,
    sigmoid,
    sqrt,
    subtract,
    tanh,
    where,
)
from ..ops.linear import LARGE, matmul
from ..ops.reduce import mean, sum
from ..ops.shape import broadcast_to, getitem, index_add, reshape, transpose
from ..recorded.rerun import Passes, array_of
from ..tensor import Tensor
from ..value import Value, new
from . import convolve
from .functions import QUIET

# NumPy's function for an op, and how Python writes it, if it does.
UFUNCS: dict[Any, tuple[Any, str]] = {
    add: (np.add, "{} + {}"),
    subtract: (np.subtract, "{} - {}"),
    multiply: (np.multiply, "{} * {}"),
    divide: (np.divide, "{} / {}"),
    negative: (np.negative, "-{}"),
    greater: (np.greater, "{} > {}"),
    less: (np.less, "{} < {}"),
    equal: (np.equal, "{} == {}"),
    exp: (np.exp, ""),
    log: (np.log, ""),
    sqrt: (np.sqrt, ""),
    tanh: (np.tanh, ""),
    maximum: (np.maximum, ""),
    minimum: (np.minimum, ""),
}


def relu_into(x: Any, zero: Any, into: Any = None) -> Any:
    """The larger of an array and 0; NumPy takes no third argument by its place."""
    return np.maximum(x, zero, out=into)


def sigmoid_into(x: Any, one: Any, into: Any = None) -> Any:
    """The sigmoid of an array, in one array of memory."""
    e = np.negative(x, into) if x.dtype.kind == "f" else -1.0 * x
    QUIET.copy().run(np.exp, e, e)
    np.add(e, one, e)
    return np.divide(one, e, e)


# NumPy's function for an op of arrays, and the number that it takes after the operand.
INTO: dict[Any, tuple[Any, float]] = {relu: (relu_into, 0), sigmoid: (sigmoid_into, 1)}
OVER = UFUNCS.keys() | INTO.keys()  # what may be written over an operand
CONVOLUTIONS: dict[Any, Any] = {
    conv2d: convolve.correlate,
    conv2d_image: convolve.correlate_image,
}
# Ops whose result is always memory of its own.
FRESH = {*UFUNCS, sigmoid, relu, where, matmul, sum, mean, unbroadcast}
FRESH |= {conv2d, conv2d_image, conv2d_kernel, index_add}
# Ops whose rules are made of ops alone: they look at no numbers.
PURE = FRESH | {broadcast_to, getitem, reshape, transpose}
NUMBERS = {float, int, bool}
BLOCK = 1 << 16  # elements of a chain of large arrays that are computed at a time
HEAVY = 1 << 16  # bytes of an array that is let go as soon as nobody needs it; at most BLOCK


class Place(int):
    """The number of an array of the program, told apart from numbers that are constants."""


@dataclass(slots=True)
class Line:
    """An array of the program and how it is computed (a leaf is not), with its shape and dtype;
    a rule of a sequence op gives a list, of which neither is known."""

    place: Place
    op: Op | None  # None: a leaf, or what a rule gives
    function: Any
    inputs: tuple[Any, ...]
    places: list[Place]  # those of the inputs that are arrays of the program
    shape: tuple[int, ...] | None
    dtype: Any
    params: Mapping[str, Any]
    foreign: bool  # it may hold what it is given, and what it gives


def count_references() -> int:
    """What sys.getrefcount says of an array that only a list holds; 0 if that cannot be told."""
    arrays = [np.empty(1)]
    alone = sys.getrefcount(arrays[-1])
    also = arrays[-1]
    return alone if sys.getrefcount(arrays[-1]) > alone and also is not None else 0


ALONE = count_references()
Kind = tuple[tuple[int, ...], Any]  # the shape and dtype of an array


class Memory:
    """The large arrays of a run, for the next: a CNN takes 0.8 times the time, as the system need
    not find and clear memory again. Nothing is written to while somebody else holds it, be it a
    result that was given, or a view."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self.kinds = kinds
        self.free: list[list[ndarray]] = [[] for _ in kinds]
        # The results of the last run, and those of the run before that were held after it: whoever
        # runs it in a loop lets go of results when he has the next.
        self.given: list[tuple[int, ndarray]] = []
        self.older: list[tuple[int, ndarray]] = []

    def collect(self) -> None:
        """Have back the results that nobody holds any more."""
        held: list[tuple[int, ndarray]] = []
        for results, kept in (self.given, held), (self.older, []):
            for pair in results:
                if sys.getrefcount(pair[1]) > ALONE:
                    kept.append(pair)
                elif self.is_as_it_was(*pair):
                    self.free[pair[0]].append(pair[1])
        self.given, self.older = [], held

    def is_as_it_was(self, kind: int, array: ndarray) -> bool:
        """Whether nobody has changed more of an array than its numbers."""
        return (array.shape, array.dtype) == self.kinds[kind] and array.flags.carray

    def take(self, kind: int) -> ndarray:
        """An array that nobody holds."""
        free = self.free[kind]
        while free:
            alone = sys.getrefcount(free[-1]) <= ALONE
            array = free.pop()
            if alone and not getweakrefcount(array):
                return array
        return np.empty(*self.kinds[kind])


def is_foreign(op: Any) -> bool:
    """Whether an op, or a rule, may hold what it is given, or give what it was given."""
    return op.foreign or getattr(op, "shares", False)


class Stub(Value):
    """What a value is in errors, without its numbers."""

    def __init__(self, like: Value) -> None:
        self.op, self._name = like.op, like._name
        self._array = np.broadcast_to(np.zeros((), like._array.dtype), like._array.shape)


class Tape:
    """The lines of a computation, and then of its gradients."""

    def __init__(self, computation: Sequence[Value]) -> None:
        self.places: dict[Value, Place] = {}
        self.lines: list[Line] = []
        self.constants: dict[Place, Any] = {}
        self.leaves = [v for v in computation if v.op is None]
        for v in computation:
            self.add(v)

    def add(self, v: Value, function: Any = None, inputs: tuple[Any, ...] = ()) -> None:
        """The line of a value: of its op, or of a rule that gave it for these inputs."""
        op, array = v.op, v._array
        if op is not None:
            inputs, function = v.inputs, op.compute
        known = tuple([self.places[x] if isinstance(x, Value) else x for x in inputs])
        places = [x for x in known if x.__class__ is Place]
        constant = [x for x in places if x in self.constants]
        if constant and op is multiply and (other := self.times_one(known, array)) is not None:
            self.places[v] = other
            return
        place = self.places[v] = Place(len(self.lines))
        if constant and len(constant) == len(places):
            self.constants[place], known, places, function = array, (), [], None
        shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
        foreign = function is not None and is_foreign(op or function)
        line = Line(place, op, function, known, places, shape, dtype, v.params, foreign)
        self.lines.append(line)

    def times_one(self, factors: Sequence[Any], product: Any) -> Place | None:
        """The factor that a product is equal to, as the other is a constant 1 everywhere."""
        for n, other in (factors, factors[::-1]):
            x = self.constants.get(n) if n.__class__ is Place else None  # 2.0 is found as Place(2)
            if x is not None and other.__class__ is Place:
                line = self.lines[other]
                like = (line.shape, line.dtype) == (product.shape, product.dtype)
                if like and np.all(x == 1):
                    return other
        return None

    def place(self, v: Value) -> Place:
        """The number of a value, with lines for what it was computed from where they lack."""
        if v not in self.places:
            found, stack = {v}, [v]
            while stack:
                for x in stack.pop().inputs:
                    if isinstance(x, Value) and x not in self.places and x not in found:
                        found.add(x)
                        stack.append(x)
            for x in sorted(found, key=lambda x: x.index):
                self.add(x)
                if x.op is None:
                    self.constants[self.places[x]] = x._array
        return self.places[v]

    def add_gradients(
        self, output: Value, start: Any, wanted: Sequence[Value], computation: Sequence[Value]
    ) -> list[Place]:
        """Lines for the gradients of some leaves, and the numbers of these."""
        path = between(output, set(wanted))
        cotangents: dict[Value, Any] = {output: new(Tensor).record(start)}
        for node in reversed(computation):
            if node.op is None or node not in cotangents:
                continue
            g, parts = cotangents.pop(node), None
            for slot, x in enumerate(node.inputs):
                if not (isinstance(x, Value) and x._requires_grad and x in path):
                    continue
                rule = node.op.rule(slot)
                if rule is None:
                    raise missing_rule(node.op, slot)
                if rule is blocked:
                    part = new(Tensor).record(np.zeros_like(x._array)[()])
                elif node.op in PURE:
                    part = to_input(rule(g, node, *node.inputs, **node.params), x, node)
                elif node.op.sequence:
                    list(contributions(node, g._array, within=path))  # which checks the rule
                    parts = parts or self.call(JointRule(node, slot), g, node, *node.inputs)
                    part = self.call(Part(node, slot), parts)
                else:
                    part = self.call(CalledRule(node, slot), g, node, *node.inputs)
                cotangents[x] = cotangents[x] + part if x in cotangents else part
        zeros = (new(Tensor).record(np.zeros_like(x._array)[()]) for x in wanted)
        return [self.place(cotangents.get(x, z)) for x, z in zip(wanted, zeros, strict=True)]

    def call(self, function: CalledRule, *inputs: Any) -> Value:
        """A line that calls a rule, and what it gave for the recorded arrays."""
        for x in inputs:
            if isinstance(x, Value):
                self.place(x)
        made: Value = new(Tensor).record(function(*map(array_of, inputs)))
        self.add(made, function, inputs)
        return made


class CalledRule:
    """The rule of a slot, whose result is made to fit its input, without the arrays of the node."""

    def __init__(self, node: Value, slot: int) -> None:
        op: Any = node.op
        self.rule, self.params, self.foreign = op.rule(slot), node.params, is_foreign(op)
        self.slot, self.node, self.x = slot, Stub(node), Stub(node.inputs[slot])

    def __call__(self, g: Any, out: Any, *inputs: Any) -> Any:
        """What it sends the input, for the gradient that arrived."""
        return to_input(self.rule(g, out, *inputs, **self.params), self.x, self.node)


class JointRule(CalledRule):
    """The one rule of a sequence op, which gives a list."""

    def __call__(self, g: Any, out: Any, *inputs: Any) -> Any:
        """What it sends all inputs."""
        return self.rule(g, out, inputs, **self.params)


class Part(CalledRule):
    """One of what a joint rule gave."""

    def __call__(self, parts: Any, *_: Any) -> Any:
        """What it sends the input, among what it sends all."""
        return to_input(parts[self.slot], self.x, self.node)


def passes(
    output: Value,
    computation: Sequence[Value],
    start: Any,
    wanted: Sequence[Value],
    inputs: Sequence[Value],
) -> Passes:
    """`rerun.passes` as straight-line code: F of the exercises in half of the time, a chain of
    scalars in a tenth."""
    # The garbage collector would walk what is made here again and again: half of the time.
    collecting, token = gc.isenabled(), CONTEXT.set(Context())
    gc.disable()
    try:
        with np.errstate(all="ignore"):  # it has warned when it was computed
            tape = Tape(computation)
            results = [tape.places[output]]
            results += tape.add_gradients(output, start, wanted, computation)
        return straight_line(tape, results, wanted, inputs)
    finally:
        CONTEXT.reset(token)
        if collecting:
            gc.enable()


def straight_line(
    tape: Tape, results: Sequence[Place], wanted: Sequence[Value], inputs: Sequence[Value]
) -> Passes:
    """What computes these results from the data that leaves have by then, some of it given."""
    places, given = tape.places, dict.fromkeys((*inputs, *wanted))
    read = [x for x in given if x not in set(inputs)]
    others = [x for x in tape.leaves if x not in given]
    # What depends on none of the given leaves is computed again only where its own leaves change.
    varying = {places[x] for x in given}
    for line in tape.lines:
        if not varying.isdisjoint(line.places):
            varying.add(line.place)
    computed = [line for line in tape.lines if line.function is not None]
    lines = [line for line in computed if line.place in varying]
    fixed = [line for line in computed if line.place not in varying]
    used = {*results, *(n for line in lines for n in line.places)}
    kept = sorted(used - varying - tape.constants.keys())
    first, then = Writer(tape, fixed, kept), Writer(tape, lines, results)
    prepare = first.function([places[x] for x in others], copied=False)
    compute = then.function([*(places[x] for x in given), *kept])
    compute = in_memory(compute, then.kinds, then.given()) if then.kinds else partial(compute, None)
    kinds = first.kinds
    seen = [x._array for x in others]
    # One object, so that no thread sees half of a change.
    prepared = seen, prepare(Memory(kinds), *seen)

    def run(arrays: Sequence[Any]) -> tuple[Any, list[Any], str]:
        nonlocal prepared
        seen, ready = prepared
        if others and not all(map(is_, seen, now := [x._array for x in others])):
            ready = prepare(Memory(kinds), *now)
            prepared = now, ready
        value, *gradients = compute(*arrays, *[x._array for x in read], *ready)
        return value, gradients, ""

    return run


def in_memory(
    function: Callable[..., Any], kinds: Sequence[Kind], given: Sequence[tuple[int, int]]
) -> Callable[..., Any]:
    """The function of a Memory as one of arrays alone; of what it gives, `given` says what is in
    the Memory: which kind, and which result."""
    memories: list[Memory] = []  # of as many runs as went on at once

    def run(*arrays: Any) -> Any:
        try:
            memory = memories.pop()
        except IndexError:
            memory = Memory(kinds)
        memory.collect()
        found = function(memory, *arrays)
        memory.given = [(kind, found[i]) for kind, i in given]
        memories.append(memory)
        return found

    return run


def last_uses(lines: Sequence[Line], results: Sequence[Place]) -> dict[Place, int]:
    """The last line that needs each array, or a result that may be a view of it."""
    last = dict.fromkeys(results, len(lines))
    for k in range(len(lines) - 1, -1, -1):
        line = lines[k]
        end = k if line.op in FRESH else last.get(line.place, k)
        for n in line.places:
            if last.get(n, -1) < end:
                last[n] = end
    return last


class Writer:
    """Writes lines as a Python function, whose results are those of some of the lines."""

    def __init__(self, tape: Tape, lines: Sequence[Line], results: Sequence[Place]) -> None:
        self.tape, self.lines, self.results = tape, lines, results
        self.last = last_uses(lines, results)
        self.names = {f"v{n}": x for n, x in tape.constants.items() if n in self.last}
        self.owned = set[Place]()  # what may be written over when nobody needs it any more
        # What each result may be a view of, and all of which there may be one.
        self.bases = {line.place: line.places for line in lines if line.op not in FRESH}
        self.viewed = {n for places in self.bases.values() for n in places}
        self.passing = set[Place]()  # what is only there in blocks
        self.kinds: list[Kind] = []  # of the arrays of a Memory
        self.taken: dict[Place, int] = {}  # what is in one of them, and the number of its kind
        self.uses = Counter([*(n for line in lines for n in line.places), *results, *results])
        self.parts: dict[Place, str] = {}  # numbers that are written where they are used
        self.code: list[str] = []

    def function(self, parameters: Sequence[Place], copied: bool = True) -> Any:
        """The function of the arrays of these; if copied, each result is memory of its own."""
        ending: dict[int, list[Place]] = {}  # the large arrays that nobody needs after a line
        for line in self.lines:
            size = math.prod(line.shape) * line.dtype.itemsize if line.shape else 0
            if size > HEAVY and line.place in self.last:
                ending.setdefault(self.last[line.place], []).append(line.place)
        start = 0
        while start < len(self.lines):
            end = self.end_of_chain(start) if self.lines[start].shape else start + 1
            if end - start > 1:
                self.write_blocks(start, end)
            else:
                self.write(start)
            for n in (n for k in range(start, end) for n in ending.get(k, ())):
                if n in self.taken:
                    self.code.append(f" m.free[{self.taken.pop(n)}].append(v{n})")
                if n not in self.passing:
                    self.code.append(f" v{n} = None")
            start = end
        given = []
        for i, n in enumerate(self.results):
            own = not copied or (n in self.owned and n not in self.results[:i])
            given.append(f"v{n}," if own else f"{self.name(np.array)}(v{n}),")
        head = f"def run({', '.join(['m', *(f'v{n}' for n in parameters)])}):"
        source = "\n".join([head, *self.code, f" return {' '.join(given) or '()'}"])
        exec(compile(source, "<program>", "exec"), self.names)
        return self.names["run"]

    def given(self) -> list[tuple[int, int]]:
        """The results that are arrays of a Memory: which kind, and which result."""
        own = self.owned & self.taken.keys()
        return [(self.taken[n], self.results.index(n)) for n in own if n in self.results]

    def memory_for(self, line: Line) -> list[str]:
        """An array of the Memory for what a line gives, if it is large and can be written there."""
        size = math.prod(line.shape) * line.dtype.itemsize if line.shape else 0
        if size <= HEAVY or not self.takes_memory(line):
            return []
        kind = line.shape or (), line.dtype
        if kind not in self.kinds:
            self.kinds.append(kind)
        self.taken[line.place] = self.kinds.index(kind)
        return [f"m.take({self.taken[line.place]})"]

    def takes_memory(self, line: Line) -> bool:
        """Whether what a line gives can be written into memory that is there."""
        if line.op in OVER:
            return True
        operands = [self.tape.lines[n] for n in line.places]
        if line.op is matmul and any(len(x.shape or ()) != 2 for x in operands):
            return False
        one_dtype = all(x.dtype == line.dtype for x in operands)
        return one_dtype and (line.op is matmul or line.op in CONVOLUTIONS)

    def over(self, n: Place, line: Line) -> str:
        """An array that nobody needs any more, for what a line gives."""
        if n in self.taken:
            self.taken[line.place] = self.taken.pop(n)
        return f"v{n}"

    def write(self, k: int) -> None:
        """One line."""
        line = self.lines[k]
        over = self.ended(k, k + 1) if line.shape and line.op in OVER else []
        over = [n for n in over if self.is_like(n, line)]
        into = [self.over(over[0], line)] if over else self.memory_for(line)
        given = [self.called(x) for x in self.arrays_for(line)]
        text = self.expression(line, given, into)
        if not line.shape and line.op in UFUNCS and self.uses[line.place] == 1 and len(text) < 99:
            self.parts[line.place] = f"({text})"  # a third less to compile
            return
        self.code.append(f" v{line.place} = {text}")
        held = list(line.places) if line.foreign else []
        while held:
            self.owned.discard(n := held.pop())
            held += self.bases.pop(n, ())
        if line.shape and (line.op in FRESH or (line.op and line.foreign)):
            self.owned.add(line.place)

    def write_blocks(self, start: int, end: int) -> None:
        """The lines of a chain, a block of rows after the other, so that all but what is needed
        later stays in the cache."""
        lines = self.lines[start:end]
        rows, *rest = lines[0].shape or ()
        inside = {line.place: k for k, line in enumerate(lines, start)}
        self.code.append(f" for i in range(0, {rows}, {max(1, BLOCK // math.prod(rest))}):")
        before, called = len(self.code) - 1, dict[Place, str]()
        free = [n for n in self.ended(start, end) if n not in self.viewed]
        self.code.append(f"  s = {self.name(slice)}(i, i + {max(1, BLOCK // math.prod(rest))})")
        for n in dict.fromkeys(n for line in lines for n in line.places if n not in inside):
            called[n] = self.called(n)
            if self.tape.lines[n].shape == lines[0].shape:
                self.code.append(f"  b{n} = v{n}[s]")
                called[n] = f"b{n}"
        for k, line in enumerate(lines, start):
            given = [
                called[x] if x.__class__ is Place else self.name(x) for x in self.arrays_for(line)
            ]
            over = [n for n in line.places if n in inside and self.last[n] == k]
            into = [called[n] for n in over if self.is_like(n, line)][:1]
            if self.last.get(line.place, k) >= end:  # it is needed later, so as a whole
                whole = next((n for n in free if self.is_like(n, line) and self.last[n] <= k), None)
                if whole is not None:
                    free.remove(whole)
                    made = self.over(whole, line)
                else:
                    made = self.memory_for(line)[0]
                self.code.insert(before, f" v{line.place} = {made}")
                self.owned.add(line.place)
                before, into = before + 1, [f"v{line.place}[s]"]
            else:
                self.passing.add(line.place)
            called[line.place] = f"b{line.place}"
            self.code.append(f"  b{line.place} = {self.expression(line, given, into)}")
        blocks = [x for x in called.values() if x.startswith("b")]
        self.code.append(f" {' = '.join(blocks)} = None")  # views hold the memory

    def end_of_chain(self, start: int) -> int:
        """Where the lines end, from one on, that can be computed in blocks of rows together."""
        end, shape = start, self.lines[start].shape
        while end < len(self.lines) and self.is_in_rows(self.lines[end], shape):
            end += 1
        return max(end, start + 1)

    def is_in_rows(self, line: Line, shape: Any) -> bool:
        """Whether each row of a large array of this shape depends on the same row of operands."""
        if not shape or line.op not in OVER or line.shape != shape or math.prod(shape) <= BLOCK:
            return False
        operands = [self.tape.lines[n].shape or () for n in line.places]
        return all(x == shape or len(x) < len(shape) or x[0] == 1 for x in operands)

    def ended(self, start: int, end: int) -> list[Place]:
        """What some lines may write over: nobody needs it after them."""
        places = dict.fromkeys(n for k in range(start, end) for n in self.lines[k].places)
        return [n for n in places if n in self.owned and start <= self.last[n] < end]

    def is_like(self, n: Place, line: Line) -> bool:
        """Whether an array has the shape and dtype of a line's."""
        x = self.tape.lines[n]
        return x.shape == line.shape and bool(x.dtype == line.dtype)

    def called(self, x: Any) -> str:
        """What an array of the program, or a constant, is called in the code."""
        return (self.parts.pop(x, "") or f"v{x}") if x.__class__ is Place else self.name(x)

    def name(self, x: Any) -> str:
        """What an object is called in the code."""
        self.names[f"c{id(x)}"] = x
        return f"c{id(x)}"

    def arrays_for(self, line: Line) -> tuple[Any, ...]:
        """The inputs of a line, an array in the place of a number, which is 0.3 us sooner."""
        if not line.shape or line.op not in UFUNCS or len(line.places) == len(line.inputs):
            return line.inputs
        dtype = self.tape.lines[line.places[0]].dtype
        if dtype.kind != "f":
            return line.inputs
        return tuple(np.asarray(x, dtype) if x.__class__ in NUMBERS else x for x in line.inputs)

    def expression(self, line: Line, given: list[str], into: list[str]) -> str:
        """How Python writes a line, over an array if there is one to write over."""
        op, shape, params, name = line.op, line.shape, line.params, self.name
        if op in UFUNCS:
            function, written = UFUNCS[op]
            if written and not into:
                return written.format(*given)
            if op in (maximum, minimum):
                into = [f"out={x}" for x in into]
            return f"{name(function)}({', '.join(given + into)})"
        if shape and op in INTO:
            function, number = INTO[op]
            given = [*given, name(np.asarray(number, line.dtype)), *into]
            return f"{name(function)}({', '.join(given)})"
        if op is None or op not in PURE:
            return f"{name(checked(line))}({', '.join(given)})"
        x, operands = given[0], [self.tape.lines[n] for n in line.places]
        first = operands[0]
        if op in CONVOLUTIONS and into:
            sizes = dict(params)
            given += [name(sizes.pop("size"))] if "size" in sizes else []
            geometry = geometry_of((operands[1].shape or ())[2:], **sizes)
            return f"{name(CONVOLUTIONS[op])}({', '.join([*given, name(geometry), *into])})"
        if op is matmul and into:
            return f"{name(np.matmul)}({', '.join(given + into)})"
        if op is matmul and all(x.shape and len(x.shape) < 3 for x in operands):
            one = any(math.prod(x.shape or ()) == 1 for x in operands)  # for .dot, 0 * NaN is 0
            if math.prod(shape or ()) < LARGE and not one:
                return "{}.dot({})".format(*given)
            return "{} @ {}".format(*given)
        size, one_dtype = math.prod(first.shape or ()), first.dtype == line.dtype
        if op is sum or (op is mean and size and line.dtype.char in "fd" and one_dtype):
            axis, keepdims = name(params["axis"]), name(params["keepdims"])
            total = f"{name(np.add.reduce)}({x}, {axis}, None, None, {keepdims})"
            return total if op is sum else f"{total} / {size // math.prod(shape or ())}"
        if op is unbroadcast and first.shape and shape == first.shape[1:] and len(shape) == 1:
            return f"{name(np.ones(first.shape[0], first.dtype))}.dot({x})"
        if op is getitem and first.shape:
            taken = "" if shape else "[()]"  # h[0, ...] is a view of h, which may be written over
            return f"{x}[{name(params['index'])}]{taken}"
        if op is reshape and shape and first.shape:
            return f"{x}.reshape({shape})"
        if op is transpose and first.shape:
            return f"{x}.transpose({name(params['axes'])})"
        given += [f"{key}={name(x)}" for key, x in params.items()]
        return f"{name(op.forward)}({', '.join(given)})" + ("" if shape else "[()]")


def checked(line: Line) -> Callable[..., Any]:
    """The function of a line, that raises where it gives another shape or dtype than it did."""
    function, shape, dtype, foreign = line.function, line.shape, line.dtype, line.foreign
    what = line.op.name if line.op else "a rule"
    if line.op is not None and line.params:
        function = partial(function, **line.params)
    if shape is None:
        return function

    def call(*arrays: Any) -> Any:
        if foreign:
            arrays = tuple(map(locked, arrays))
        found = function(*arrays)
        if found.__class__ is not ndarray or foreign or not shape:
            found = np.array(found)[()]
        if found.shape != shape or found.dtype != dtype:
            raise RuntimeError(
                f"{what} gave shape {found.shape} and dtype {found.dtype} in the program, but "
                f"{shape} and {dtype} when it was recorded; use plain Tensors where they change"
            )
        return found

    return call


def locked(x: Any) -> Any:
    """An array as a view that nobody can write to."""
    if isinstance(x, ndarray):
        x = x.view()
        x.flags.writeable = False
    return x
