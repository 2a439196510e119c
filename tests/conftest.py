"""What the tests share."""

import importlib
import os
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def print_options() -> Iterator[None]:
    """What a test, or an example run in one, changes of how NumPy prints ends with it."""
    with np.printoptions():
        yield


def require(name: str) -> ModuleType:
    """Import a library that a test needs: without it the test is skipped, or, where
    TINYGRAD_LITE_REQUIRE_ALL=1 says that everything is installed, fails."""
    if os.environ.get("TINYGRAD_LITE_REQUIRE_ALL") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)
