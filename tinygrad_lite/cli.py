"""The command line: ``tinygrad-lite COMMAND FILE.py:NAME``.

Every command runs the user's script and looks at the tensor it left under NAME. A command
is a function of the parsed arguments below a `@command`, and its docstring is its help.

What the script prints, then or later, goes to standard error, so standard output holds the
result alone.
A user's mistake is one sentence there and exit status 2; an error in the script is shown as
Python would, with exit status 1 (see script.py).
"""

from __future__ import annotations

import os
import re
import sys
from argparse import (
    Action,
    ArgumentParser,
    ArgumentTypeError,
    BooleanOptionalAction,
    Namespace,
    RawDescriptionHelpFormatter,
)
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .files import check_target, json_text
from .insight.bundles import NAMED
from .insight.classes import path_classes
from .insight.comparing import Comparison, compare_named
from .insight.flows import Flow, flow
from .insight.graphs import Graph, graph
from .insight.paths import Paths, paths
from .insight.profiles import Profile, profile
from .insight.result import Drawing, Result
from .insight.stepper import Steps, steps
from .insight.what_if import BRANCHES, WhatIf, array_had, what_if
from .live.process import Script, ScriptError
from .live.server import News, serve
from .recorded.names import Names, links
from .recorded.replay import Plan
from .recorded.trace import parameters_of, tensor_meant
from .target import complete_target, split_target, tensors_at
from .tensor import Tensor
from .text import TRANSLITERATE


class Parser(ArgumentParser):
    """A parser that answers a mistake with one sentence."""

    def error(self, message: str) -> NoReturn:
        """End with the sentence, and where to read more."""
        self.exit(2, f"tinygrad-lite: {message}; see {self.prog} --help\n")


class Version(Action):
    """The option that prints the version."""

    def __call__(self, parser: ArgumentParser, *_: object) -> NoReturn:
        """Look the version up, which only then costs time, and end."""
        from importlib import metadata

        try:
            found = metadata.version("tinygrad_lite")
        except metadata.PackageNotFoundError:
            found = "(not installed)"
        print("tinygrad-lite", found)
        parser.exit()


PARSER = Parser(
    prog="tinygrad-lite",
    description="Look at a computation: run a script and take the tensor it left under a name.",
    epilog="examples:",
    formatter_class=RawDescriptionHelpFormatter,
)
PARSER.add_argument("--version", action=Version, nargs=0, help="print the version, and end")
COMMANDS = PARSER.add_subparsers(dest="command", required=True, metavar="COMMAND")
Run = Callable[[Namespace], None]
Option = tuple[list[str], dict[str, Any]]


def command(example: str, result: type[Result], *options: Option) -> Callable[[Run], Run]:
    """Make a function a command, by the name in the example. A file name under which `result`
    cannot be saved is refused before the script runs."""

    def define(run: Run) -> Run:
        what = run.__doc__ or ""
        sub = COMMANDS.add_parser(
            example.split()[1],
            help=what[:1].lower() + what[1:-1],
            description=what,
            epilog=f"example:\n  {example}\n\nArguments after -- are the script's own.",
            formatter_class=RawDescriptionHelpFormatter,
        )
        target = sub.add_argument(
            "target", metavar="FILE.py:NAME",
            help="a script or notebook, and a tensor in it: net.py:loss, 'net.py:out[\"y\"]'",
        )  # fmt: skip
        target.completer = complete_target  # type: ignore[attr-defined]  # for argcomplete
        for flags, keywords in MODULE:
            sub.add_argument(*flags, **keywords)
        instead = sub.add_mutually_exclusive_group()
        for flags, keywords in (*options, *(DRAWN if issubclass(result, Drawing) else ())):
            (instead if "--json" in flags else sub).add_argument(*flags, **keywords)
        kinds = ", ".join(result.suffixes)
        instead.add_argument(
            "-o",
            metavar="FILE",
            dest="output",
            help=f"write a file instead, by its suffix: {kinds}",
        )
        instead.add_argument(
            "--html", metavar="FILE.html", dest="output", type=page_name,
            help="write the page instead, one offline file",
        )  # fmt: skip
        sub.set_defaults(run=run, suffixes=result.suffixes)
        PARSER.epilog = f"{PARSER.epilog}\n  {example}"
        return run

    return define


def option(flags: str, help: str, **keywords: Any) -> Option:
    """An argument of a command: its flags, and what else `add_argument` takes."""
    return flags.split(), {"help": help, **keywords}


