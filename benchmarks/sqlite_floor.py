"""`floor-sqlite`: the rows of a job queue written as fast as sqlite3 allows, with nothing around them.

One INSERT and two UPDATEs a job, WAL, synchronous=FULL. Each commit finishes one group of jobs, claims the next and
inserts a third, as a store that gathers its writes would: no job runs before it is durable.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from secrets import token_hex

import msgspec

from benchmarks.records import Metrics
from benchmarks.workloads import MIB, Stopwatch, WrongResult, percentiles

GROUP = 1_000
LARGE_GROUP = 50
"""Jobs of 1 MiB in a commit: 1, 10, 50 and 200 were tried, and this was the fastest."""

_SUBMISSION = bytes(137)
"""What never changes in a job (limits, budgets, backoff, retention), packed: as long as the SQLite store writes it."""
_SCHEMA = """
CREATE TABLE jobs (
    n INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    model INTEGER NOT NULL,
    status INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    tag REAL NOT NULL,
    attempt INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    lease_until INTEGER,
    worker TEXT,
    submission BLOB NOT NULL,
    input BLOB,
    result BLOB
);
CREATE UNIQUE INDEX jobs_by_id ON jobs (owner, id);
CREATE INDEX jobs_ready ON jobs (model, tag, n) WHERE status = 0;
CREATE INDEX jobs_running ON jobs (worker, n) WHERE status = 1;
CREATE INDEX jobs_ended ON jobs (finished_at) WHERE status >= 2;
CREATE TABLE inputs (n INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE results (n INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_INSERT = """
INSERT INTO jobs (
    n, owner, id, model, status, priority, tag, attempt, failures, crashes, revision, created_at, submission, input
)
VALUES (?, '', ?, 1, 0, 5, ?, 0, 0, 0, 1, ?, ?, ?)
"""
_CLAIM = """
UPDATE jobs SET status = 1, attempt = attempt + 1, revision = revision + 1, started_at = ?, lease_until = ?, worker = ?
WHERE n = ? AND status = 0
"""
_FINISH = """
UPDATE jobs SET status = 2, revision = revision + 1, finished_at = ?, result = ?
WHERE n = ? AND status = 1 AND attempt = 1
"""
_INSERT_INPUT = "INSERT INTO inputs (n, data) VALUES (?, ?)"
_READ_INPUT = "SELECT data FROM inputs WHERE n = ?"
_INSERT_RESULT = "INSERT INTO results (n, data) VALUES (?, ?)"
_COUNT_LARGE = """
SELECT count(*) FROM jobs JOIN inputs USING (n) JOIN results USING (n) WHERE status = 2 AND inputs.data = results.data
"""


class SQLiteFloor:
    """One file, one connection, one thread: for each run a fresh one under `directory`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "floor.db"

    async def stream(self, jobs: int) -> Metrics:
        """W1: inputs as small as those of the no-op."""
        return self._run([msgspec.msgpack.encode({"n": n}) for n in range(jobs)], GROUP, _Steps)

    async def payload(self, jobs: int) -> Metrics:
        """W5: 1 MiB in, read back by the claim, 1 MiB out: beside the row, which an UPDATE would rewrite with them."""
        filling = bytes(range(256)) * (MIB // 256 - 1)
        return self._run([n.to_bytes(256, "big") + filling for n in range(jobs)], LARGE_GROUP, _LargeSteps)

    async def turns(self, jobs: int) -> Metrics:
        """W2: one job at a time: three commits, none shared."""
        laps: list[float] = []
        with closing(self._open()) as connection:
            steps = _Steps(connection, [msgspec.msgpack.encode({"n": n}) for n in range(jobs)])
            with Stopwatch() as watch:
                for n in range(jobs):
                    begun = time.perf_counter()
                    for step in (steps.insert, steps.claim, steps.finish):
                        connection.execute("BEGIN IMMEDIATE")
                        step(range(n, n + 1))
                        connection.execute("COMMIT")
                    laps.append((time.perf_counter() - begun) * 1e3)
            steps.check()
        return watch.metrics(jobs) | percentiles(laps)

    def _run(self, inputs: Sequence[bytes], group: int, kind: type[_Steps]) -> Metrics:
        with closing(self._open()) as connection:
            steps = kind(connection, inputs)
            groups = [range(start, min(start + group, len(inputs))) for start in range(0, len(inputs), group)]
            wait = range(0)
            finished, claimed, inserted = [wait, wait, *groups], [wait, *groups, wait], [*groups, wait, wait]
            with Stopwatch() as watch:
                for ended, begun, new in zip(finished, claimed, inserted, strict=True):
                    connection.execute("BEGIN IMMEDIATE")
                    steps.finish(ended)
                    steps.claim(begun)
                    steps.insert(new)
                    connection.execute("COMMIT")
            steps.check()
        return watch.metrics(len(inputs))

    def _open(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        return connection


class _Steps:
    """The three statements, each for the jobs numbered `numbers`; the result is the input."""

    def __init__(self, connection: sqlite3.Connection, inputs: Sequence[bytes]) -> None:
        self._connection = connection
        self._inputs = inputs
        self._ids = [f"job_{n:010}{token_hex(8)}" for n in range(len(inputs))]

    def insert(self, numbers: range) -> None:
        self._insert((n, self._inputs[n]) for n in numbers)

    def claim(self, numbers: range) -> None:
        now = _now()
        self._connection.executemany(_CLAIM, ((now, now + 60_000, "worker", n) for n in numbers))

    def finish(self, numbers: range) -> None:
        self._finish((n, self._inputs[n]) for n in numbers)

    def check(self) -> None:
        self._check("SELECT count(*) FROM jobs WHERE status = 2 AND result = input")

    def _insert(self, inputs: Iterable[tuple[int, bytes | None]]) -> None:
        now = _now()
        rows = ((n, self._ids[n], n * 0.25, now, _SUBMISSION, data) for n, data in inputs)
        self._connection.executemany(_INSERT, rows)

    def _finish(self, results: Iterable[tuple[int, bytes | None]]) -> None:
        now = _now()
        self._connection.executemany(_FINISH, ((now, data, n) for n, data in results))

    def _check(self, count: str) -> None:
        (done,) = self._connection.execute(count).fetchone()
        if done != len(self._inputs):
            raise WrongResult(f"The floor finished {done} of {len(self._inputs)} jobs")


class _LargeSteps(_Steps):
    """The same with inputs and results beside the row; the result is what the claim read."""

    def __init__(self, connection: sqlite3.Connection, inputs: Sequence[bytes]) -> None:
        super().__init__(connection, inputs)
        self._read: dict[int, bytes] = {}

    def insert(self, numbers: range) -> None:
        self._insert((n, None) for n in numbers)
        self._connection.executemany(_INSERT_INPUT, ((n, self._inputs[n]) for n in numbers))

    def claim(self, numbers: range) -> None:
        super().claim(numbers)
        for n in numbers:
            (self._read[n],) = self._connection.execute(_READ_INPUT, (n,)).fetchone()

    def finish(self, numbers: range) -> None:
        self._finish((n, None) for n in numbers)
        self._connection.executemany(_INSERT_RESULT, ((n, self._read.pop(n)) for n in numbers))

    def check(self) -> None:
        self._check(_COUNT_LARGE)


def _now() -> int:
    return time.time_ns() // 1_000_000
