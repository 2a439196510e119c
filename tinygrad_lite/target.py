"""What ``FILE.py:NAME`` means: a tensor of a script, by its variable and, from there on, by
attributes, keys and indices. Nothing that could be called is called. A variable that is bound
only inside functions is taken from the last call that returned of one of these."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from glob import escape, glob
from itertools import islice
from pathlib import Path
from symtable import Function, SymbolTable, symtable
from traceback import walk_tb
from typing import Any

from .insight.stepper import source_lines
from .recorded.names import follow, is_closed, links, nearest
from .script import (
    PACKAGE,
    forget_modules,
    kept_locals,
    run_script,
    script_traceback,
    sources,
)
from .tensor import Tensor

NAMELESS = ("lambda", "listcomp", "setcomp", "dictcomp", "genexpr")  # as symtable calls them
Way = list[tuple[str, Any]]  # what each link of a name leads to, behind the text up to there


def tensors_at(
    targets: Sequence[str],
    arguments: Sequence[str],
    inputs: Sequence[str] = (),
    key: str | None = None,
) -> list[tuple[Tensor, dict[str, Any]]]:
    """The tensor of each ``FILE.py:NAME``, and the variables beside it, then those of its script;
    a script that comes twice is run once. A module of PyTorch is called on the `inputs`, which are
    names too, and gives the output with this key."""
    places = [(Path(file), name) for file, name in map(split_target, targets)]
    loaded, ran = set(sys.modules), dict[Path, tuple[dict[str, Any], dict[str, Any]]]()
    for path, _ in places:
        if (script := path.resolve()) not in ran:
            forget_modules({other.parent for other in ran} - {script.parent}, loaded)
            here = (variable_of(name) for other, name in places if other.resolve() == script)
            inner = set[str]()
            with suppress(SyntaxError, ValueError):  # which running the script will show
                inner = only_in_functions(here, path)
            with source_lines(), kept_locals(inner, path) as kept:
                ran[script] = run_script(path, arguments), kept
    found = []
    for path, name in places:
        left, kept = ran[path.resolve()]
        variable = variable_of(name)
        beside = kept.get(variable, {}) if variable not in left else {}
        names = beside | {k: x for k, x in left.items() if k not in beside}
        public = {k: x for k, x in names.items() if not k.startswith("_")}
        at = value_named(name, names, path)
        if is_module(at):
            given = [value_named(x, names, path, is_torch_tensor) for x in inputs]
            at = output_of(at, name, given, key)
        elif inputs or key is not None:
            option = "--inputs" if inputs else "--output"
            raise ValueError(f"{option} is for a torch.nn.Module, and {name} in {path} is none")
        found.append((the_tensor(at, name, names, path), public))
    return found


def is_ours(x: Any) -> bool:
    """Whether it is a Tensor."""
    return isinstance(x, Tensor)


def is_module(x: Any) -> bool:
    """Whether it is a module of PyTorch, which is not loaded to see that it is none."""
    return "torch" in sys.modules and isinstance(x, sys.modules["torch"].nn.Module)


def is_torch_tensor(x: Any) -> bool:
    """Whether it is a tensor of PyTorch."""
    return "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor)


def output_of(model: Any, name: str, inputs: Sequence[Any], key: str | None) -> Tensor:
    """What a module of PyTorch gives for some inputs, or one of its outputs. Raises: ValueError if
    it is not called, cannot be taken in, or has no such output; SystemExit if it fails."""
    from .pytorch import from_torch

    if not inputs:
        raise ValueError(
            f"{name} is a module of PyTorch; say which tensors of the script to call it on, as in "
            "--inputs x"
        )
    try:
        result = from_torch(model, *inputs)
    except Exception as error:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith(PACKAGE):
            raise ValueError(f"{name}: {error}") from None
        raise SystemExit(script_traceback(error)) from None
    outputs = dict(outputs_in(result))
    if key is None and len(outputs) != 1:
        raise ValueError(
            f"{name} gave {', '.join(outputs)}; say which, as in --output {next(iter(outputs))}"
        )
    if key is not None and key not in outputs:
        raise ValueError(f"{name} gave no output {key!r}, but {', '.join(filter(None, outputs))}")
    found = outputs[key] if key is not None else next(iter(outputs.values()))
    if found.name is None:
        found.name = f"{name}.{key}" if key else name
    return found


def outputs_in(result: Any, way: str = "") -> Iterator[tuple[str, Tensor]]:
    """The Tensors in what a model gave, by keys, numbers and names of fields, joined by dots."""
    match result:
        case Tensor():
            yield way, result
            return
        case dict():
            pairs = list(result.items())
        case list() | tuple() if not hasattr(result, "_fields"):
            pairs = list(enumerate(result))
        case _:
            fields = getattr(result, "_fields", None) or getattr(result, "__dict__", {})
            pairs = [(field, getattr(result, field)) for field in fields]
    for key, part in pairs:
        yield from outputs_in(part, f"{way}.{key}" if way else str(key))


def split_target(target: str) -> tuple[str, str]:
    """The script and the name, on both sides of the first colon behind which there is a name."""
    splits = ((target[:i], target[i + 1 :]) for i, c in enumerate(target) if c == ":")
    file, name = next((split for split in splits if links(split[1])), ("", ""))
    if not file:
        raise ValueError(
            "say which tensor of which script as FILE.py:NAME, for example net.py:loss or "
            "'net.py:model.out[\"y\"][0]' (attributes, keys and indices, but no calls); "
            f"got {target!r}"
        )
    if not Path(file).exists():
        meant = file.replace(".", os.sep) + ".py"  # as net or pkg.net is imported
        hint = f"; did you mean {meant!r}?" if Path(meant).exists() else ""
        raise ValueError(f"the script {file!r} does not exist{hint}")
    if Path(file).is_dir():
        raise ValueError(f"the script {file!r} is a folder")
    return file, name


def variable_of(name: str) -> str:
    """The variable that a name begins with."""
    return ast.unparse(links(name)[0])


def tensor_named(name: str, names: dict[str, Any], path: Path) -> Tensor:
    """The tensor a script left under a name."""
    return the_tensor(value_named(name, names, path), name, names, path)


def value_named(
    name: str, names: dict[str, Any], path: Path, is_wanted: Callable[[Any], bool] = is_ours
) -> Any:
    """What a script left under a name; where it is nothing, those are told that are wanted."""
    found: Way = []
    try:
        return way_to(name, names, found)[-1][1]
    except Exception:  # of whatever kind: a property may raise any
        hint = (len(found) == 1 and place_in_function(name, path)) or tensors_near(
            name, found, is_wanted
        )
        raise ValueError(f"{path} left nothing under the name {name}{hint}") from None


def the_tensor(found: Any, name: str, names: dict[str, Any], path: Path) -> Tensor:
    """What a script left under a name, if it is a tensor."""
    if isinstance(found, Tensor):
        return found
    what = f"{name} in {path} is not a Tensor but"
    if is_torch_tensor(found):
        module = next((key for key, x in names.items() if is_module(x)), "model")
        raise ValueError(
            f"{what} a torch {type(found).__name__}; name the module that computes with it, as in "
            f"{path}:{module} --inputs {name}"
        )
    near = tensors_near(name, way_to(name, names, []))
    raise ValueError(f"{what} {type(found).__name__}{near}")


def way_to(name: str, names: dict[str, Any], way: Way) -> Way:
    """What each link of a name leads to, added to `way` as far as it goes."""
    way.append(("", names))
    if not links(name):
        raise ValueError(name)
    for link in links(name):
        way.append((ast.get_source_segment(name, link) or "", follow(link, way[-1][1])))
    return way


def tensors_near(name: str, way: Way, is_wanted: Callable[[Any], bool] = is_ours) -> str:
    """A hint at the tensors that there are where the way to a name ended, or else before."""
    for start in reversed(way):
        level = [start]
        for _ in range(8):
            inside = (x for item in level for x in islice(parts(*item), 100 if item[0] else None))
            level = list(islice(inside, 10_000))
            if found := [text for text, x in level if is_wanted(x)]:
                return f"; its tensors include {nearest(name, found)}"
    modules = [key for key, x in way[0][1].items() if is_module(x)]
    some = f"; its torch modules include {nearest(name, modules)}"
    return some if modules else "; it left no tensor at all"


def parts(text: str, x: Any) -> Iterator[tuple[str, Any]]:
    """What stands directly in a value, each behind the text that leads there."""
    if not text:  # the variables of a script
        yield from ((key, item) for key, item in x.items() if not key.startswith("_"))
    elif isinstance(x, dict):
        for key, item in x.items():
            yield f"{text}[{json.dumps(key) if isinstance(key, str) else repr(key)}]", item
    elif isinstance(x, (list, tuple)):
        yield from ((f"{text}[{i}]", item) for i, item in enumerate(x))
    elif not is_closed(x):
        yield from ((f"{text}.{key}", item) for key, item in getattr(x, "__dict__", {}).items())


def place_in_function(name: str, path: Path) -> str:
    """A hint at the function in which a variable stands, if any: no script leaves those."""
    variable = variable_of(name)
    for called, table in tables(path):
        for function in functions(table):
            if variable in function.get_locals():
                where = f"{Path(called).name}, line {function.get_lineno()}"
                call = f"{function.get_name()}()"
                return (
                    f", which stands inside {call} ({where}): return it there and give it a name "
                    f"outside, as in {variable} = {call}, or begin the function with "
                    f"'global {variable}'"
                )
    return ""


def only_in_functions(variables: Iterable[str], path: Path) -> set[str]:
    """Those of some variables that a script binds, but nowhere outside of functions."""
    found = [table for _, table in tables(path)]
    outside = {x.get_name() for table in found for x in table.get_symbols() if x.is_assigned()}
    inside = {x for table in found for function in functions(table) for x in function.get_locals()}
    return {*variables} & inside - outside


def tables(path: Path) -> list[tuple[str, SymbolTable]]:
    """Which names stand where in a script, or in each cell of a notebook."""
    codes = sources(path)  # symtable takes bytes too, and reads the encoding that they name
    return [(called, symtable(code, called, "exec")) for called, code in codes]  # type: ignore[arg-type]


def functions(table: SymbolTable) -> Iterator[Function]:
    """All functions that have a name, the outer ones first."""
    for inner in table.get_children():
        if isinstance(inner, Function) and inner.get_name() not in NAMELESS:
            yield inner
        yield from functions(inner)


def complete_target(prefix: str, **_: object) -> list[str]:
    """How the beginning of a target may go on: with scripts and folders, and, behind the colon,
    with the variables of the script, which is read and not run."""
    file, colon, _name = prefix.rpartition(":")
    if colon:
        symbols = [x for _, table in tables(Path(file)) for x in table.get_symbols()]
        names = [
            x for x in symbols if x.is_assigned() and not (x.is_namespace() or x.is_imported())
        ]
        return [f"{file}:{name}" for name in dict.fromkeys(x.get_name() for x in names)]
    found = sorted(glob(escape(prefix) + "*"))
    folders = [f"{path}{os.sep}" for path in found if os.path.isdir(path)]
    return folders + [f"{path}:" for path in found if path.endswith((".py", ".ipynb"))]
