"""A pytest plugin: the array API's own tests for a library without complex numbers.

Their variable ARRAY_API_TESTS_SKIP_DTYPES leaves these out, but then a line asks for the largest of
no dtypes; here it finds None. And the special cases of complex numbers are left out too.
"""

import builtins
import importlib.util
import sys

import pytest

NAME = "array_api_tests.dtype_helpers"


def largest(*given, **options):
    """`max`, and of an empty list (None, 0)."""
    return builtins.max(*given, **({"default": (None, 0)} if len(given) == 1 else {}), **options)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    """Import the module of that line, before its conftest does, with another `max`."""
    spec = importlib.util.find_spec(NAME)
    module = sys.modules[NAME] = importlib.util.module_from_spec(spec)
    module.max = largest
    spec.loader.exec_module(module)


def pytest_collection_modifyitems(config, items):
    """Leave out the special cases that speak of an imaginary part."""
    config.hook.pytest_deselected(items=[item for item in items if "imag(x_i)" in item.name])
    items[:] = [item for item in items if "imag(x_i)" not in item.name]
