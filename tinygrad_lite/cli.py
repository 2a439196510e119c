"""The command line: ``tinygrad-lite COMMAND FILE.py:NAME``.

Every command runs the user's script and looks at the tensor it left under NAME. A command
is a function that takes the parsed arguments, made known by `@command`, which also gives
it its options and the worked line in its help:

    @command("depth", "say how deep a computation is", "tinygrad-lite depth net.py:loss",
             arguments=[("--json", {"action": "store_true"})])
    def depth(args):
        print(...tensor_at(args.target, args.rest)...)

What the script prints goes to standard error, so standard output holds the result alone.
A user's mistake is one sentence there and exit status 2; an error in the user's script is
shown as Python would, without our own lines, and has exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .insight.comparing import named
from .tensor import Tensor

PACKAGE = str(Path(__file__).parent) + os.sep

Run = Callable[[argparse.Namespace], None]
Argument = tuple[str, dict[str, Any]]


class Mistake(Exception):  # noqa: N818 - the error is the user's
    """Something in the command that its user can put right; the text says how."""


class ScriptError(Exception):
    """The user's script did not end well; what there is to say has been said."""


COMMANDS: dict[str, tuple[str, str, Sequence[tuple[Any, ...]], Run]] = {}


def command(
    name: str, what: str, example: str, arguments: Sequence[tuple[Any, ...]] = ()
) -> Callable[[Run], Run]:
    """Make a function a command. Each of `arguments` is what `add_argument` takes: the
    flags, then a dict of its keywords. FILE.py:NAME is there already, as `args.target`."""

    def define(run: Run) -> Run:
        COMMANDS[name] = (what, example, arguments, run)
        return run

    return define


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit status: 0, 1 (the script failed), 2 (a mistake)."""
    given = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal without these letters shows "?"
            stream.reconfigure(errors="replace")
    # What follows "--" is the script's.
    split = given.index("--") if "--" in given else len(given)
    args = parser().parse_args(given[:split])
    args.rest = given[split + 1 :]
    try:
        COMMANDS[args.command][3](args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ScriptError as error:
        print(error, file=sys.stderr, end="")
        return 1
    except (Mistake, ValueError, OSError, RuntimeError) as error:
        print(f"tinygrad-lite: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    top = argparse.ArgumentParser(
        prog="tinygrad-lite",
        description="Look at a computation: run a script and take the tensor it left under a name.",
        epilog="\n".join(["examples:", *(f"  {example}" for _, example, *_ in COMMANDS.values())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (what, example, arguments, _) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=f"example:\n  {example}\n\nArguments after -- are the script's own.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument(
            "target", metavar="FILE.py:NAME", help="a script and the name of a tensor in it"
        )
        for *flags, keywords in arguments:
            sub.add_argument(*flags, **keywords)
    return top


OUTPUT = (
    "-o", "--output",
    {"metavar": "FILE", "help": "write a file instead of text; its suffix says of which kind"},
)  # fmt: skip


@command(
    "graph",
    "show what a tensor was computed from, and its gradients",
    "tinygrad-lite graph examples/skip_networks.py:G -o g.svg",
    arguments=[
        OUTPUT,
        ("--direction", {"choices": ["LR", "TB"], "default": "LR",
                         "help": "left to right (default) or top to bottom"}),
        ("--fold", {"action": argparse.BooleanOptionalAction,
                    "help": "draw scopes as one box each (default: only in large graphs)"}),
        ("--gradient", {"action": "store_true",
                        "help": "send a gradient of ones back, where the script did not"}),
    ],
)  # fmt: skip
def show_graph(args: argparse.Namespace) -> None:
    """Print the text tree, or save the graph."""
    from .insight.graphs import SUFFIXES, graph

    if args.output:
        checked_output(args.output, SUFFIXES)
    tensor = tensor_at(args.target, args.rest)
    if args.gradient and not tensor.requires_grad:
        raise Mistake(f"{args.target} requires no gradient, so none can be sent back")
    shown = graph(tensor, np.ones(tensor.shape, tensor.dtype) if args.gradient else None)
    if args.output:
        shown.save(args.output, direction=args.direction, fold=args.fold)
    else:
        print(shown)


JSON = ("--json", {"action": "store_true", "help": "print the numbers as JSON"})
WRT = (
    "--wrt",
    {"metavar": "NAME", "action": "append",
     "help": "a parameter, by the name of its tensor (default: every named one)"},
)  # fmt: skip


@command(
    "paths",
    "list the paths a gradient takes to each parameter, with their shares",
    "tinygrad-lite paths examples/skip_networks.py:G --wrt W1",
    arguments=[
        WRT,
        ("--by", {"choices": ["scope", "depth"],
                  "help": "group the paths by the scopes they enter, or by how many"}),
        OUTPUT,
        JSON,
    ],
)  # fmt: skip
def show_paths(args: argparse.Namespace) -> None:
    """Print paths or classes of paths, or save the picture of one parameter's."""
    from .insight.classes import path_classes
    from .insight.paths import paths

    tensor = with_cotangent(args.target, args.rest)
    wanted = parameters(tensor, args.wrt)
    if args.by:
        report(path_classes(tensor, wanted, args.by), args)
    else:
        report([paths(tensor, wrt) for wrt in wanted], args)


