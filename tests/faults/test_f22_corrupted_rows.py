"""F22: rows of an SQLite store are spoiled: only the touched jobs fail, and the loop goes on."""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from asyncinfer import JobManager, Model, model
from asyncinfer.abc import JobError, JobFilter, JobKey
from asyncinfer_sqlite import SQLiteStore, _heads
from asyncinfer_sqlite._rows import Row
from asyncinfer_sqlite._transaction import Transaction
from tests.faults.harness.damage import ANY_TIME, WAITING, Damage, damage_job
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

CORRUPTED = {"pr": 100, "rel": 1_000}
"""Jobs that are spoiled, half of them while they wait and half while they run; as many beside them are not."""
LARGE = "x" * 3_000
"""An input that lies in its own table."""
LEASE = 1.0
"""Seconds after which a running job is rescued whose attempt, the fence of its worker, is spoiled."""
PATIENCE = 60.0
"""Seconds for all jobs together."""
_gate = asyncio.Event()


@model
async def echo(text: str) -> str:
    return text


@model
async def held(text: str) -> str:
    await _gate.wait()
    return text


class Figures(Struct, frozen=True):
    """How the jobs ended."""

    corrupted: int
    failed_undecodable: int
    succeeded_all_the_same: int
    """Damage in what nobody needs for running the job."""
    ended_otherwise: Mapping[str, int]
    """Spoiled jobs that did not end, or with another reason, by what was spoiled."""
    neighbours: int
    neighbours_failed: int
    unreadable: int
    """Jobs of which some look raised something."""
    services_failed: int
    """Loops of the manager that raised something."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.neighbours_failed:
        broken.append("only the touched job fails")
    if figures.ended_otherwise:
        broken.append("a job that cannot be read back fails as undecodable")
    if figures.unreadable:
        broken.append("a spoiled job can still be looked at")
    return broken


async def test_only_the_touched_job_fails(tmp_path: Path, size: Size) -> None:
    figures = await corrupt_and_run(tmp_path / "jobs.db", CORRUPTED[size], patience=PATIENCE)
    publish("F22", size, figures)
    assert verdict(figures) == []


async def test_canary_decoding_without_isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def let_through(tx: Transaction, row: Row, reason: str) -> None:
        raise ValueError(reason)

    monkeypatch.setattr(_heads, "_condemn", let_through)
    figures = await corrupt_and_run(tmp_path / "jobs.db", 20, patience=3.0)
    assert "only the touched job fails" in verdict(figures)


async def corrupt_and_run(database: Path, count: int, *, patience: float) -> Figures:
    """Spoil every second job, one half of them while they wait and one half while they run; then let all end."""
    randomness = random.Random(count)
    failed = 0
    _gate.clear()
    store = SQLiteStore(database)
    await store.open()
    async with JobManager(store, models=[echo, held], run_jobs=False) as manager:
        waiting = [await _submit(manager, echo, text) for text in _texts(count)]
    spoiled = _spoil(database, waiting[::2], WAITING, randomness)
    slots = {"loop": 2 * count}
    manager = JobManager(store, models=[echo, held], concurrency=slots, lease=LEASE, drain_grace=0)
    await manager.__aenter__()
    try:
        running = [await _submit(manager, held, text) for text in _texts(count)]
        await came_true(lambda: _count(database, "model = 'held' AND status = 'running'") == count, patience)
        spoiled |= _spoil(database, running[::2], ANY_TIME, randomness)
        _gate.set()
        await came_true(lambda: _count(database, "status IN ('queued', 'running')") == 0, patience)
    finally:
        try:
            await manager.__aexit__(None, None, None)
        except ExceptionGroup as failures:
            failed = len(failures.exceptions)
    ids = [*waiting, *running]
    unreadable = 0
    for id_ in ids:
        unreadable += not await _is_readable(store, JobKey("", id_))
    await store.close()
    return _figures_of(_endings(database), spoiled, set(ids) - spoiled.keys(), unreadable, failed)


async def _submit(manager: JobManager, of: Model[[str], str, Any], text: str) -> str:  # Any: a coroutine or a value
    handle = await manager.submit(of.options(webhook="https://hooks.example.com/jobs"), text)
    return handle.id


def _texts(count: int) -> list[str]:
    return [LARGE if number % 4 < 2 else "text" for number in range(count)]


def _spoil(
    database: Path, ids: Sequence[str], kinds: Mapping[str, Damage], randomness: random.Random
) -> dict[str, str]:
    """Spoil one thing of each job; return what, by job."""
    what = dict(zip(ids, itertools.cycle(kinds), strict=False))
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for id_, name in what.items():
            damage_job(connection, id_, kinds[name], randomness)
    return what


def _figures_of(
    endings: Mapping[str, tuple[str, str]],
    spoiled: Mapping[str, str],
    neighbours: set[str],
    unreadable: int,
    failed: int,
) -> Figures:
    ended = Counter(endings[id_] for id_ in spoiled)
    good = {("succeeded", ""), ("failed", "undecodable")}
    others = Counter(f"{what}: {' '.join(endings[id_])}" for id_, what in spoiled.items() if endings[id_] not in good)
    return Figures(
        corrupted=len(spoiled),
        failed_undecodable=ended["failed", "undecodable"],
        succeeded_all_the_same=ended["succeeded", ""],
        ended_otherwise=others,
        neighbours=len(neighbours),
        neighbours_failed=sum(endings[id_] != ("succeeded", "") for id_ in neighbours),
        unreadable=unreadable,
        services_failed=failed,
    )


async def _is_readable(store: SQLiteStore, key: JobKey) -> bool:
    try:
        await store.get([key])
        await store.events(key)
        await store.attempts(key)
        await store.submissions([key])
        await store.position([key])
        await store.find("", JobFilter(created_after=0))
    except Exception:  # noqa: BLE001  whatever it is: this counts what a reader would meet
        return False
    return True


def _count(database: Path, where: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM jobs JOIN lines USING (line) WHERE {where}").fetchone()[0])


def _endings(database: Path) -> dict[str, tuple[str, str]]:
    """Return status and error code of every job."""
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("SELECT id, status, error FROM jobs").fetchall()
    return {id_: (status, _code_of(error) if status == "failed" else "") for id_, status, error in rows}


def _code_of(error: object) -> str:
    return msgspec.msgpack.decode(error, type=JobError).code if isinstance(error, bytes) else "no error"
