"""All that the demo prints: steps with a check mark and their time, and what arrives beside them, dimmed and indented.

On a terminal a step that runs has a spinner; elsewhere (a pipe, a CI log) every line is plain and final. A step also
has a time limit, kept by an alarm that interrupts whatever the main thread waits for: no step can hang.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 110
_TAIL_LINES = 15
_ANNOUNCE_FROM = 30.0  # seconds: a step that may take longer than this is announced where there is no spinner

NEXT = (
    (".venv/bin/virtbus -c test:///default list --all", "the command line, on a node inside its own process"),
    ("make test", "the whole test suite, with a real RabbitMQ and real guests"),
)


class DemoError(Exception):
    """The demo found something not to be as it should; the text says what."""


@dataclass
class Step:
    """A running step; ``detail`` is what was found out, printed behind its name."""

    detail: str = ""


class Screen:
    """Standard output, used by the story and by the threads that listen beside it."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=_PLAIN_WIDTH)
        self._spins = self._console.is_terminal and not self._console.is_dumb_terminal
        unicode = self._console.encoding.lower().startswith("utf")
        # Rich lets a thread print into the last moment of another's spinner; this does not.
        self._lock = threading.RLock()
        self._tick, self._cross, self._bar = ("✓", "✗", "│") if unicode else ("ok", "FAILED", "|")

    def title(self, name: str, text: str) -> None:
        """The first line."""
        self._print(Text.assemble((name, "bold cyan"), ": ", text))

    def chapter(self, text: str) -> None:
        """A heading."""
        self._print()
        self._print(Text(text, "bold"))

    def note(self, text: str) -> None:
        """A dimmed line about the step that runs."""
        self._print(Text(f"    {text}", "dim"))

    def warn(self, text: str) -> None:
        """A line that says what is left out."""
        self._print(Text(f"  {text}", "yellow"))

    def aside(self, source: str, text: str, style: str = "dim") -> None:
        """A line that somebody else said: the guest, the bus."""
        line = Text.assemble((f"    {source:>5} {self._bar} ", "dim"), (text, style))
        self._print(line, no_wrap=True)

    def table(self, table: RenderableType) -> None:
        """A table, indented like the rest."""
        self._print(Padding(table, (0, 0, 0, 2)))

    @contextmanager
    def step(self, text: str, limit: float = 30.0, log: Path | None = None) -> Iterator[Step]:
        """Something that is done now, within ``limit`` seconds. If it fails, the end of ``log`` is printed."""
        began = time.monotonic()
        step = Step()
        spinner = self._spinner(text) if self._spins else nullcontext()
        if not self._spins and limit > _ANNOUNCE_FROM:
            self._line(("-", "dim"), f"{text} ...")
        try:
            with _alarm(limit, text), spinner:
                yield step
        except BaseException as error:
            self._line((self._cross, "bold red"), (text, "bold"))
            if log is not None and not isinstance(error, KeyboardInterrupt):
                self._tail(log)
            raise
        took = time.monotonic() - began
        detail = f": {step.detail}" if step.detail else ""
        self._line((self._tick, "bold green"), text, (detail, "cyan"), (f"  {took:.1f} s", "dim"))

    @contextmanager
    def _spinner(self, text: str) -> Iterator[None]:
        status = self._console.status(Text(text), spinner="dots")
        with self._lock:
            status.start()
        try:
            yield
        finally:
            with self._lock:
                status.stop()

    def failure(self, error: BaseException) -> int:
        """Say why the demo ends early; the exit status."""
        if isinstance(error, KeyboardInterrupt):
            self._print(Text("\nInterrupted.", "bold yellow"))
            return 130
        self._print(Text.assemble(("\nThe demo failed: ", "bold red"), str(error) or type(error).__name__))
        return 1

    def summary(self, text: str, chapters: Mapping[str, float], began: float) -> None:
        """The last lines: how long each chapter took, from the times at which they began, and what to try next."""
        now = time.monotonic()
        ends = [*list(chapters.values())[1:], now]
        self._print()
        for (name, start), end in zip(chapters.items(), ends, strict=True):
            self._print(Text.assemble((f"  {end - start:6.1f} s  ", "dim"), name))
        self._print(Text.assemble((f"  {now - began:6.1f} s  ", "bold green"), (text, "bold")))
        self.chapter("Try next")
        width = max(len(command) for command, _ in NEXT)
        for command, purpose in NEXT:
            self._print(Text.assemble((f"  {command:<{width}}", "cyan"), (f"  {purpose}", "dim")))

    def _print(self, what: RenderableType = "", *, no_wrap: bool = False) -> None:
        with self._lock:
            self._console.print(what, no_wrap=no_wrap, overflow="ellipsis" if no_wrap else None)

    def _line(self, mark: tuple[str, str], *parts: str | tuple[str, str]) -> None:
        """A mark and a text, whose further lines begin below its first."""
        grid = Table.grid(padding=(0, 1))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text.assemble("  ", mark), Text.assemble(*parts))
        self._print(grid)

    def _tail(self, log: Path) -> None:
        if not log.exists():
            return
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        self._print(Text(f"    the end of {log.name}:", "yellow"))
        for line in lines:
            self._print(Text(f"    {line}", "dim"))


@contextmanager
def _alarm(limit: float, text: str) -> Iterator[None]:
    """Raise DemoError in the main thread, wherever it waits, when the block takes longer than ``limit`` seconds."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise DemoError(f"{text}: not done after {limit:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