@command(
    "flow",
    "say which share of a gradient travels through each edge",
    "tinygrad-lite flow examples/skip_networks.py:G --wrt W1 -o flow.svg",
    arguments=[WRT, OUTPUT, JSON],
)
def show_flow(args: argparse.Namespace) -> None:
    """Print the flow to each parameter, or save the picture of one."""
    from .insight.flows import flow

    tensor = with_cotangent(args.target, args.rest)
    report([flow(tensor, wrt) for wrt in parameters(tensor, args.wrt)], args)


@command(
    "profile",
    "print the size of the gradient layer by layer, and where it is lost",
    "tinygrad-lite profile examples/deep_residual.py:F",
    arguments=[OUTPUT, JSON],
)
def show_profile(args: argparse.Namespace) -> None:
    """Print the profile, or save its picture."""
    from .insight.profiles import profile

    report([profile(with_cotangent(args.target, args.rest))], args)


@command(
    "compare",
    "hold the gradients of two outputs against each other, path by path",
    "tinygrad-lite compare examples/skip_networks.py:F G",
    arguments=[
        ("other", {"metavar": "NAME", "help": "the second tensor: a name in the same script, "
                                              "or FILE.py:NAME"}),
        WRT,
        ("--by", {"choices": ["scope", "depth"], "default": "scope",
                  "help": "how paths are grouped: by the scopes they enter, or by how many"}),
        OUTPUT,
        JSON,
    ],
)  # fmt: skip
def show_compare(args: argparse.Namespace) -> None:
    """Print the comparison, or save its picture or page."""
    from .insight.comparing import compare

    file = args.target.rpartition(":")[0]
    other = args.other if ":" in args.other else f"{file}:{args.other}"
    both = tensors_at((args.target, other), args.rest)
    # One cotangent for both, unless each has its own, or their shapes differ.
    alike = both[0].shape == both[1].shape and not all(hasattr(y, "cotangent") for y in both)
    first, second = map(followed, both, (args.target, other))
    ones = np.ones(first.shape, first.dtype) if alike else None
    report([compare(first, second, args.wrt, ones, by=args.by)], args)


@command(
    "step",
    "step forth and back through a computation, op by op",
    "tinygrad-lite step examples/skip_networks.py:G --html steps.html",
    arguments=[
        ("--html", {"metavar": "FILE", "help": "write one offline page instead"}),
        ("--check", {"action": "store_true",
                     "help": "hold each rule against a finite difference"}),
    ],
)  # fmt: skip
def show_steps(args: argparse.Namespace) -> None:
    """Walk through the steps by keys, print them, or save their page."""
    from .insight.stepper import source_lines, steps

    if args.html:
        checked_output(args.html, (".html",))
    with source_lines():
        tensor = tensor_at(args.target, args.rest)
    shown = steps(tensor, check=args.check)
    if args.html:
        shown.save(args.html)
    else:
        shown.interactive()


def report(results: Sequence[Any], args: argparse.Namespace) -> None:
    """Print results as text or JSON, or save the one there is."""
    if args.output:
        if len(results) != 1:
            raise Mistake(
                f"a picture shows one parameter, but there are {len(results)}: give --wrt"
            )
        results[0].save(args.output)
    elif args.json:
        print(json.dumps([finite(result.to_json()) for result in results], indent=1))
    else:
        print("\n\n".join(map(str, results)))


