"""Walking through steps by keys: where we are, and what each key does."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from os.path import commonprefix

from ..recorded.array_text import whole
from ..recorded.measure import norm
from ..recorded.states import State
from ..stepping.record import Passes
from ..stepping.steps import Step
from ..text import oneline

KEYS = "(n)ext (p)revious (g)o to N (r)un to NAME (v)alues (?) (q)uit"

HELP = """Keys
  n, right, space, enter   the next step
  p, left                  the previous step
  home, end                the first step, the last
  f, b                     this op on its way forward, or backward
  g N                      go to step N
  r NAME                   run on to the step that makes NAME, or sends it
                           gradient; its beginning is enough, Tab completes it
  r CONDITION              run on to the step where it holds, one of
                           |g| < 1e-6  of the gradient's norm (<, <=, >, >=)
                           nan         a NaN or infinity is made or sent
                           blocked     a rule lets nothing pass
                           wrong       a finite difference contradicts a rule
  v                        the values in full, or in short again
  up, down, page up, down  scroll
  q, Ctrl-C, Ctrl-D        quit"""

PROMPTS = {"g": "go to step ", "r": "run to NAME, |g| < 1e-6, nan, blocked or wrong: "}
COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
NORM = re.compile(r"\|\s*g\s*\|\s*(<=|>=|<|>)\s*(\S+)$")
Condition = Callable[[Step], bool]
CONDITIONS: dict[str, Condition] = {
    "nan": lambda step: not step.finite,
    "blocked": lambda step: any(send.traffic is State.BLOCKED for send in step.sends),
    "wrong": lambda step: bool(step.wrong),
}


class Walker:
    """A place among steps, moved by keys; see `drawing.terminal.Program`."""

    prompts: Mapping[str, str] = PROMPTS

    def __init__(self, steps: Passes) -> None:
        self.steps = steps
        self.at = 0
        self.in_full = self.help = False
        self.message = ""

    @property
    def step(self) -> Step:
        """The step we are at."""
        return self.steps[self.at]

    def lines(self, width: int) -> list[str]:
        """The step, or the help, in lines of at most `width` characters."""
        if self.help:
            return [line[:width] for line in HELP.splitlines()]
        lines = self.steps.lines(self.at, width)
        if not self.in_full:
            return lines
        step = self.step
        arrays = [(x.name, x.value) for x in (*step.inputs, step.output)]
        arrays += [(f"from {x.sender}", x.contribution) for x in step.arrivals]
        arrays += [(f"to {x.recipient}", x.contribution) for x in step.sends]
        for name, array in arrays:
            lines += ["", f"  {name}  {array.shape} {array.dtype}"]
            lines += [f"    {line}"[:width] for line in whole(array, width - 4)]
        return lines

    def status(self, width: int) -> str:
        """The message of the last key, or the keys there are."""
        return (self.message or KEYS)[:width]

    def press(self, key: str, argument: str = "") -> bool:
        """Do what a key says; False to quit."""
        self.message, was_help, self.help = "", self.help, False
        here, last = self.at, len(self.steps) - 1
        to = {"n": here + 1, "right": here + 1, "p": here - 1, "left": here - 1}
        to |= {"home": 0, "end": last}
        match key:
            case "q":
                return False
            case "f" | "b":
                self.turn("forward" if key == "f" else "backward")
            case "g" if argument.isdecimal() and 0 < int(argument) <= last + 1:
                self.at = int(argument) - 1
            case "g" if argument:
                self.message = f"there is no step {argument!r}; steps go from 1 to {last + 1}"
            case "r":
                self.run(argument)
            case "v":
                self.in_full = not self.in_full
            case "?" | "h":
                self.help = not was_help
            case _ if key in to:
                self.move(to[key])
            case _ if key not in ("g", "escape"):
                self.message = f"no such key: {oneline(key)}; ? shows them all"
        return True

    def move(self, to: int) -> None:
        """Go to a step, or say that there is none."""
        if 0 <= to < len(self.steps):
            self.at = to
        else:
            self.message = "this is the last step" if to > 0 else "this is the first step"

    def turn(self, direction: str) -> None:
        """Go to the same op in the other direction."""
        for i, step in enumerate(self.steps):
            if step.id == self.step.id and step.direction == direction:
                self.at = i
                return
        self.message = f"{self.step.output.name} has no {direction} step"

    def run(self, wanted: str) -> None:
        """Go on to the next step that `wanted` names or describes."""
        if not wanted:
            return
        found, what = self.search(wanted)
        if not what:
            self.message = f"nothing here is called {oneline(wanted)}, and it is no condition (?)"
        elif ahead := [i for i in found if i > self.at]:
            self.at = ahead[0]
        elif found:
            places = ", ".join(str(i + 1) for i in found[:5])
            self.message = f"{what} only before this step, at {places}"
        else:
            self.message = f"{what} at no step"

    def search(self, wanted: str) -> tuple[list[int], str]:
        """The steps that `wanted` names or describes, and what that is; "" if nothing."""
        names = [self.names(step) for step in self.steps]
        known = {name for some in names for name in some}
        begun = {name for name in known if name.startswith(wanted)}
        if chosen := ({wanted} & known) or begun:
            return [i for i, some in enumerate(names) if chosen & set(some)], f"{wanted} comes"
        holds = CONDITIONS.get(wanted.lower()) or norm_condition(wanted)
        if holds is None:
            return [], ""
        return [i for i, s in enumerate(self.steps) if holds(s)], f"{oneline(wanted)} holds"

    @staticmethod
    def names(step: Step) -> list[str]:
        """What a step can be run to by: the name it makes, and, backward, those it sends to."""
        return [step.output.name, *(send.recipient for send in step.sends)]

    def complete(self, beginning: str) -> str:
        """The longest text that all names with this beginning share."""
        names = {name for step in self.steps for name in self.names(step)}
        return commonprefix([name for name in names if name.startswith(beginning)]) or beginning


def norm_condition(wanted: str) -> Condition | None:
    """Whether a gradient's norm is as ``|g| < 1e-6`` says; None if that is not what is said."""
    if not (found := NORM.match(wanted)):
        return None
    try:
        compare, bound = COMPARE[found[1]], float(found[2])
    except ValueError:
        return None
    return lambda step: step.gradient is not None and compare(norm(step.gradient), bound)
