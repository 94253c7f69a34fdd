"""One open transaction: what its moves share, and the counters they write once at its end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from asyncinfer import lifecycle
from asyncinfer.abc import JobKey, Status
from asyncinfer_sqlite._known import Known
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._rows import Row
from asyncinfer_sqlite._sql import Statement, load, write_rows

_SQL = load("counters")
_TALLIED: dict[Status, int] = {"queued": 0, "running": 2, "succeeded": 3, "failed": 4, "canceled": 5}
_VIRTUAL_TIME = -1
"""The priority under which a model's virtual time stands among its flows: one page less to write."""
_NEWEST_INTERVAL = 1_000
"""Milliseconds between two notes of the newest instant."""


class Transaction:
    """What the moves of one batch share. Made after BEGIN; `flush` stands before COMMIT."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        known: Known,
        lines: Lines,
        now: int,
        *,
        paused_for: int = 0,
        lock: str = "",
        is_careful: bool = False,
    ) -> None:
        self.connection = connection
        self.known = known
        self.lines = lines
        self.now = now
        self.paused_for = paused_for
        """The clock has jumped: for so many milliseconds nothing expires, no key ends, no delayed job is promoted."""
        self.lock = lock
        """Name of this store's liveness lock."""
        self.is_careful = is_careful
        """A guarded write missed a row: read and decide item by item."""
        self.ended_heads: list[JobKey] = []
        """Heads that the claim being served has ended, because they expired or cannot be read."""
        self._tallies: dict[tuple[str, int], list[int]] = {}
        self._loads: dict[str, list[int]] = {}
        self._moved_flows: set[tuple[str, str, int]] = set()
        known.check(connection)

    def execute(self, statement: Statement, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(statement.text, parameters)

    def all(self, statement: Statement, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        return self.connection.execute(statement.text, parameters).fetchall()

    def one(self, statement: Statement, parameters: Sequence[object] = ()) -> Row | None:
        """Run one statement and return its first row."""
        row: Row | None = self.connection.execute(statement.text, parameters).fetchone()
        return row

    def write(self, statement: Statement, rows: Sequence[tuple[object, ...]], first: tuple[object, ...] = ()) -> int:
        """Run a statement over rows of values, `first` before them; return how many rows it changed."""
        return write_rows(self.connection, statement, rows, first) if rows else 0

    def names(self, line: int) -> tuple[str, str]:
        """Return (model, queue) of a line."""
        return self.lines.names(self.connection, line)

    def line(self, model: str, queue: str) -> int:
        """Return the number of a line, adding it when it is new."""
        number = self.lines.find(model, queue)
        if number is None:
            number = self.lines.add(self.connection, model, queue)
            self.known.lines_of_models.pop(model, None)
        return number

    def take_number(self) -> int:
        """Return the next row number."""
        known = self.known
        if known.next_n is None:
            known.next_n = int(self.connection.execute(_SQL["newest_n"].text).fetchone()[0] or 0) + 1
        known.next_n += 1
        return known.next_n - 1

    def tie(self, worker: str) -> None:
        """Note that this store's lock proves that the worker lives."""
        if worker not in self.known.tied:
            self.connection.execute(_SQL["tie_worker"].text, (worker, self.lock))
            self.known.tied.add(worker)

    def count(self, owner: str, line: int, source: Status | None, target: Status | None, input_bytes: int) -> None:
        """Count one job's move; None is "no record"."""
        tally = self._tallies.get((owner, line))
        if tally is None:
            tally = self._tallies[owner, line] = [0, 0, 0, 0, 0, 0]
        if source is not None:
            tally[_TALLIED[source]] -= 1
            if source == "queued":
                tally[1] -= input_bytes
        if target is not None:
            tally[_TALLIED[target]] += 1
            if target == "queued":
                tally[1] += input_bytes

    def load(self, queue: str) -> list[int]:
        """Return [waiting jobs, waiting bytes] of a queue as this transaction leaves it; an insert adds to it."""
        load = self._loads.get(queue)
        if load is None:
            stored = self.known.loads.get(queue)
            if stored is None:
                row = self.connection.execute(_SQL["load"].text, (queue,)).fetchone()
                stored = self.known.loads[queue] = (row[0], row[1]) if row else (0, 0)
            load = self._loads[queue] = list(stored)
            for (_, line), tally in self._tallies.items():
                if self.names(line)[1] == queue:
                    load[0] += tally[0]
                    load[1] += tally[1]
        return load

    def owner_load(self, owner: str) -> int:
        """Return the owner's waiting jobs over all queues."""
        stored = self.connection.execute(_SQL["owner_load"].text, (owner,)).fetchone()[0]
        return int(stored) + sum(tally[0] for (of, _), tally in self._tallies.items() if of == owner)

    def draw_tag(self, model: str, owner: str, priority: int) -> float:
        """Return the fair tag of a job that becomes ready now, and move its flow on."""
        flow = (model, owner, priority)
        tag, end = lifecycle.next_tag(self._end_of(model, "", _VIRTUAL_TIME), self._end_of(*flow), priority)
        self.known.flows[flow] = end
        self._moved_flows.add(flow)
        return tag

    def advance(self, model: str, tag: float) -> None:
        """Note that a job with this tag was claimed."""
        if tag > self._end_of(model, "", _VIRTUAL_TIME):
            flow = (model, "", _VIRTUAL_TIME)
            self.known.flows[flow] = tag
            self._moved_flows.add(flow)

    def _end_of(self, model: str, owner: str, priority: int) -> float:
        end = self.known.flows.get((model, owner, priority))
        if end is None:
            row = self.connection.execute(_SQL["flow"].text, (model, owner, priority)).fetchone()
            end = self.known.flows[model, owner, priority] = row[0] if row else 0.0
        return end

    def flush(self) -> None:
        """Write the counters."""
        known = self.known
        loads: dict[str, list[int]] = {}
        for (_, line), tally in self._tallies.items():
            load = loads.setdefault(self.names(line)[1], [0, 0])
            load[0] += tally[0]
            load[1] += tally[1]
        self.write(_SQL["add_to_tallies"], [(*of, *tally) for of, tally in self._tallies.items() if any(tally)])
        self.write(_SQL["add_to_queues"], [(queue, *load) for queue, load in loads.items() if any(load)])
        self.write(_SQL["set_flows"], [(*flow, known.flows[flow]) for flow in self._moved_flows])
        if self.now >= known.newest_at + _NEWEST_INTERVAL:
            self.execute(_SQL["set_newest"], (self.now,))
            known.newest_at = self.now
        for queue, (jobs, size) in loads.items():
            stored = known.loads.get(queue)
            if stored is not None:
                known.loads[queue] = (stored[0] + jobs, stored[1] + size)
        known.bound()


class Opener:
    """Opens the transactions of one batch, which share an instant, and forgets what one that is undone had taught."""

    def __init__(
        self, connection: sqlite3.Connection, known: Known, lines: Lines, now: int, *, paused_for: int, lock: str
    ) -> None:
        self.connection = connection
        self._known = known
        self._lines = lines
        self._now = now
        self._paused_for = paused_for
        self._lock = lock

    def open(self, *, is_careful: bool = False) -> Transaction:
        """Return the shared state of a transaction that has begun; `is_careful` after a guarded write missed."""
        return Transaction(
            self.connection,
            self._known,
            self._lines,
            self._now,
            paused_for=self._paused_for,
            lock=self._lock,
            is_careful=is_careful,
        )

    def undo(self) -> None:
        """Roll back, if SQLite has not done it by itself as after a full disk, and forget what was remembered."""
        self._known.forget()
        self._lines.forget()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def undo_to(self, savepoint: str) -> None:
        """Undo a part of the transaction."""
        self._known.forget()
        self._lines.forget()
        self.connection.execute(f"ROLLBACK TO {savepoint}")


def as_list(numbers: Iterable[int]) -> str:
    """Return row numbers as one JSON parameter, for `json_each`."""
    return json.dumps(list(numbers))
