"""The command line: ``tinygrad-lite COMMAND FILE.py:NAME``.

Every command runs the user's script and looks at the tensor it left under NAME. A command
is a function that takes the parsed arguments, made known by `@command`, which also gives
it its options and the worked line in its help:

    @command("tinygrad-lite profile net.py:loss", Profile, OUTPUT, JSON)
    def show_profile(args):  # its docstring is the help
        answer(lambda y: [profile(y)], args)

What the script prints goes to standard error, so standard output holds the result alone.
A user's mistake is one sentence there and exit status 2; an error in the user's script is
shown as Python would, without our own lines, and has exit status 1.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from .files import check_target, json_text
from .insight.classes import path_classes
from .insight.comparing import Comparison, compare
from .insight.flows import Flow, flow
from .insight.graphs import Graph, graph
from .insight.paths import Paths, paths
from .insight.profiles import Profile, profile
from .insight.result import Result
from .insight.stepper import Steps, source_lines, steps
from .recorded.trace import named_parameters
from .tensor import Tensor

PACKAGE = str(Path(__file__).parent) + os.sep


class Mistake(Exception):  # noqa: N818 - the error is the user's
    """Something in the command that its user can put right; the text says how."""


class ScriptError(Exception):
    """The user's script failed; the text is all that is to be printed."""


Run = Callable[[argparse.Namespace], None]


class Command(NamedTuple):
    """A worked line, the kind of result that is saved (so that a file name is refused before
    the script runs), the arguments, and the function, whose docstring is the help."""

    example: str
    result: type[Result]
    arguments: Sequence[tuple[Any, ...]]
    run: Run


COMMANDS: dict[str, Command] = {}


