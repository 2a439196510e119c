"""`steps(y)`: a computation step by step, forward and then backward, as text and as a page."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar

from ..context import Block, Context
from ..drawing.page import notebook_frame
from ..drawing.terminal import interact, say
from ..live.server import Live, serve
from ..recorded.lines import Calls
from ..recorded.names import names_of
from ..recorded.nodes import computation_of
from ..recorded.trace import cotangent
from ..stepping.record import Passes
from ..tensor import Tensor
from ..text import and_more
from ..views.keys import Walker
from .graphs import Graph
from .knobs import Knobs
from .result import LINES, Result, as_text
from .step_paths import StepPaths
from .travels import page_of


class source_lines(Block):
    """Note the line of your own file that makes each value, for `steps` to show.

    A context manager and a decorator; each thread has its own. Outside it nothing is
    noted, and nothing is spent on it. ``tinygrad-lite step`` runs a script inside it.

    >>> from tinygrad_lite import Tensor, source_lines, steps
    >>> with source_lines():
    ...     y = Tensor(2.0, requires_grad=True) * 3.0
    >>> steps(y)[0].source is not None
    True
    """

    def change(self, context: Context) -> None:
        """Noting lines."""
        context.sources = Calls()


class Steps(Result, Passes):
    """The steps of a computation, forward ones first; immutable.

    Indexing gives a `Step`, the same object each time; slicing gives `Steps`. `loss` says
    what L stands for in the rules. `save` writes one offline page, stepped by keys.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".html",)

    @cached_property
    def graph(self) -> Graph:
        """The graph that the steps walk."""
        return Graph.of(self.record.graph)

    def interactive(self) -> None:
        """Walk through the steps by keys, in the terminal; ? lists them.

        Without a terminal, as when the output is piped, every step is printed.
        """
        if not len(self):
            say("there are no steps: nothing was computed")
            return
        paths = StepPaths(self.record.graph)
        if not interact(Walker(self, paths.ways, 0 if paths.quick else -1)):
            say(str(self))

    def __repr__(self) -> str:
        more = [and_more(len(self) - LINES)] * (len(self) > LINES)
        hint = "each step whole: print(...), or .interactive() to walk through them"
        return "\n".join([self.note, *map(repr, self[:LINES]), *more, hint])

    def page(self) -> str:
        """The page as HTML."""
        return page_of(self)

    def live(self, port: int = 0, browser: bool | None = None) -> Live:
        """Serve the page with knobs: inputs and parameters can be changed, and branches cut, and
        everything follows, computed by `replay`.

        It is served on loopback, to whoever has the address that the result bears (`url`), until
        `close()`; `wait()` waits for Ctrl-C. `browser` says whether to open one; None opens it
        where there is a screen. A notebook shows the page in its output; where the notebook runs
        elsewhere, and loopback is not reached, the page without a server.

        Raises: OSError if the port cannot be used; ValueError as `save`, and for a slice of steps.
        """
        if len(self) != len(self.record.order):
            raise ValueError("a live page shows all steps: ask steps(y).live(), not of a slice")
        return serve(Knobs(self), port, browser, saved=notebook_frame(self.page()))

    def _repr_html_(self) -> str:
        return f"{notebook_frame(self.page())}\n{as_text(repr(self))}"


def steps(output: Tensor, gradient: Any = None, *, check: bool = False, names: Any = None) -> Steps:
    """The computation of `output`, op by op, forward and then backward.

    Backward starts with `gradient`, a cotangent of the output's shape; without it, with
    that of the last ``output.backward(...)``, and else with 1 if the output is a scalar.
    `Steps.loss` says which. With ``check=True`` every rule is held against a
    finite difference of its op at the recorded values. `names` as in `graph`.

    >>> from tinygrad_lite import Tensor, sigmoid, steps
    >>> h = Tensor(0.0, requires_grad=True, name="h")
    >>> y = sigmoid(h)
    >>> y.name = "y"
    >>> for step in steps(y):
    ...     print(step.rule)
    y = sigmoid(h)
    ∂L/∂h = g · y · (1 − y)

    Raises: TypeError if `output` is not a Tensor; as `backward` does for the gradient.
    """
    if not isinstance(output, Tensor):
        raise TypeError(f"steps takes a Tensor, but got {type(output).__name__}")
    start = None
    if output.requires_grad or gradient is not None:
        start = cotangent(output, gradient)
        start = start.data if isinstance(start, Tensor) else start
    return Steps.of(computation_of(output, names_of(output, names), start), check)
