"""One open transaction: what its moves share, and the counters they write once at its end."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from msgspec import Struct

from asyncinfer import lifecycle
from asyncinfer.abc import JobKey, Status
from asyncinfer_sqlite._rows import Row
from asyncinfer_sqlite._sql import Statement, load, write_rows

_SQL = load("counters")
_TALLIED: dict[Status, int] = {"queued": 0, "running": 2, "succeeded": 3, "failed": 4, "canceled": 5}


class Lines:
    """The numbers of (model, queue), remembered: a line is never deleted."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._names: dict[int, tuple[str, str]] = {}

    def forget(self) -> None:
        """Drop everything: the transaction that added a line was rolled back."""
        self._numbers.clear()
        self._names.clear()

    def number(self, connection: sqlite3.Connection, model: str, queue: str) -> int:
        """Return the number of a line, adding it when it is new."""
        number = self._numbers.get((model, queue))
        if number is None:
            connection.execute(_SQL["add_line"].text, (model, queue))
            number = int(connection.execute(_SQL["line"].text, (model, queue)).fetchone()[0])
            self._remember(number, model, queue)
        return number

    def names(self, connection: sqlite3.Connection, line: int) -> tuple[str, str]:
        """Return (model, queue)."""
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


class Line(Struct, frozen=True):
    """One model in one queue."""

    number: int
    queue: str
    is_paused: bool


class Transaction:
    """What the moves of one batch share. Made after BEGIN; `flush` stands before COMMIT."""

    def __init__(
        self, connection: sqlite3.Connection, lines: Lines, now: int, *, paused_for: int, lock: str, tied: set[str]
    ) -> None:
        self.connection = connection
        self.lines = lines
        self.now = now
        self.paused_for = paused_for
        """The clock has jumped: for so many milliseconds nothing expires, no key ends, no delayed job is promoted."""
        self.lock = lock
        """Name of this store's liveness lock."""
        self._tied = tied
        self.ended_heads: list[JobKey] = []
        """Heads that the claim being served has ended, because they expired or cannot be read."""
        self.lines_of_models: dict[str, list[Line]] = {}
        """What this transaction's claims have read; nothing that a claim stands behind may add a line or pause one."""
        self._tallies: dict[tuple[str, int], list[int]] = {}
        self._queues: dict[str, list[int]] = {}
        self._virtual_times: dict[str, float] = {}
        self._moved_models: set[str] = set()
        self._flows: dict[tuple[str, str, int], float] = {}
        self._next_n: int | None = None

    def execute(self, statement: Statement, parameters: Sequence[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(statement.text, parameters)

    def all(self, statement: Statement, parameters: Sequence[object] = ()) -> list[Row]:
        """Run one statement and return its rows."""
        return self.connection.execute(statement.text, parameters).fetchall()

    def write(self, statement: Statement, rows: Sequence[tuple[object, ...]]) -> int:
        """Run a statement over rows of values; return how many rows it changed."""
        return write_rows(self.connection, statement, rows) if rows else 0

    def take_numbers(self, count: int) -> int:
        """Return the first of `count` row numbers that were never given out."""
        if self._next_n is None:
            self._next_n = int(self.connection.execute(_SQL["next_n"].text).fetchone()[0])
        first = self._next_n
        self._next_n += count
        return first

    def tie(self, worker: str) -> None:
        """Note that this store's lock proves that the worker lives."""
        if worker not in self._tied:
            self.connection.execute(_SQL["tie_worker"].text, (worker, self.lock))
            self._tied.add(worker)

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

    def queue_load(self, queue: str) -> list[int]:
        """Return [waiting jobs, waiting bytes] of a queue, with what this transaction has inserted so far."""
        load = self._queues.get(queue)
        if load is None:
            row = self.connection.execute(_SQL["queue_load"].text, (queue,)).fetchone()
            load = self._queues[queue] = [row[0], row[1]] if row else [0, 0]
            for (_, line), tally in self._tallies.items():
                if self.lines.names(self.connection, line)[1] == queue:
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
        end = self._flows.get(flow)
        if end is None:
            row = self.connection.execute(_SQL["flow"].text, flow).fetchone()
            end = row[0] if row else 0.0
        tag, self._flows[flow] = lifecycle.next_tag(self.virtual_time(model), end, priority)
        return tag

    def virtual_time(self, model: str) -> float:
        """Return the largest tag claimed of the model."""
        time = self._virtual_times.get(model)
        if time is None:
            row = self.connection.execute(_SQL["virtual_time"].text, (model,)).fetchone()
            time = self._virtual_times[model] = row[0] if row else 0.0
        return time

    def advance(self, model: str, tag: float) -> None:
        """Note that a job with this tag was claimed."""
        if tag > self.virtual_time(model):
            self._virtual_times[model] = tag
            self._moved_models.add(model)

    def flush(self) -> None:
        """Write the counters."""
        queues: dict[str, list[int]] = {}
        for (_, line), tally in self._tallies.items():
            queue = queues.setdefault(self.lines.names(self.connection, line)[1], [0, 0])
            queue[0] += tally[0]
            queue[1] += tally[1]
        self.write(_SQL["add_to_tallies"], [(*of, *tally) for of, tally in self._tallies.items() if any(tally)])
        self.write(_SQL["add_to_queues"], [(queue, *load) for queue, load in queues.items() if any(load)])
        self.write(_SQL["set_flows"], [(*flow, end) for flow, end in self._flows.items()])
        self.write(_SQL["set_virtual_times"], [(model, self._virtual_times[model]) for model in self._moved_models])
        self.execute(_SQL["set_store"], (self._next_n, self.now))


def as_list(numbers: Iterable[int]) -> str:
    """Return row numbers as one JSON parameter, for `json_each`."""
    return json.dumps(list(numbers))
