"""The page's script: its parts fit together, and those that touch no page are tried under node."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tinygrad_lite.drawing.page import HERE, SCRIPTS, joined_script


@pytest.fixture
def node():
    found = shutil.which("node")
    if not found:
        assert os.environ.get("TINYGRAD_LITE_REQUIRE_ALL") != "1", "no node"
        pytest.skip("needs node")
    return found


def test_pure_parts(node):
    tests = Path(__file__).parent / "page" / "pure.test.js"
    done = subprocess.run([node, "--test", tests], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


def test_the_joined_script_is_a_module(node, tmp_path):
    """No two files declare the same name at their top."""
    joined = tmp_path / "joined.mjs"
    joined.write_text(joined_script(), "utf-8")
    done = subprocess.run([node, "--check", joined], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "import" not in re.findall(r"(?m)^(\w+)", joined_script())


def test_every_file_is_joined_once_and_imports_what_it_says():
    files = {file.stem: file.read_text("utf-8") for file in HERE.glob("*.js")}
    assert set(files) == set(SCRIPTS)
    assert len(SCRIPTS) == len(set(SCRIPTS))
    for name, text in files.items():
        for names, file in re.findall(r"(?s)import \{(.*?)\} from \"\./(\w+)\.js\";", text):
            for wanted in filter(None, map(str.strip, names.split(","))):
                export = rf"(?m)^export (async )?(function\*?|const|let) {re.escape(wanted)}(?!\w)"
                assert re.search(export, files[file]), f"{name} wants {wanted} of {file}"


def test_text_is_only_ever_set_as_text():
    for file in HERE.glob("*.js"):
        text = file.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
