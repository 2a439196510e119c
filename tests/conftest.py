"""What the tests share."""

import ast
import gc
import importlib
import io
import os
import shutil
import tokenize
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

collect_ignore = ["torch_models.py"]  # it has no doctests, and needs PyTorch to be imported

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1280,800",
]  # fmt: skip


@pytest.fixture(autouse=True)
def print_options() -> Iterator[None]:
    """What a test, or an example run in one, changes of how NumPy prints ends with it."""
    with np.printoptions():
        yield


@pytest.fixture
def ops_restored() -> Iterator[None]:
    """A test may define ops of its own."""
    from tinygrad_lite.operation import OPS

    known = dict(OPS)
    yield
    OPS.clear()
    OPS.update(known)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where TINYGRAD_LITE_PLAIN=1 leaves all shortcuts out, leave out what tests them."""
    if os.environ.get("TINYGRAD_LITE_PLAIN"):
        config.hook.pytest_deselected(items=[i for i in items if i.get_closest_marker("fast")])
        items[:] = [item for item in items if not item.get_closest_marker("fast")]


def require(name: str) -> ModuleType:
    """Import a library that a test needs: without it the test is skipped, or, where
    TINYGRAD_LITE_REQUIRE_ALL=1 says that everything is installed, fails."""
    if os.environ.get("TINYGRAD_LITE_REQUIRE_ALL") == "1":
        return importlib.import_module(name)
    return pytest.importorskip(name)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One headless Chromium for all tests of this file."""
    webdriver = require("selenium.webdriver")
    binary = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    driver = shutil.which("chromedriver")
    if not binary or not driver:
        assert os.environ.get("TINYGRAD_LITE_REQUIRE_ALL") != "1", "no chromium or chromedriver"
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


def code_lines(text: str) -> set[int]:
    """The lines of code: without blank ones, docstrings and comments."""
    layout = (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT)
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in (*layout, tokenize.ENDMARKER)
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return lines


def pytest_collection_finish():
    """Thousands of tests are collected and stay: the garbage collector need not look at them in
    each of its rounds, which takes a sixth of the time of all tests."""
    gc.collect()
    gc.freeze()
