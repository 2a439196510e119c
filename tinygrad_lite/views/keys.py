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
from ..text import clip, oneline, wrap
from .screen import Encode, Screen, Ways

KEYS = (
    "(n)ext (p)revious (g)o to N (r)un to NAME (v)alues (c)ode (P)aths (?) (q)uit",
    "(n)ext (p)revious (g)o to N (r)un to NAME (v)alues (c)ode (?) (q)uit",
    "(n)ext (p)revious (?) (q)uit",
    "n p ? q",
)  # the longest that fits is shown

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
  c                        the rules as code, or no more
  P                        the paths to the next parameter
  up, down, page up, down  scroll
  q                        quit; here, back to the steps, as ? and escape
  Ctrl-C, Ctrl-D           quit

Signs
  ▶ ^^^^ ▸ ◆ [ ]           where we are: in the code, the gradients, the bar, the drawing
  y had, y now             what y had received before this step, and has with it
  |2.09|                   a norm
  █ +123 %, ▒ −23 %        a share of the gradient; ▒ opposes the whole
  ━ ─                      travelled, not yet
Every colour repeats one of these, or a word; NO_COLOR leaves the colours out.

Room
  From 96 columns on gradients and paths stand beside the step. In a lower window
  the drawing folds to one line, then what comes after the step stands further
  down, where it is scrolled to; the step with its line of code stays."""

COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
Condition = Callable[[Step], bool]
CONDITIONS: dict[str, Condition] = {
    "nan": lambda step: not step.finite,
    "blocked": lambda step: any(send.traffic is State.BLOCKED for send in step.sends),
    "wrong": lambda step: bool(step.wrong),
}


class Walker:
    """A place among steps, moved by keys; see `drawing.terminal.Program`."""

    prompts: Mapping[str, str] = {
        "g": "go to step ",
        "r": "run to NAME, |g| < 1e-6, nan, blocked or wrong: ",
    }

    def __init__(
        self, steps: Passes, ways: Callable[[int], Ways | None] = lambda _: None, parameter: int = 0
    ) -> None:
        """`parameter` is the number of that whose paths are shown; -1 if only when asked for."""
        self.steps, self.picture = steps, Screen(steps, ways)
        self.at = 0
        self.parameter = parameter
        self.in_full = self.in_code = self.help = False
        self.message = "not all is finite: r nan runs to where" if steps.first_bad else ""

    @property
    def step(self) -> Step:
        """The step we are at."""
        return self.steps[self.at]

    def lines(self, width: int) -> list[str]:
        """The step, or the help, in lines of at most `width` characters."""
        if self.help:
            return [
                part for line in HELP.splitlines() for part in wrap(line, width, " " * 27) or [""]
            ]
        return self.steps.lines(self.at, width) + self.more(width)

    def screen(self, width: int, height: int, encode: Encode) -> list[str]:
        """The same for a screen, with what else there is room for."""
        if self.help:
            return list(map(encode, self.lines(width)))
        more = self.more(width)
        return self.picture.lines(self.at, width, height, encode, self.parameter, more)

    def more(self, width: int) -> list[str]:
        """What was asked to be shown besides: the rules as code, values in full."""
        lines: list[str] = []
        step = self.step
        for code in dict.fromkeys(send.formula.code for send in step.sends if self.in_code):
            lines += ["", *(clip(f"    {line}", width) for line in code.splitlines())]
        if not self.in_full:
            return lines
        arrays = [(x.name, x.value) for x in (*step.inputs, step.output)]
        arrays += [(f"from {x.sender}", x.contribution) for x in step.arrivals]
        arrays += [(f"to {x.recipient}", x.contribution) for x in step.sends]
        for name, array in arrays:
            lines += ["", clip(f"  {name}  {array.shape} {array.dtype}", width)]
            lines += [clip(f"    {line}", width) for line in whole(array, max(1, width - 4))]
        return lines

    def status(self, width: int) -> str:
        """The message of the last key, or the keys there are."""
        keys = next((keys for keys in KEYS if len(keys) <= width), "?")
        return clip(self.message or keys, width)

    def press(self, key: str, argument: str = "") -> bool:
        """Do what a key says; False to quit."""
        self.message, was_help, self.help = "", self.help, False
        if was_help and key in ("q", "escape", "?", "h"):
            return True
        last = len(self.steps) - 1
        match key:
            case "q":
                return False
            case "n" | "right":
                self.go(self.at + 1, "this is the last step")
            case "p" | "left":
                self.go(self.at - 1, "this is the first step")
            case "home" | "end":
                self.at = last if key == "end" else 0
            case "f" | "b":
                self.turn("forward" if key == "f" else "backward")
            case "g" if argument.isdecimal() and 0 < int(argument) <= last + 1:
                self.at = int(argument) - 1
            case "g" if argument:
                self.message = f"there is no step {argument!r}; steps go from 1 to {last + 1}"
            case "r" if argument:
                self.run(argument)
            case "v":
                self.in_full = not self.in_full
            case "c":
                self.in_code = not self.in_code
            case "P":
                self.parameter += 1
            case "?" | "h":
                self.help = True
            case _ if key not in ("g", "r", "escape"):
                self.message = f"no such key: {oneline(key)}; ? shows them all"
        return True

    def go(self, to: int, otherwise: str) -> None:
        """Go to a step, or say that there is none."""
        if 0 <= to < len(self.steps):
            self.at = to
        else:
            self.message = otherwise

    def turn(self, direction: str) -> None:
        """Go to the same op in the other direction."""
        wanted = self.step.id, direction
        found = (i for i, step in enumerate(self.steps) if (step.id, step.direction) == wanted)
        self.go(next(found, -1), f"{self.step.output.name} has no {direction} step")

    def run(self, wanted: str) -> None:
        """Go on to the next step that `wanted` names or describes."""
        names = [self.names(step) for step in self.steps]
        known = {name for some in names for name in some}
        chosen = {wanted} & known or {name for name in known if name.startswith(wanted)}
        condition = CONDITIONS.get(wanted.lower()) or norm_condition(wanted)
        if chosen:
            found, what = [bool(chosen & some) for some in names], f"{wanted} comes"
        elif condition:
            found, what = [condition(step) for step in self.steps], f"{oneline(wanted)} holds"
        else:
            self.message = f"nothing here is called {oneline(wanted)}, and it is no condition (?)"
            return
        if condition is CONDITIONS["wrong"] and not chosen and not self.steps.record.check:
            self.message = "no rule was checked: start with --check, or as steps(y, check=True)"
            return
        places = [i for i, holds in enumerate(found) if holds]
        before = ", ".join(str(i + 1) for i in places[:5])
        otherwise = f"{what} only before this step, at {before}" if places else f"{what} at no step"
        self.go(next((i for i in places if i > self.at), -1), otherwise)

    @staticmethod
    def names(step: Step) -> set[str]:
        """What a step can be run to by: the name it makes, and, backward, those it sends to."""
        return {step.output.name, *(send.recipient for send in step.sends)}

    def complete(self, beginning: str) -> str:
        """The longest text that all names with this beginning share."""
        names = {name for step in self.steps for name in self.names(step)}
        return commonprefix([name for name in names if name.startswith(beginning)]) or beginning


def norm_condition(wanted: str) -> Condition | None:
    """Whether a gradient's norm is as ``|g| < 1e-6`` says; None if that is not what is said."""
    if not (found := re.match(r"\|\s*g\s*\|\s*(<=|>=|<|>)\s*(\S+)$", wanted)):
        return None
    try:
        compare, bound = COMPARE[found[1]], float(found[2])
    except ValueError:
        return None
    return lambda step: step.gradient is not None and compare(norm(step.gradient), bound)
