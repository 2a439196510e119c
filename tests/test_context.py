"""`no_grad` and `scope`: a block ends itself, wherever and whenever it ends."""

import asyncio

import numpy as np
import pytest

from tinygrad_lite import Tensor, no_grad, scope


def surroundings():
    """Whether a value computed here is recorded, and in which scope."""
    y = Tensor(1.0, requires_grad=True) * 2
    return y.requires_grad, y.scope


def numbers():
    with no_grad():
        yield np.ones(2)
        yield np.ones(2)


def test_a_generator_closed_inside_another_block_ends_its_own():
    batches = numbers()
    next(batches)
    with scope("net"):
        batches.close()
        assert surroundings() == (True, ("net",))
    assert surroundings() == (True, ())


def test_two_generators_end_in_either_order():
    first, second = numbers(), numbers()
    next(first)
    with scope("a"):
        next(second)
        first.close()
        assert surroundings() == (False, ("a",))
        second.close()
        assert surroundings() == (True, ("a",))
    assert surroundings() == (True, ())


def test_one_block_may_be_entered_twice():
    block = scope("f")
    with block, block:
        assert surroundings() == (True, ("f", "f"))
    assert surroundings() == (True, ())


def test_an_async_generator_ends_its_own_block():
    async def values():
        with no_grad(), scope("inner"):
            yield 1
            yield 2

    async def main():
        stream = values()
        await anext(stream)
        with scope("outer"):
            await stream.aclose()
            return surroundings()

    assert asyncio.run(main()) == (True, ("outer",))


def test_tasks_have_surroundings_of_their_own():
    async def task(name):
        with scope(name):
            await asyncio.sleep(0)
            return surroundings()

    async def main():
        return await asyncio.gather(task("a"), task("b"))

    assert asyncio.run(main()) == [(True, ("a",)), (True, ("b",))]


async def coroutine():
    """Suspends while it runs."""


async def stream():
    yield 1


@pytest.mark.parametrize("function", [numbers, coroutine, stream])
def test_what_suspends_cannot_be_decorated(function):
    with pytest.raises(TypeError, match="use a with block inside it"):
        no_grad()(function)
