"""A text that is walked through by single keys, in a terminal, with the standard library alone.

`curses` reads the keys, follows resizing, and puts the terminal back however the walk ends.
Where there is no curses (Windows) or no such terminal, commands are typed on a line each.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from ..text import cells, encodable, fit_cells

# What is coloured, and how: each colour repeats what the text says. Of several that match, the
# first counts. Only the 16 colours are used of which a terminal's own theme says what they are.
SAYS = {
    "not a number": r"NaN|[−-]?∞|\bnan\b|[−-]?\binf\b",
    "here": r"▶|◆|▸ \S+|\^{2,}|\^(?=\s|$)|(?<=[━─ =-] )\[[^][ ]+\]|^\[[^][ ]+\]",
    "skip": r"[▼╭╮v.]?[━=]+ skip[^━=─]*[━=]+[╮▼.]?|skip +[+−-]\d[\d.]* % +[█#▒%]+",
    "through": r"[+−-]\d[\d.]* % +[█#▒%]+|(?<= )[◀<][━=](?: [\d.e+-]+ )?[━=]?",
    "plus": r"(?<![\w.)])\+[\d.]+(?:e[+-]?\d+)?(?! ?%)(?![\w.])",
    "minus": r"(?<![\w.)])−[\d.]+(?:e[+-]?\d+)?(?! ?%)(?![\w.])",
    "norm": r"\|[\d.e+-]+\|",
    "dim": r"waiting  .*|^ *\d+  |[─│]+|·{2,}|\b[A-Z]{4,}(?: [A-Z]{2,})+\b",
}
COLOURS = {"here": "YELLOW", "skip": "RED", "through": "BLUE", "plus": "GREEN", "minus": "MAGENTA"}
STYLES = {"here": "REVERSE", "not a number": "REVERSE", "norm": "BOLD", "dim": "DIM"}
PATTERN = re.compile("|".join(f"(?P<{what.replace(' ', '_')}>{how})" for what, how in SAYS.items()))


class Program(Protocol):
    """What is shown and what keys do.

    `press` takes a key ("n", "left", ...) and, for a key in `prompts`, what was typed after
    it; it returns False to end. `complete` lengthens the beginning of a word.
    """

    prompts: Mapping[str, str]  # the keys after which something is typed, and what asks for it

    def lines(self, width: int) -> list[str]:
        """The text, in lines of at most `width` characters; the first is a heading."""

    def screen(self, width: int, height: int, encode: Callable[[str], str]) -> list[str]:
        """The same for a screen with so many lines, if it can use them, in letters that `encode`
        gives."""

    def status(self, width: int) -> str:
        """The last line: a message, or the keys there are."""

    def press(self, key: str, argument: str = "") -> bool:
        """Do what a key says; False to end."""

    def complete(self, beginning: str) -> str:
        """The longest text that all words with this beginning share."""


def interact(program: Program) -> bool:
    """Walk through `program` until it ends, Ctrl-C or end of input; False if there is no
    terminal to do it in, and nothing was shown."""
    for stream in (sys.stdin, sys.stdout):  # None or closed, where the caller closed it
        if stream is None or stream.closed or not stream.isatty():
            return False
    try:
        import curses

        curses.setupterm()
        capable = curses.tigetstr("cup") and curses.tigetstr("clear")  # it moves its cursor
    except Exception:  # not installed, or of an unknown terminal, curses.error
        capable = None
    if not capable:
        interact_by_line(program)
        return True
    with suppress(KeyboardInterrupt):
        curses.set_escdelay(25)
        curses.wrapper(lambda screen: Walk(screen, program, curses).run())
    return True


def interact_by_line(program: Program) -> None:
    """The same walk with commands typed on lines: ``n``, or ``g 7``."""
    while True:
        width = max(1, shutil.get_terminal_size().columns - 1)
        say("\n".join(program.lines(width)))
        try:
            say(program.status(width))
            key, _, argument = input("> ").strip().partition(" ")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not program.press(key or "n", argument.strip()):
            return


def say(text: str) -> None:
    """Print a text in letters that standard output has."""
    print(encodable(text, getattr(sys.stdout, "encoding", None)))


class Walk:
    """The walk on a curses screen: what is scrolled, what is being typed."""

    def __init__(self, screen: Any, program: Program, curses: Any) -> None:
        self.curses, self.screen, self.program = curses, screen, program
        self.top = 0  # the first line on the screen
        names = {"LEFT": "left", "RIGHT": "right", "UP": "up", "DOWN": "down", "HOME": "home",
                 "END": "end", "PPAGE": "pageup", "NPAGE": "pagedown"}  # fmt: skip
        self.names = {getattr(curses, f"KEY_{key}"): name for key, name in names.items()}
        with suppress(curses.error):  # the terminal's own background
            curses.use_default_colors()
        self.looks = dict.fromkeys(SAYS, 0) | {
            what: getattr(curses, f"A_{style}") for what, style in STYLES.items()
        }
        if not os.environ.get("NO_COLOR") and curses.has_colors():
            for i, (what, colour) in enumerate(COLOURS.items(), 1):
                with suppress(curses.error):
                    curses.init_pair(i, getattr(curses, f"COLOR_{colour}"), -1)
                    self.looks[what] |= curses.color_pair(i)
        self.names |= {"\n": "right", "\r": "right", " ": "right", "\x04": "q", "\x1b": "escape"}

    def run(self) -> None:
        """Show, read a key, do it; until the program ends."""
        with suppress(self.curses.error):  # a terminal may be unable to hide its cursor
            self.curses.curs_set(0)
        going = True
        while going:
            height, width = self.size
            self.draw(self.program.status(width))
            key = self.read()
            key = self.names.get(key, "" if isinstance(key, int) else key)
            scroll = {"up": -1, "down": 1, "pageup": 2 - height, "pagedown": height - 2}.get(key)
            argument = self.ask(self.program.prompts[key]) if key in self.program.prompts else ""
            if scroll is not None:
                self.top += scroll
            elif key and argument is not None:
                self.top = 0
                going = self.program.press(key, argument)

    @property
    def size(self) -> tuple[int, int]:
        """Lines on the screen, and characters on a line: in the last, some terminals wrap."""
        height, width = self.screen.getmaxyx()
        return height, max(1, width - 1)

    def read(self) -> Any:
        """The next character, or the code of another key; Ctrl-D at the end of input."""
        for _ in range(5):  # an error is a signal that came; or the end, and comes each time
            with suppress(self.curses.error):
                return self.screen.get_wch()
        return "\x04"

    def draw(self, status: str) -> None:
        """The text from `top` on, and the status in the last line."""
        height, width = self.size
        room = height - 1
        encode = partial(encodable, encoding=self.screen.encoding)
        lines = self.program.screen(width, room, encode)
        self.top = max(0, min(self.top, len(lines) - room))
        self.screen.erase()
        for y, line in enumerate(lines[self.top : self.top + room]):
            self.put(y, line, self.curses.A_NORMAL if y + self.top else self.curses.A_BOLD)
        if len(lines) > self.top + room > self.top + 1:
            self.put(room - 1, f"  … {len(lines) - self.top - room + 1} more lines (down)")
        self.put(room, status, self.curses.A_REVERSE)
        self.screen.refresh()

    def put(self, y: int, text: str, look: int = 0) -> None:
        """A line of text; what does not fit is left out."""
        text = encodable(text.replace("\0", " "), self.screen.encoding)
        with suppress(self.curses.error):  # the terminal may just have become smaller
            self.screen.move(y, 0)
            self.screen.clrtoeol()
            x = 0
            fitting = fit_cells(text, self.size[1])
            for piece, says in [(fitting, "")] if look & self.curses.A_REVERSE else pieces(fitting):
                self.screen.addstr(y, x, piece, look | self.looks.get(says, 0))
                x += cells(piece)

    def ask(self, prompt: str) -> str | None:
        """What is typed after `prompt`; None if Escape is pressed instead."""
        typed = ""
        while True:
            self.draw(f"{prompt}{typed}_")
            key = self.read()
            if key in ("\n", "\r", self.curses.KEY_ENTER):
                return typed.strip()
            if key in ("\x1b", "\x04"):
                return None
            if key in ("\b", "\x7f", self.curses.KEY_BACKSPACE):
                typed = typed[:-1]
            elif key == "\t":
                typed = self.program.complete(typed)
            elif isinstance(key, str) and key.isprintable():
                typed += key


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """A line in pieces, each with what it says that has a look of its own; "" for the others."""
    at = 0
    for found in PATTERN.finditer(text):
        yield text[at : found.start()], ""
        yield found[0], (found.lastgroup or "").replace("_", " ")
        at = found.end()
    yield text[at:], ""
