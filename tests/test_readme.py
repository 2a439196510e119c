"""What README says is so: its pictures are current, and its code runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
# Each piece of code, and what it prints where that stands below it.
BLOCKS = re.findall(r"```python\n(.*?)```\n(?:\n```\n(.*?)```)?", README, re.DOTALL)


def test_the_pictures_and_the_table_are_what_the_example_draws(tmp_path):
    done = subprocess.run(
        [sys.executable, TOP / "examples" / "skip_networks.py", "--out", tmp_path],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONUTF8": "1"},
        encoding="utf-8",
    )
    shown = dict(re.findall(r"\]\((examples/gallery/(\w+\.svg))\)", README))
    assert shown.popitem() == ("examples/gallery/residual.svg", "residual.svg")  # test_examples.py
    assert shown
    for path, name in shown.items():
        assert (TOP / path).read_bytes() == (tmp_path / name).read_bytes(), (
            f"{path} is out of date: run examples/skip_networks.py --out examples/gallery"
        )
    table = re.search(r"```\n(parameter .*?)\n```", README, re.DOTALL)
    assert table is not None
    assert table[1] in done.stdout


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_the_code_runs_and_prints_what_stands_below(code, printed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec", dont_inherit=True), {"__name__": "readme"})
    assert not printed or capsys.readouterr().out == printed


def test_a_tensors_path_in_the_tour_is_there():
    for file in re.findall(r"examples/\w+\.py", README):
        assert (TOP / file).is_file()
