"""What the demo shows while it runs: a live picture on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from asyncinfer.cli._job_tables import table_of

SHOWN_TYPES = 12
BAR = 30
LINE_SECONDS = 1.0
"""Between two lines of progress where there is no terminal."""


class ProcessRow:
    """One process as the table shows it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pid = 0
        self.doing = "starting"
        self.style = "dim"
        self.running = 0

    def now(self, doing: str, style: str) -> None:
        self.doing, self.style = doing, style


class Screen:
    """The state that is shown, and how. `say` adds a line that stays."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.here = ProcessRow("this process")
        self.second = ProcessRow("second process")
        self.kinds: Counter[str] = Counter()
        self._started = time.monotonic()
        self._line_at = 0.0
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TaskProgressColumn(show_speed=True),
            TimeElapsedColumn(),
            console=console,
            expand=True,
        )
        self._submitted = self._bars.add_task("submitted", total=None)
        self._done = self._bars.add_task("identified", total=None)
        self._log = _Said(self)
        self._live = Live(get_renderable=self._picture, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        logging.getLogger("asyncinfer").addHandler(self._log)
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the live picture away; what was said stays."""
        logging.getLogger("asyncinfer").removeHandler(self._log)
        self._live.stop()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._started

    def say(self, line: str, style: str = "") -> None:
        """Print a line with the time since the start."""
        self.console.print(Text.assemble((f"{self.seconds:6.1f} s  ", "dim"), (line, style)), soft_wrap=True)

    def show(self, *, submitted: int, done: int, total: int) -> None:
        """Take over how far it is; draws by itself on a terminal."""
        self._bars.update(self._submitted, completed=submitted, total=total)
        self._bars.update(self._done, completed=done, total=total)
        if not self.console.is_terminal and self.seconds - self._line_at >= LINE_SECONDS:
            self._line_at = self.seconds
            self.say(f"{done:,} of {total:,} files identified, {self.second.name} {self.second.doing}")

    def _picture(self) -> RenderableType:
        return Group(self._bars, "", self._processes(), kinds_table(self.kinds, at_most=SHOWN_TYPES))

    def _processes(self) -> Table:
        table = table_of("process", "pid", "is", "runs")
        for row in (self.here, self.second):
            attempts = f"{row.running} attempts" if row.running else ""
            table.add_row(row.name, str(row.pid or ""), Text(row.doing, style=row.style), attempts)
        return table


class _Said(logging.Handler):
    """Says what the library warns of: the rescuer's words stand among the demo's own."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(logging.WARNING)
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        self._screen.say(f"{record.name}: {record.getMessage()}", "magenta")


def kinds_table(kinds: Counter[str], *, at_most: int | None = None) -> Table:
    """Return the types of file, most frequent first, each with its bar."""
    table = table_of("type", "files", "")
    table.columns[1].justify = "right"
    ordered: Sequence[tuple[str, int]] = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    most = ordered[0][1] if ordered else 1
    for label, count in ordered[:at_most]:
        table.add_row(Text(label), f"{count:,}", Text("━" * max(1, round(BAR * count / most)), style="green"))
    if at_most is not None and len(ordered) > at_most:
        rest = ordered[at_most:]
        table.add_row(Text(f"{len(rest)} more", style="dim"), f"{sum(count for _, count in rest):,}", "")
    return table