def command(
    example: str, result: type[Result], *arguments: tuple[Any, ...]
) -> Callable[[Run], Run]:
    """Make a function a command, by the name in the example. Each of `arguments` is what
    `add_argument` takes: the flags, then a dict of its keywords. FILE.py:NAME is there
    already, as `args.target`."""

    def define(run: Run) -> Run:
        COMMANDS[example.split()[1]] = Command(example, result, arguments, run)
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
    chosen = COMMANDS[args.command]
    try:
        if args.output:
            check_target(Path(args.output), chosen.result.suffixes)
        chosen.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ScriptError as error:
        print(error, file=sys.stderr, end="")
        return 1
    except (Mistake, ValueError, OSError, RuntimeError) as error:
        print(f"tinygrad-lite: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    top = argparse.ArgumentParser(
        prog="tinygrad-lite",
        description="Look at a computation: run a script and take the tensor it left under a name.",
        epilog="\n".join(["examples:", *(f"  {made.example}" for made in COMMANDS.values())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, made in COMMANDS.items():
        what = made.run.__doc__ or ""
        sub = commands.add_parser(
            name,
            help=what[:1].lower() + what[1:-1],
            description=what,
            epilog=f"example:\n  {made.example}\n\nArguments after -- are the script's own.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument(
            "target", metavar="FILE.py:NAME", help="a script and the name of a tensor in it"
        )
        for *flags, keywords in made.arguments:
            sub.add_argument(*flags, **keywords)
    return top


OUTPUT = (
    "-o", "--output",
    {"metavar": "FILE", "help": "write a file instead of text; its suffix says of which kind"},
)  # fmt: skip
JSON = ("--json", {"action": "store_true", "help": "print the numbers as JSON"})
WRT = (
    "--wrt",
    {"metavar": "NAME", "action": "append",
     "help": "a parameter, by the name of its tensor (default: every named one)"},
)  # fmt: skip


@command(
    "tinygrad-lite graph examples/skip_networks.py:G -o g.svg",
    Graph, OUTPUT,
    ("--direction", {"choices": ["LR", "TB"], "default": "LR",
                     "help": "left to right (default) or top to bottom"}),
    ("--fold", {"action": argparse.BooleanOptionalAction,
                "help": "draw scopes as one box each (default: only in large graphs)"}),
    ("--gradient", {"action": "store_true",
                    "help": "send a gradient of ones back, where the script did not"}),
)  # fmt: skip
def show_graph(args: argparse.Namespace) -> None:
    """Show what a tensor was computed from, and its gradients."""
    tensor = tensor_at(args.target, args.rest)
    if args.gradient:
        take_ones(tensor, args.target)
    found = graph(tensor)
    if args.output:
        found.save(args.output, direction=args.direction, fold=args.fold)
    else:
        print(found)


@command(
    "tinygrad-lite paths examples/skip_networks.py:G --wrt W1",
    Paths, WRT,
    ("--by", {"choices": ["scope", "depth"],
              "help": "group the paths by the scopes they enter, or by how many"}),
    OUTPUT, JSON,
)  # fmt: skip
def show_paths(args: argparse.Namespace) -> None:
    """List the paths a gradient takes to each parameter, with their shares."""

    def ask(tensor: Tensor) -> Sequence[Any]:
        wanted = parameters(tensor, args.wrt)
        if args.by:
            return path_classes(tensor, wanted, args.by)
        return [paths(tensor, wrt) for wrt in wanted]

    answer(ask, args)


@command(
    "tinygrad-lite flow examples/skip_networks.py:G --wrt W1 -o flow.svg",
    Flow, WRT, OUTPUT, JSON,
)  # fmt: skip
def show_flow(args: argparse.Namespace) -> None:
    """Say which share of a gradient travels through each edge."""
    answer(lambda y: [flow(y, wrt) for wrt in parameters(y, args.wrt)], args)


@command(
    "tinygrad-lite profile examples/deep_residual.py:F",
    Profile, OUTPUT, JSON,
)  # fmt: skip
def show_profile(args: argparse.Namespace) -> None:
    """Print the size of the gradient layer by layer, and where it is lost."""
    answer(lambda y: [profile(y)], args)


@command(
    "tinygrad-lite compare examples/skip_networks.py:F G",
    Comparison,
    ("other", {"metavar": "NAME", "help": "the second tensor: a name in the same script, "
                                          "or FILE.py:NAME"}),
    WRT,
    ("--by", {"choices": ["scope", "depth"], "default": "scope",
              "help": "how paths are grouped: by the scopes they enter, or by how many"}),
    OUTPUT, JSON,
)  # fmt: skip
def show_compare(args: argparse.Namespace) -> None:
    """Hold the gradients of two outputs against each other, path by path."""
    file = args.target.rpartition(":")[0]
    targets = (args.target, args.other if ":" in args.other else f"{file}:{args.other}")
    first, second = outputs = tensors_at(targets, args.rest)
    own = all(hasattr(y, "cotangent") for y in outputs)
    summed = [take_ones(y, target) for y, target in zip(outputs, targets, strict=True)]
    # One cotangent for both, unless each has its own, or their shapes differ.
    both = None if own or first.shape != second.shape else np.ones(first.shape, first.dtype)
    found = compare(first, second, args.wrt, both, by=args.by)
    if any(summed):
        found = replace(found, note="The cotangent is ones, where the script ran no backward.")
    report([found], args)


@command(
    "tinygrad-lite step examples/skip_networks.py:G --html steps.html",
    Steps,
    ("--html", {"metavar": "FILE", "dest": "output", "help": "write one offline page instead"}),
    ("--check", {"action": "store_true", "help": "hold each rule against a finite difference"}),
)  # fmt: skip
def show_steps(args: argparse.Namespace) -> None:
    """Step forth and back through a computation, op by op."""
    with source_lines():
        tensor = tensor_at(args.target, args.rest)
    if tensor.requires_grad:
        take_ones(tensor, args.target)  # the steps say of what the gradients are
    found = steps(tensor, check=args.check)
    if args.output:
        found.save(args.output)
    else:
        found.interactive()


def answer(ask: Callable[[Tensor], Sequence[Any]], args: argparse.Namespace) -> None:
    """Ask something of the tensor at the target; if ones were taken for its cotangent, the
    answers are said to be those of its sum."""
    tensor = tensor_at(args.target, args.rest)
    summed = take_ones(tensor, args.target)
    found = ask(tensor)
    report([replace(x, output=f"sum({x.output})") for x in found] if summed else found, args)


def report(results: Sequence[Any], args: argparse.Namespace) -> None:
    """Print results as text or JSON, or save the one there is."""
    if args.output and len(results) != 1:
        raise Mistake(f"a picture shows one parameter, but there are {len(results)}: give --wrt")
    if args.output:
        results[0].save(args.output)
    elif args.json:
        print(json_text([result.to_json() for result in results]))
    else:
        print("\n\n".join(map(str, results)))


def take_ones(tensor: Tensor, target: str) -> bool:
    """Where the script ran no backward, let every question start from ones, and so from the
    gradient of the sum; true if that is another than the tensor's own.

    Raises: Mistake if the tensor requires no gradient.
    """
    if not tensor.requires_grad:
        raise Mistake(f"{target} requires no gradient, so there is none to follow")
    if hasattr(tensor, "cotangent"):
        return False
    tensor.cotangent = np.ones(tensor.shape, tensor.dtype)
    return tensor.size != 1


def parameters(output: Tensor, names: Sequence[str] | None) -> list[Tensor]:
    """The named parameters of a computation, or those asked for.

    Raises: Mistake if there are none, or not the one asked for.
    """
    found = named_parameters(output)
    if not found:
        raise Mistake("no parameter has a name; name them, as in Tensor(..., name='W1')")
    for name in names or ():
        if name not in found:
            raise Mistake(f"no parameter is named {name!r}; there are {', '.join(found)}")
    return [found[name] for name in names or found]


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
    return [tensor_named(name, ran[file], file) for file, name in places]


def place(target: str) -> tuple[str, str]:
    """The script and the name in ``FILE.py:NAME``. Raises: Mistake if it is not that."""
    file, colon, name = target.rpartition(":")
    if not colon or not name.isidentifier() or not file:
        raise Mistake(
            "say which tensor of which script as FILE.py:NAME, for example net.py:loss; "
            f"got {target!r}"
        )
    if not Path(file).is_file():
        wrong = "is a folder" if Path(file).is_dir() else "does not exist"
        raise Mistake(f"the script {file!r} {wrong}")
    return file, name


def tensor_named(name: str, names: dict[str, Any], file: str) -> Tensor:
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
        raise ScriptError(script_traceback(error)) from None
    name_by_variables(script.__dict__)
    return script.__dict__


def name_by_variables(names: dict[str, Any]) -> None:
    """Give every tensor without a name that of its variable, where no other has it."""
    tensors = {key: x for key, x in names.items() if isinstance(x, Tensor)}
    taken = {x.name for x in tensors.values()}
    for key, tensor in tensors.items():
        if tensor.name is None and key not in taken and not key.startswith("_"):
            tensor.name = key


def script_traceback(error: BaseException) -> str:
    """An error of the script as Python shows it, without the lines of this package."""
    report = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = report
    while part is not None:
        users = [frame for frame in part.stack if not frame.filename.startswith(PACKAGE)]
        part.stack = traceback.StackSummary.from_list(users)
        part = part.__cause__ or part.__context__
    return "".join(report.format())
