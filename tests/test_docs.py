"""The documentation: each public name has an example, each function's runs, and pages show what
their code gave. That the site can be built is for `.ci/run` to see."""

import importlib
import re
from pathlib import Path

import pytest

import tinygrad_lite as tl
from tinygrad_lite import ops

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def docs(monkeypatch):
    """A module of `docs/` by its name."""
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module


def test_each_public_name_has_an_example(docs):
    names = docs("names")
    assert names.public_names() == {*tl.__all__, *ops.__all__}
    names.check_examples()


def test_a_name_without_an_example_is_an_error(docs, monkeypatch):
    names = docs("names")
    monkeypatch.setattr(tl, "__all__", [*tl.__all__, "new_name"])
    with pytest.raises(ValueError, match=r"no example .* of: \['new_name'\]"):
        names.check_examples()
    monkeypatch.setattr(tl, "__all__", [])
    with pytest.raises(ValueError, match=r"no public name: .*'Tensor'"):
        names.check_examples()


@pytest.mark.parametrize("name", sorted(ops.__all__))
def test_the_example_of_a_function_runs_and_numpys_gives_the_same(docs, name):
    text, pictures = docs("names").function_page(name)
    assert "```pycon\n>>> " in text
    assert (".grad\n" in text) == bool(pictures)  # the gradient is shown where there is one


def test_a_page_shows_what_its_code_printed_gave_and_drew(docs):
    text, pictures = docs("cells").run_page(
        """Before.

```python
from tinygrad_lite import Tensor, graph
x = Tensor(3.0, requires_grad=True, name="x")
print("x is", x.item())
x * 2
```

```python
graph(x * x).save("square.svg")
```
""",
        "page",
    )
    assert re.findall(r"\.output.*\n(.*)\n```", text) == [
        "x is 3.0",
        "Tensor(6., requires_grad=True)",
    ]
    assert "[![square.svg](page-square.svg)" in text
    assert (
        pictures["page-square.svg"].startswith(b"<?xml") or b"<svg" in pictures["page-square.svg"]
    )


def test_a_mistake_in_a_page_is_raised(docs):
    with pytest.raises(ZeroDivisionError):
        docs("cells").run_page("```python\n1 / 0\n```\n", "page")
