"""Tells mkdocstrings what reading the source alone does not: functions that are made by a call,
and that a docstring's `>>>` lines are code and its stars and signs are not Markdown."""

import inspect
import re
from html import escape

import griffe


class Names(griffe.Extension):
    """Functions as they are called, docstrings as they read."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Give every function of `ops` that is an assignment in the source its signature."""
        from tinygrad_lite import ops

        for name in ops.__all__:
            function = getattr(ops, name)
            module = pkg[function.__module__.removeprefix("tinygrad_lite.")]
            found = module.members.get(name)
            if found is None or not found.is_attribute:
                continue
            parameters = [
                griffe.Parameter(
                    p.name, annotation="Array", kind=griffe.ParameterKind.positional_or_keyword
                )
                for p in inspect.signature(function).parameters.values()
            ]
            made = griffe.Function(
                name, parameters=griffe.Parameters(*parameters), returns="Array",
                lineno=found.lineno, endlineno=found.endlineno,
            )  # fmt: skip
            made.docstring = griffe.Docstring(inspect.getdoc(function), parent=made)
            module.set_member(name, made)

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Make a docstring Markdown."""
        if obj.docstring:
            obj.docstring.value = readable(obj.docstring.value)


def readable(text: str) -> str:
    """A docstring as Markdown."""
    out = []
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        if block.startswith(">>> "):
            out.append(f"```pycon\n{block}\n```")
        elif all("<-" in line for line in block.splitlines()):  # a formula a line
            out.append(f"```text\n{block}\n```")
        elif block.startswith("    "):
            out.append(block)
        else:
            parts = re.split(r"(``.*?``|`.*?`)", block, flags=re.DOTALL)
            parts[::2] = [re.sub(r"([*_\[])", r"\\\1", escape(part)) for part in parts[::2]]
            out.append("".join(parts))
    return "\n\n".join(out)
