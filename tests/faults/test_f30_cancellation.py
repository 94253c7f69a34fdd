"""F30: a caller of the SQLite store may go away at any point of any call, and nobody else notices."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import pytest
from msgspec import Struct

from asyncinfer.abc import Claims, JobStore, Limits, Outbox
from asyncinfer.testing.builders import new_jobs
from asyncinfer_sqlite import SQLiteStore
from asyncinfer_sqlite._database import Database
from asyncinfer_sqlite._writer import Writer
from tests.faults.harness.cancelling import ANSWERED_WITHIN, Calls, cancel_at_random_points, is_locked_out, let_it_begin
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.store_bench import StoreBench
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

CANCELLATIONS = {"pr": 1_000, "rel": 10_000}
OPENINGS = {"pr": 60, "rel": 600}
SEED = 30


class Cancelled(Struct, frozen=True):
    """What random cancellations left behind; all but the first count broken promises."""

    cancelled: int
    left_open: int
    """Transactions that were open behind a cancelled call."""
    locked_out: int
    """Times that another connection could not write."""
    unanswered: int
    """Calls that nobody cancelled and nobody answered."""
    failed: int
    """Calls that raised something else."""
    orphans: int
    """Attempts that were leased to nobody."""


def verdict(figures: Cancelled) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.left_open:
        broken.append("a cancelled call leaves no transaction open")
    if figures.locked_out:
        broken.append("a cancelled call locks nobody out")
    if figures.unanswered or figures.failed:
        broken.append("a cancelled call disturbs no other")
    if figures.orphans:
        broken.append("what was claimed for a caller that went away is given back")
    return broken


class Reopened(Struct, frozen=True):
    """What cancelled openings and closings left behind; all but the first two count broken promises."""

    openings_cancelled: int
    closings_cancelled: int
    failed: int
    """Openings that raised something else."""
    unanswered: int
    """Calls that a closing store never answered."""
    threads_left: int
    locks_left: int
    """Liveness files of stores that are closed."""
    locked_out: int


def reopening_verdict(figures: Reopened) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.failed or figures.unanswered:
        broken.append("a cancelled opening or closing disturbs no call")
    if figures.threads_left or figures.locks_left or figures.locked_out:
        broken.append("a cancelled opening or closing leaves nothing behind")
    return broken


@asynccontextmanager
async def opened(path: Path) -> AsyncGenerator[SQLiteStore]:
    store = SQLiteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_any_call_may_be_cancelled_at_any_point(tmp_path: Path, size: Size) -> None:
    randomness = random.Random(SEED)
    async with opened(tmp_path / "jobs.db") as store:
        bench = StoreBench(store, randomness)
        found = await cancel_at_random_points(bench, CANCELLATIONS[size], randomness)
    figures = Cancelled(**{name: found[name] for name in Cancelled.__struct_fields__})
    publish("F30", size, figures)
    assert verdict(figures) == []


async def test_canary_statements_one_by_one(tmp_path: Path) -> None:
    randomness = random.Random(SEED)
    bench = BareBench(tmp_path / "jobs.db")
    await bench.open()
    found = await cancel_at_random_points(bench, CANCELLATIONS["pr"], randomness)
    await bench.close()
    figures = Cancelled(**{name: found[name] for name in Cancelled.__struct_fields__})
    assert "a cancelled call leaves no transaction open" in verdict(figures)


async def test_canary_without_giving_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(writer: Writer, answers: Sequence[Claims]) -> None:
        pass

    monkeypatch.setattr(Writer, "_give_back", keep)
    randomness = random.Random(SEED)
    async with opened(tmp_path / "jobs.db") as store:
        found = await cancel_at_random_points(StoreBench(store, randomness), 300, randomness)
    figures = Cancelled(**{name: found[name] for name in Cancelled.__struct_fields__})
    assert verdict(figures) == ["what was claimed for a caller that went away is given back"]


async def test_opening_and_closing_may_be_cancelled(tmp_path: Path, size: Size) -> None:
    randomness = random.Random(SEED)
    found: Counter[str] = Counter()
    for _ in range(OPENINGS[size]):
        found += await cancel_opening_and_closing(tmp_path / "jobs.db", randomness)
    figures = Reopened(**{name: found[name] for name in Reopened.__struct_fields__})
    publish("F30 opening and closing", size, figures)
    assert reopening_verdict(figures) == []
    assert figures.openings_cancelled
    assert figures.closings_cancelled


async def test_canary_a_closing_that_is_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def close(database: Database) -> None:
        connection, database._connection = database._connection, None
        if connection is not None:
            await database._close(connection)

    monkeypatch.setattr(Database, "close", close)
    randomness = random.Random(SEED)
    found: Counter[str] = Counter()
    while not found["unanswered"] and found["closings_cancelled"] < OPENINGS["pr"]:
        found += await cancel_opening_and_closing(tmp_path / "jobs.db", randomness, patience=1.0)
    figures = Reopened(**{name: found[name] for name in Reopened.__struct_fields__})
    assert reopening_verdict(figures) == ["a cancelled opening or closing disturbs no call"]


async def cancel_opening_and_closing(
    path: Path, randomness: random.Random, *, patience: float = ANSWERED_WITHIN
) -> Counter[str]:
    """Open a store and close it with calls in flight; either may be cancelled, and nothing of it may remain."""
    found: Counter[str] = Counter()
    threads = threading.active_count()
    store = SQLiteStore(path)
    opening = asyncio.create_task(store.open())
    await let_it_begin(randomness)
    opening.cancel()
    await asyncio.wait([opening])
    found["openings_cancelled"] += opening.cancelled()
    found["failed"] += not opening.cancelled() and opening.exception() is not None
    await store.open()
    calls = [asyncio.create_task(store.insert(new_jobs(2), Limits())) for _ in range(3)]
    await let_it_begin(randomness)
    closing = asyncio.create_task(store.close())
    await let_it_begin(randomness)
    closing.cancel()
    await asyncio.wait([closing])
    found["closings_cancelled"] += closing.cancelled()
    _, late = await asyncio.wait(calls, timeout=patience)
    found["unanswered"] += len(late)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await store.close()
    found["threads_left"] += not await came_true(lambda: threading.active_count() <= threads, ANSWERED_WITHIN)
    found["locks_left"] += len(list(path.with_name(f"{path.name}-workers").iterdir()))
    found["locked_out"] += is_locked_out(path)
    return found


def test_every_call_of_the_contract_is_cancelled(tmp_path: Path) -> None:
    calls = StoreBench(SQLiteStore(tmp_path / "jobs.db"), random.Random(SEED)).calls
    contract = JobStore.__abstractmethods__ | {f"outbox.{name}" for name in Outbox.__abstractmethods__}
    assert calls.keys() == contract - {"open", "close", "from_url"}


class BareBench:
    """Jobs in a table, each move a transaction of awaited statements on one aiosqlite connection."""

    favorites = ("insert",)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = aiosqlite.connect(path, isolation_level=None)
        self._turn = asyncio.Lock()

    @property
    def calls(self) -> Calls:
        return {"insert": self._insert}

    async def open(self) -> None:
        await self._connection
        await self._connection.execute("PRAGMA journal_mode = WAL")
        await self._connection.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")

    async def close(self) -> None:
        await self._connection.close()

    async def has_open_transaction(self) -> bool:
        return self._connection.in_transaction

    async def count_orphans(self) -> int:
        return 0

    async def _insert(self) -> None:
        async with self._turn:
            await self._connection.execute("BEGIN IMMEDIATE")
            await self._connection.execute("INSERT INTO jobs DEFAULT VALUES")
            await self._connection.execute("COMMIT")
