"""A text that is walked through by single keys, in a terminal, with the standard library alone.

`curses` reads the keys, follows resizing, and puts the terminal back however the walk ends.
Where there is no curses (Windows) or no such terminal, the same commands are typed on a
line each. Without a terminal at all, `interact` says so and the caller prints instead.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol


class Program(Protocol):
    """What is shown and what keys do.

    `press` takes a key ("n", "left", ...) and, for a key in `prompts`, what was typed after
    it; it returns False to end. `complete` lengthens the beginning of a word.
    """

    @property
    def prompts(self) -> Mapping[str, str]:
        """The keys after which something is typed, and what asks for it."""

    def lines(self, width: int) -> list[str]:
        """The text, in lines of at most `width` characters; the first is a heading."""

    def status(self, width: int) -> str:
        """The last line: a message, or the keys there are."""

    def press(self, key: str, argument: str = "") -> bool:
        """Do what a key says; False to end."""

    def complete(self, beginning: str) -> str:
        """The longest text that all words with this beginning share."""


def interact(program: Program) -> bool:
    """Walk through `program` until it ends, Ctrl-C or end of input; False if there is no
    terminal to do it in, and nothing was shown."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    curses = usable_curses()
    if curses is None:
        interact_by_line(program)
        return True
    with suppress(KeyboardInterrupt):
        curses.set_escdelay(25)
        curses.wrapper(lambda screen: Walk(screen, program, curses).run())
    return True


def usable_curses() -> Any:
    """The curses module; None where there is none, or the terminal cannot move its cursor."""
    try:
        import curses

        curses.setupterm()
    except Exception:  # not installed, or of an unknown terminal, curses.error
        return None
    return curses if curses.tigetstr("cup") and curses.tigetstr("clear") else None


def interact_by_line(program: Program) -> None:
    """The same walk with commands typed on lines: ``n``, or ``g 7``."""
    while True:
        print("\n".join(program.lines(80)))
        try:
            key, _, argument = input(f"{program.status(80)}\n> ").strip().partition(" ")
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if not program.press(key or "n", argument.strip()):
            return


class Walk:
    """The walk on a curses screen: what is scrolled, what is being typed."""

    def __init__(self, screen: Any, program: Program, curses: Any) -> None:
        self.curses, self.screen, self.program = curses, screen, program
        self.top = 0  # the first line on the screen
        names = {"LEFT": "left", "RIGHT": "right", "UP": "up", "DOWN": "down", "HOME": "home",
                 "END": "end", "PPAGE": "pageup", "NPAGE": "pagedown"}  # fmt: skip
        self.names = {getattr(curses, f"KEY_{key}"): name for key, name in names.items()}
        self.names |= {"\n": "right", "\r": "right", " ": "right", "\x04": "q", "\x1b": "escape"}

    def run(self) -> None:
        """Show, read a key, do it; until the program ends."""
        with suppress(self.curses.error):  # a terminal may be unable to hide its cursor
            self.curses.curs_set(0)
        going = True
        while going:
            self.draw(self.program.status(self.width))
            key = self.read()
            if key in ("up", "down", "pageup", "pagedown"):
                page = self.height - 2
                self.top += {"up": -1, "down": 1, "pageup": -page, "pagedown": page}[key]
            elif key in self.program.prompts:
                argument = self.ask(self.program.prompts[key])
                going = argument is None or self.go(key, argument)
            elif key:
                going = self.go(key)

    def go(self, key: str, argument: str = "") -> bool:
        """Do what a key says, at the top of the text again."""
        self.top = 0
        return self.program.press(key, argument)

    @property
    def height(self) -> int:
        """Lines on the screen."""
        return int(self.screen.getmaxyx()[0])

    @property
    def width(self) -> int:
        """Characters on a line; the last is left free, where some terminals wrap."""
        return max(20, int(self.screen.getmaxyx()[1]) - 1)

    def read(self) -> str:
        """The next key by its name; "q" at the end of input."""
        for _ in range(5):
            try:
                key = self.screen.get_wch()
            except self.curses.error:
                continue  # a signal came, or the input has ended (then it happens each time)
            return self.names.get(key, "" if isinstance(key, int) else key)
        return "q"

    def draw(self, status: str) -> None:
        """The text from `top` on, and the status in the last line."""
        lines, room = self.program.lines(self.width), self.height - 1
        self.top = max(0, min(self.top, len(lines) - room))
        self.screen.erase()
        for y, line in enumerate(lines[self.top : self.top + room]):
            self.put(y, line, self.curses.A_NORMAL if y + self.top else self.curses.A_BOLD)
        if len(lines) > self.top + room:
            self.put(room - 1, f"  … {len(lines) - self.top - room + 1} more lines (down)")
        self.put(self.height - 1, status, self.curses.A_REVERSE)
        self.screen.refresh()

    def put(self, y: int, text: str, look: int = 0) -> None:
        """A line of text; what does not fit is left out."""
        with suppress(self.curses.error):  # the terminal may just have become smaller
            self.screen.move(y, 0)
            self.screen.clrtoeol()
            self.screen.addnstr(y, 0, text.replace("\0", " "), self.width, look)

    def ask(self, prompt: str) -> str | None:
        """What is typed after `prompt`; None if Escape is pressed instead."""
        typed = ""
        while True:
            self.draw(f"{prompt}{typed}_")
            try:
                key = self.screen.get_wch()
            except self.curses.error:
                return None
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
