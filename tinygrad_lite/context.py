"""What surrounds an operation as it runs: whether it is recorded, in which scope, and whether
the line of the user's code is noted."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = os.path.dirname(__file__) + os.sep


class Context:
    """What holds for the current thread or task: what held outside, until a block changes it."""

    def __init__(self, outer: Any = None, block: Block | None = None) -> None:
        self.outer, self.block = outer, block
        self.recording: bool = outer.recording if outer else True
        self.scope: tuple[str, ...] = outer.scope if outer else ()
        # What notes the line of the user's code that runs an op, if anything.
        self.sources: Any = outer.sources if outer else None


OUTSIDE = Context()  # what holds outside all blocks
CONTEXT: ContextVar[Context] = ContextVar("tinygrad_lite", default=OUTSIDE)


class Block:
    """A context manager and decorator that changes the context for a while.

    Nothing is kept on the object, so that one may be entered twice and by many threads. A block
    ends itself, even where another was entered since, as when a generator is closed later.
    """

    def change(self, context: Context) -> None:
        """Make what holds outside the block what holds inside it."""
        raise NotImplementedError

    def __enter__(self) -> None:
        context = Context(CONTEXT.get(), self)
        self.change(context)
        CONTEXT.set(context)

    def __exit__(self, *_: object) -> None:
        now = CONTEXT.get()
        later: list[Block] = []
        while now.block is not None and now.block is not self:
            later.append(now.block)
            now = now.outer
        CONTEXT.set(now.outer or now)
        for block in reversed(later):
            block.__enter__()

    def __call__(self, function: F) -> F:
        """The function, run inside the block. Raises: TypeError for one that suspends."""
        suspends = (inspect.isgeneratorfunction, inspect.iscoroutinefunction)
        if any(test(function) for test in (*suspends, inspect.isasyncgenfunction)):
            raise TypeError(
                f"{type(self).__name__} cannot decorate {function.__name__}, which suspends while "
                "it runs; use a with block inside it"
            )

        @wraps(function)
        def inner(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inner  # type: ignore[return-value]


class no_grad(Block):
    """Record nothing: results inside are leaves that require no gradient.

    A context manager and a decorator; each thread has its own.

    >>> from tinygrad_lite import Tensor, no_grad
    >>> x = Tensor(2.0, requires_grad=True)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    def change(self, context: Context) -> None:
        """Not recording."""
        context.recording = False


class scope(Block):
    """Name a part of the computation; scopes nest.

    Drawings show a scope as a box, and path tables name paths by the scopes they pass.
    A context manager and a decorator; each thread has its own.

    >>> from tinygrad_lite import Tensor, scope
    >>> with scope("f1"):
    ...     y = Tensor(1.0) + 2.0
    >>> y.scope
    ('f1',)

    Raises: TypeError for a name that is not a non-empty string.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a scope's name is a non-empty string, but got {name!r}")
        self.name = name

    def change(self, context: Context) -> None:
        """One scope further in."""
        context.scope = (*context.scope, self.name)