def finite(data: Any) -> Any:
    """Plain data as strict JSON takes it: NaN and infinities become strings."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [finite(value) for value in data]
    return str(data) if isinstance(data, float) and not np.isfinite(data) else data


def with_cotangent(target: str, arguments: Sequence[str]) -> Tensor:
    """The tensor at a target; ones are its cotangent where the script ran no backward."""
    return followed(tensor_at(target, arguments), target)


def followed(tensor: Tensor, target: str) -> Tensor:
    """The tensor, with a cotangent. Raises: Mistake if it requires no gradient."""
    if not tensor.requires_grad:
        raise Mistake(f"{target} requires no gradient, so there is none to follow")
    if not hasattr(tensor, "cotangent"):
        tensor.cotangent = np.ones(tensor.shape, tensor.dtype)
    return tensor


def parameters(output: Tensor, names: Sequence[str] | None) -> list[Tensor]:
    """The named parameters of a computation, or those asked for.

    Raises: Mistake if there are none, or not the one asked for.
    """
    found = named(output)
    if not found:
        raise Mistake("no parameter has a name; name them, as in Tensor(..., name='W1')")
    for name in names or ():
        if name not in found:
            raise Mistake(f"no parameter is named {name!r}; there are {', '.join(found)}")
    return [found[name] for name in names or found]


def checked_output(path: str, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be written before the script runs, which may take long."""
    from .files import check_target

    check_target(Path(path), suffixes)


def tensor_at(target: str, arguments: Sequence[str] = ()) -> Tensor:
    """Run the script of a ``FILE.py:NAME`` and give the tensor it left under NAME.

    Raises: as `tensors_at`.
    """
    return tensors_at((target,), arguments)[0]


def tensors_at(targets: Sequence[str], arguments: Sequence[str] = ()) -> list[Tensor]:
    """The tensor of each ``FILE.py:NAME``; a script that comes twice is run once.

    Raises: Mistake if there is no such file or name, or it is not a Tensor; ScriptError if
    the script fails.
    """
    places = [place(target) for target in targets]
    ran = {file: run_script(Path(file), arguments) for file in dict.fromkeys(f for f, _ in places)}
    return [found(ran[file], file, name) for file, name in places]


def place(target: str) -> tuple[str, str]:
    """The script and the name in ``FILE.py:NAME``. Raises: Mistake if it is not that."""
    file, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier() or not file:
        raise Mistake(
            "say which tensor of which script as FILE.py:NAME, for example net.py:loss; "
            f"got {target!r}"
        )
    path = Path(file)
    if not path.is_file():
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise Mistake(f"the script {file!r} {wrong}")
    return file, name


def found(names: dict[str, Any], file: str, name: str) -> Tensor:
    """The tensor a script left under a name. Raises: Mistake if there is none."""
    if isinstance(names.get(name), Tensor):
        return names[name]
    tensors = [key for key, value in names.items() if isinstance(value, Tensor)]
    close = get_close_matches(name, tensors, n=3, cutoff=0.5) or tensors[:8]
    hint = f"; its tensors include {', '.join(close)}" if close else "; it left no tensor at all"
    if name in names:
        raise Mistake(f"{name} in {file} is not a Tensor but {type(names[name]).__name__}{hint}")
    raise Mistake(f"{file} left nothing under the name {name}{hint}")


def run_script(path: Path, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a script as ``python FILE`` does, and give the names it left.

    Its own folder comes first in `sys.path`, it is called ``__main__``, and `sys.argv`
    holds its path and `arguments`. What it prints goes to standard error. That it calls
    ``sys.exit(0)`` is no failure. Its tensors without a name are called as its variables.
    """
    script = ModuleType("__main__")
    script.__file__ = str(path)
    sys.modules["__main__"] = script
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            # dont_inherit: this file's own __future__ imports are not the script's.
            exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), script.__dict__)
    except SystemExit as stop:
        if stop.code not in (None, 0):
            said = f"{stop.code}\n" if isinstance(stop.code, str) else ""
            raise ScriptError(f"{said}tinygrad-lite: {path} ended with an error\n") from None
    except Exception as error:
        raise ScriptError(told(error)) from None
    name_as_in(script.__dict__)
    return script.__dict__


def name_as_in(names: dict[str, Any]) -> None:
    """Give every tensor without a name that of its variable, where no other has it."""
    tensors = {key: x for key, x in names.items() if isinstance(x, Tensor)}
    taken = {x.name for x in tensors.values()}
    for key, tensor in tensors.items():
        if tensor.name is None and key not in taken and not key.startswith("_"):
            tensor.name = key


def told(error: BaseException) -> str:
    """An error of the script as Python shows it, without the lines of this package."""
    report = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = report
    parts = [part]
    while part is not None:
        part = part.__cause__ or part.__context__
        parts.append(part)
    for part in parts:
        if part is not None:
            users = [frame for frame in part.stack if not frame.filename.startswith(PACKAGE)]
            part.stack = traceback.StackSummary.from_list(users)
    return "".join(report.format())
