"""The workloads on tinygrad_lite as programs: recorded once, then run again and again."""

from functools import partial

from tinygrad_lite import program

from . import on_tinygrad_lite as recorded
from .data import RATE


def from_record(f, inputs, descends=False):
    """The step that runs the program of f() and its gradients."""
    run = program(f(), inputs)

    def step():
        _, found = run()
        if descends:
            for x, g in zip(inputs, found, strict=True):
                x.data = x.data - RATE * g
        return found

    return step


w1, w2, w3f, w3g, w3r, w4, w5, w5k, w6, w8 = (
    partial(getattr(recorded, name), step=from_record)
    for name in ("w1", "w2", "w3f", "w3g", "w3r", "w4", "w5", "w5k", "w6", "w8")
)
