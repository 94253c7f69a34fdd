"""Load the named statements of `sql/*.sql`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from importlib.resources import files
from itertools import chain
from typing import Any

_CHUNKS = (64, 16, 4, 1)
"""A statement with many rows lets go of the interpreter lock once instead of once a row."""
_ROW = re.compile(r"VALUES (\([?, ]+\))")


class Statement:
    """One statement; where it has `VALUES (?, …)`, that row may be repeated."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._by_rows = {1: text}

    def rows(self, count: int) -> str:
        """Return the text for `count` rows of values."""
        text = self._by_rows.get(count)
        if text is None:
            text = _ROW.sub(lambda found: "VALUES " + ", ".join([found[1]] * count), self.text, count=1)
            self._by_rows[count] = text
        return text


def write_rows(
    connection: sqlite3.Connection,
    statement: Statement,
    rows: Sequence[tuple[object, ...]],
    first: tuple[object, ...] = (),
) -> int:
    """Run a statement over all rows, in chunks, `first` before each; return how many rows of the table it changed."""
    changed = start = 0
    for size in _CHUNKS:
        while len(rows) - start >= size:
            chunk = rows[start : start + size]
            start += size
            values = first + chunk[0] if size == 1 else [*first, *chain.from_iterable(chunk)]
            changed += connection.execute(statement.rows(size), values).rowcount
    return changed


def read_rows(
    connection: sqlite3.Connection, statement: Statement, wanted: Sequence[tuple[object, ...]]
) -> list[tuple[Any, ...]]:  # Any: the columns' types are the schema's to know
    """Run a reading statement over rows of values, in chunks; return all rows found, in no order."""
    found: list[tuple[Any, ...]] = []
    start = 0
    for size in _CHUNKS:
        while len(wanted) - start >= size:
            chunk = wanted[start : start + size]
            start += size
            found += connection.execute(statement.rows(size), list(chain.from_iterable(chunk)))
    return found


def load(group: str) -> dict[str, Statement]:
    """Return the statements of `sql/<group>.sql` by name; a block starts with `-- name: <name>`, then its promise."""
    text = (files(__name__.partition(".")[0]) / "sql" / f"{group}.sql").read_text("utf-8")
    blocks = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {
        name: Statement(name, _without_comments(body)) for name, body in zip(blocks[::2], blocks[1::2], strict=True)
    }


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("--"))


def migrations() -> list[tuple[int, str]]:
    """Return (number, script) of `sql/migrations/*.sql`, in order."""
    folder = files(__name__.partition(".")[0]) / "sql" / "migrations"
    scripts = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return sorted((int(entry.name.removesuffix(".sql")), entry.read_text("utf-8")) for entry in scripts)
