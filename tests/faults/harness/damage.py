"""Damage that a disk, a bad memory chip or a stray hand may do to one job's rows in an SQLite store.

What finds the row stays as it is: its number, owner, id, line, status and place; a row that no index leads to is lost
in any database. Everything that is read once a row has been found may be anything.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping

GARBAGE = b"\xc1"
"""No MessagePack begins with this byte."""
_Value = bytes | str | int | float | None
Damage = Callable[[sqlite3.Connection, int, random.Random], object]


def _column(name: str, *values: _Value) -> Damage:
    def damage(connection: sqlite3.Connection, n: int, randomness: random.Random) -> None:
        connection.execute(f"UPDATE jobs SET {name} = ? WHERE n = ?", (randomness.choice(values), n))

    return damage


def _blob(table: str, column: str) -> Damage:
    def damage(connection: sqlite3.Connection, n: int, randomness: random.Random) -> None:
        """Cut it short, turn some of its bits, or put something else in its place."""
        for rowid, blob in connection.execute(f"SELECT rowid, {column} FROM {table} WHERE n = ?", (n,)).fetchall():
            others: list[_Value] = [GARBAGE + randomness.randbytes(8), b"", "text", 7]
            spoiled = randomness.choice(others)
            if randomness.random() < 0.5:
                spoiled = bytes(blob[: randomness.randrange(len(blob))])
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (spoiled, rowid))

    return damage


def _subscription(connection: sqlite3.Connection, n: int, randomness: random.Random) -> None:
    spoiled = randomness.choice([GARBAGE, b"", "text", 7])
    connection.execute("UPDATE subscriptions SET subscription = ? WHERE n = ?", (spoiled, n))


def _lost_input(connection: sqlite3.Connection, n: int, randomness: random.Random) -> None:
    connection.execute("DELETE FROM inputs WHERE n = ?", (n,))
    connection.execute("UPDATE jobs SET input = NULL, input_bytes = 5000 WHERE n = ?", (n,))


ANY_TIME: Mapping[str, Damage] = {
    "fixed": _blob("jobs", "fixed"),
    "revision": _column("revision", "text", b"\x00"),
    "attempt": _column("attempt", "text", b"\x00"),
    "failures": _column("failures", "text", b"\x00"),
    "crashes": _column("crashes", "text", b"\x00"),
    "tag": _column("tag", "text", b"\x00"),
    "created_at": _column("created_at", "text", b"\x00"),
    "not_before": _column("not_before", "text", b"\x00"),
    "batch_key": _column("batch_key", b"\x00\xff", 7),
    "input_bytes": _column("input_bytes", "text", b"\x00"),
    "cancel_requested_at": _column("cancel_requested_at", "text", b"\x00"),
    "move_id": _column("move_id", "text", 7),
    "error": _column("error", GARBAGE, "text", 7),
    "subscription": _subscription,
}
"""Damage to a job that waits or runs."""
WAITING: Mapping[str, Damage] = {
    **ANY_TIME,
    "expire_at": _column("expire_at", "text", b"\x00"),
    "input": _column("input", GARBAGE, b"", "text", 7),
    "lost input": _lost_input,
    "large input": _blob("inputs", "data"),
}
"""Damage to a job that waits."""


def damage_job(connection: sqlite3.Connection, job_id: str, kind: Damage, randomness: random.Random) -> None:
    """Spoil one thing of one job."""
    (n,) = connection.execute("SELECT n FROM jobs WHERE id = ?", (job_id,)).fetchone()
    kind(connection, n, randomness)