MODULE = (
    option("--inputs", "where FILE.py:NAME is a torch.nn.Module: the tensors of the script to call "
           "it on", metavar="NAME", nargs="+", default=[]),
    option("--output", "which of the outputs of a module, as logits or hidden.0; a file is -o's",
           metavar="KEY", dest="key"),
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit status: 0, or 2 for a mistake.

    Raises: SystemExit where the script failed, with what is to be printed, and as argparse does.
    """
    if "_ARGCOMPLETE" in os.environ:  # a shell asks how a command may go on
        from argcomplete import autocomplete

        autocomplete(PARSER)
    closed = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell, as with >&-
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
        elif mode == "w" and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors=TRANSLITERATE)
    given = list(sys.argv[1:] if argv is None else argv)
    split = given.index("--") if "--" in given else len(given)  # what follows is the script's
    args = Namespace(rest=given[split + 1 :], json=False, stdout=sys.stdout)
    PARSER.parse_args(given[:split], args)
    try:
        if args.output is not None:
            check_target(Path(args.output), args.suffixes)
        elif closed:
            raise ValueError("standard output is closed; give -o FILE, or leave it open")
        with redirect_stdout(sys.stderr):  # for what the script leaves running
            args.run(args)
        args.stdout.flush()
    except BrokenPipeError:  # the reader, such as head, has had enough
        discard_output()
    except (ValueError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:
            discard_output()  # as of a full disk
        print(f"tinygrad-lite: {with_options(sentence(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if argv is None:  # the process ends, and the script's exit handlers may print
            os.dup2(2, 1)
    return 0


def discard_output() -> None:
    """Let nothing be written to standard output any more, nor complained of when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.stdout.flush()


def sentence(error: Exception) -> str:
    """What an error says; the system's own, with what it is about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'standard output'}: {error.strerror}"
    return str(error)


ARGUMENTS = (  # as messages write them, and what they are in a command
    (r"\bpath_classes\b", "--by skips"),
    (r"\b(?:limit|keep)=(\d+)", r"\1"),
    (r"\bwrt=\.\.\.", "--wrt NAME"),
    (r'\b(by|top)=("?)(\w+)\2', r"--\1 \3"),
)


def with_options(text: str) -> str:
    """A text in which the arguments that it tells to give are options."""
    for argument, option in ARGUMENTS:
        text = re.sub(argument, option, text)
    return text


def page_name(name: str) -> str:
    """The name of a page. Raises: ArgumentTypeError for one that does not end so."""
    if not name.lower().endswith(".html"):
        raise ArgumentTypeError(f"the name of a page ends in .html, but got {name!r}")
    return name


DRAWN = (  # of what is drawn on a graph
    option("--direction", "left to right (default) or top to bottom",
           choices=["LR", "TB"], default="LR"),
    option("--fold", "draw what repeats once, scopes as one box each (default: in large graphs)",
           action=BooleanOptionalAction),
)  # fmt: skip
JSON = option("--json", "print the numbers as JSON", action="store_true")
WRT = option("--wrt", "what the gradient travels to, by its name (default: every parameter)",
             metavar="NAME", action="append")  # fmt: skip


@command(
    "tinygrad-lite graph examples/skip_networks.py:G -o g.svg", Graph,
    option("--gradient", "send a gradient of ones back where the script sent none (default)",
           action=BooleanOptionalAction, default=True),
)  # fmt: skip
def show_graph(args: Namespace) -> None:
    """Show what a tensor was computed from, and its gradients."""
    ((tensor, names),) = tensors_at([args.target], args.rest, args.inputs, args.key)
    if args.gradient and tensor.requires_grad:
        take_ones(tensor, args.target)
    report(args, [graph(tensor, names=names)])


@command(
    "tinygrad-lite paths examples/skip_networks.py:G --wrt W1", Paths, WRT,
    option("--by", "group the paths by the scopes they enter, by how many, or by how many skips "
           "they take", choices=NAMED),
    option("--top", "list only the N paths that carry most", type=int, metavar="N"),
    JSON,
)  # fmt: skip
def show_paths(args: Namespace) -> None:
    """List the paths a gradient takes to each parameter, with their shares."""
    if args.by and args.top is not None:
        raise ValueError("--by groups all paths, --top lists the largest: give one of them")
    if args.by:
        answer(args, lambda y, wrt, names: path_classes(y, wrt, args.by, names=names))
    else:
        answer(args, lambda y, wrt, names: [paths(y, x, top=args.top, names=names) for x in wrt])


@command("tinygrad-lite flow examples/skip_networks.py:G --wrt W1 -o flow.svg", Flow, WRT, JSON)
def show_flow(args: Namespace) -> None:
    """Say which share of a gradient travels through each edge."""
    answer(args, lambda y, wrt, names: [flow(y, x, names=names) for x in wrt])


@command("tinygrad-lite profile examples/deep_residual.py:F", Profile, JSON)
def show_profile(args: Namespace) -> None:
    """Print the size of the gradient layer by layer, and where it is lost."""
    answer(args, lambda y, wrt, names: [profile(y, names=names)])


def half_square(output: Tensor) -> Tensor:
    """Half of its squared length."""
    return (output * output).sum() * 0.5


LOSSES = {"sum": (Tensor.sum, "sum({})"), "square": (half_square, "½|{}|²")}


def swept(given: str) -> tuple[str, np.ndarray]:
    """What NAME=FIRST:LAST:COUNT says: a name, and the offsets. Raises: ArgumentTypeError."""
    with suppress(ValueError):
        name, equals, numbers = given.rpartition("=")
        first, last, count = numbers.split(":")
        if equals and name and int(count) > 0:
            return name, np.linspace(float(first), float(last), int(count))
    raise ArgumentTypeError(
        f"a sweep is NAME=FIRST:LAST:COUNT, as in b3=0:20:41, but got {given!r}"
    )


@command(
    "tinygrad-lite what-if examples/skip_networks.py:G --wrt W1", WhatIf, WRT,
    option("--by", "what is cut: scopes (default), skips and what they skip, or every edge",
           choices=BRANCHES, default="scope"),
    option("--loss", "of what the gradient is: the tensor's sum, or half of its squared length "
           "(default: as the script ran backward, else the sum)", choices=LOSSES),
    option("--sweep", "add each of COUNT offsets to a leaf instead: b3=0:20:41",
           metavar="NAME=FIRST:LAST:COUNT", type=swept),
    JSON,
)  # fmt: skip
def show_what_if(args: Namespace) -> None:
    """Say what a gradient would be without each branch, or with another parameter."""
    loss, title = LOSSES.get(args.loss, (None, ""))

    def ask(y: Tensor, wrt: list[Tensor], names: Names) -> list[WhatIf]:
        sweep = None
        if args.sweep:
            (name, offsets), plan = args.sweep, Plan(y, names)
            leaf = plan.leaf(name)
            sweep = {leaf: np.add.outer(offsets, array_had(plan, leaf))}
        found = [what_if(y, x, args.by, loss=loss, sweep=sweep, names=names) for x in wrt]
        return [replace(x, output=title.format(names.title(y))) for x in found] if title else found

    answer(args, ask)


@command(
    "tinygrad-lite compare examples/skip_networks.py:F G", Comparison,
    option("others", "the second tensor, and more: each a name in the same script, or "
           "FILE.py:NAME", metavar="NAME", nargs="+"),
    WRT,
    option("--by", "how paths are grouped: by the scopes they enter, by how many, or by how many "
           "skips they take", choices=NAMED, default="scope"),
    JSON,
)  # fmt: skip
def show_compare(args: Namespace) -> None:
    """Hold the gradients of two outputs or more against each other, path by path."""
    file, _ = split_target(args.target)
    others = [f"{file}:{other}" if links(other) else other for other in args.others]
    targets = (args.target, *others)
    found = tensors_at(targets, args.rest, args.inputs, args.key)
    outputs, called = tuple(y for y, _ in found), [Names([y], names) for y, names in found]
    own = all(hasattr(y, "cotangent") for y in outputs)
    summed = [take_ones(y, target) for y, target in zip(outputs, targets, strict=True)]
    # One cotangent for all, unless each has its own, or their shapes differ.
    first, alike = outputs[0], len({y.shape for y in outputs}) == 1
    ones = None if own or not alike else np.ones(first.shape, first.dtype)
    answer = compare_named(outputs, called, args.wrt, ones, args.by)
    if any(summed):
        answer = replace(answer, note="The cotangent is ones, where the script ran no backward.")
    report(args, [answer])


@command(
    "tinygrad-lite step examples/skip_networks.py:G --html steps.html", Steps,
    option("--check", "hold each rule against a finite difference", action="store_true"),
)  # fmt: skip
def show_steps(args: Namespace) -> None:
    """Step forth and back through a computation, op by op."""
    ((tensor, names),) = tensors_at([args.target], args.rest, args.inputs, args.key)
    if tensor.requires_grad:
        take_ones(tensor, args.target)  # the steps say of what the gradients are
    found = steps(tensor, check=args.check, names=names)
    if args.output:
        found.save(args.output)
    else:
        with redirect_stdout(args.stdout):
            found.interactive()


LIVE = COMMANDS.add_parser(
    "live",
    help="serve the page with knobs, on this machine alone",
    description="Run a script and serve the page of a tensor it left, with knobs: inputs and "
    "parameters can be changed and branches cut. Saving the script runs it again; Ctrl-C ends it.",
    epilog="example:\n  tinygrad-lite live examples/skip_networks.py:G\n\n"
    "Arguments after -- are the script's own.",
    formatter_class=RawDescriptionHelpFormatter,
)  # fmt: skip


def show_live(args: Namespace) -> None:
    """Serve the page until Ctrl-C."""
    split_target(args.target)
    news = News()
    try:
        script = Script(args.target, args.rest, news, args.inputs, args.key)
    except ScriptError as failure:
        report = failure.told.get("report")
        if report:
            raise SystemExit(report) from None
        raise ValueError(str(failure)) from None
    try:
        live = serve(script, args.port, None if args.browser else False, news)
    except OSError as error:
        script.close()
        raise ValueError(str(error)) from None
    with live, suppress(KeyboardInterrupt):
        print(live.url, file=args.stdout, flush=True)
        live.wait()


LIVE.add_argument(
    "target", metavar="FILE.py:NAME", help="a script, and a tensor in it"
).completer = complete_target  # type: ignore[attr-defined]
for flags, keywords in MODULE:
    LIVE.add_argument(*flags, **keywords)
LIVE.add_argument("--port", type=int, default=0, metavar="N", help="(default: any that is free)")
LIVE.add_argument(
    "--no-browser", dest="browser", action="store_false", help="only print the address"
)
LIVE.set_defaults(run=show_live, output=None)
PARSER.epilog = f"{PARSER.epilog}\n  tinygrad-lite live examples/skip_networks.py:G"


def answer(args: Namespace, ask: Callable[[Tensor, list[Tensor], Names], Sequence[Any]]) -> None:
    """Ask something of the tensor at the target, with respect to the values that are meant; if
    ones were taken for its cotangent, the answers are said to be those of its sum."""
    ((tensor, variables),) = tensors_at([args.target], args.rest, args.inputs, args.key)
    summed, names = take_ones(tensor, args.target), Names([tensor], variables)
    found = ask(tensor, ends(tensor, names, getattr(args, "wrt", None)), names)
    summed = summed and not getattr(args, "loss", None)
    report(args, [replace(x, output=f"sum({x.output})") for x in found] if summed else found)


def report(args: Namespace, results: Sequence[Any]) -> None:
    """Print results as text or JSON, or save the one there is, drawn as the options say."""
    if args.output and len(results) != 1:
        raise ValueError(f"a picture shows one parameter, but there are {len(results)}: give --wrt")
    if args.output:
        drawn = isinstance(results[0], Drawing)
        how = {"fold": args.fold, "direction": args.direction} if drawn else {}
        results[0].save(args.output, **how)
    elif args.json:
        print(json_text([result.to_json() for result in results]), file=args.stdout)
    else:
        print(with_options("\n\n".join(map(str, results))), file=args.stdout)


def take_ones(tensor: Tensor, target: str) -> bool:
    """Where the script ran no backward, let every question start from ones, and so from the
    gradient of the sum; true if that is another than the tensor's own."""
    if not tensor.requires_grad:
        raise ValueError(f"{target} requires no gradient, so there is none to follow")
    if hasattr(tensor, "cotangent"):
        return False
    tensor.cotangent = np.ones(tensor.shape, tensor.dtype)
    return tensor.size != 1


def ends(output: Tensor, names: Names, wanted: Sequence[str] | None) -> list[Tensor]:
    """The parameters of a computation, or those of its values that were asked for by name."""
    if wanted:
        return [tensor_meant(output, name, names) for name in wanted]
    return [*parameters_of(output, names).values()]
