"""The numbers of lines: a line is where jobs wait, one model in one queue."""

from __future__ import annotations

import sqlite3

from asyncinfer_sqlite._sql import load

_SQL = load("counters")


class Lines:
    """The numbers of (model, queue), remembered: a line is never deleted."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, tuple[str, str]] = {}

    def forget(self) -> None:
        """Drop everything: the transaction that added a line was rolled back."""
        self._numbers.clear()
        self._names.clear()

    def find(self, model: str, queue: str) -> int | None:
        """Return the number of a line that is remembered."""
        return self._numbers.get((model, queue))

    def add(self, connection: sqlite3.Connection, model: str, queue: str) -> int:
        """Return the number of a line, adding it when it is new."""
        connection.execute(_SQL["add_line"].text, (model, queue))
        number = int(connection.execute(_SQL["line"].text, (model, queue)).fetchone()[0])
        self._remember(number, model, queue)
        return number

    def names(self, connection: sqlite3.Connection, line: int) -> tuple[str, str]:
        """Return (model, queue). Raise ValueError for a number that was never given out."""
        names = self._names.get(line)
        if names is None:
            row = connection.execute(_SQL["line_names"].text, (line,)).fetchone()
            if row is None:
                raise ValueError(f"there is no line {line}")
            names = (row[0], row[1])
            self._remember(line, *names)
        return names

    def _remember(self, number: int, model: str, queue: str) -> None:
        self._numbers[model, queue] = number
        self._names[number] = (model, queue)
