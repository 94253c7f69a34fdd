"""F30: another process holds the write lock: the SQLite store answers in time, loses nothing, then goes on."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer.abc import Finish, JobKey, Limits, Status
from asyncinfer.errors import OutcomeUnknown, StoreUnavailable
from asyncinfer.testing.builders import new_jobs, request, success
from asyncinfer_sqlite import SQLiteStore, _database
from asyncinfer_sqlite._connections import Synchronous, configure_writer
from asyncinfer_sqlite._writer import Writer
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.waiting import until
from tests.faults.harness.witness import Testimony, Witness

pytestmark = pytest.mark.fault

LOCKED_SECONDS = {"pr": 5.0, "rel": 30.0}
CALLERS = 8
DEADLINE = 1.0
"""Seconds that the store's calls may take."""
GRACE = 0.5
"""Seconds past its deadline within which a call must have been answered."""
PATIENCE = 60.0


class Figures(Struct, frozen=True):
    """What the callers were told while the lock was held, and what was there afterwards."""

    locked_seconds: float
    answered: int
    refused: int
    """Calls told that nothing was written."""
    unknown: int
    """Calls told that it may have been."""
    went_away: int
    """Callers that were cancelled."""
    slowest_seconds: float
    recovery_seconds: float
    """From the end of the lock to the next answered submission."""
    lost: int
    """Jobs and results that were acknowledged and are not there."""
    stored_though_refused: int
    orphans: int
    """Attempts that were leased to nobody."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.slowest_seconds > DEADLINE + GRACE:
        broken.append("every call is answered by its deadline")
    if figures.recovery_seconds > 5:
        broken.append("the store goes on within five seconds")
    if figures.lost:
        broken.append("what was acknowledged is there")
    if figures.stored_though_refused:
        broken.append("what was refused has not happened")
    if figures.orphans:
        broken.append("what was claimed for a caller that went away is given back")
    return broken


async def test_a_lock_held_elsewhere_refuses_in_time_and_loses_nothing(tmp_path: Path, size: Size) -> None:
    figures = await hold_the_lock(tmp_path, LOCKED_SECONDS[size])
    publish("F30 write lock", size, figures)
    assert verdict(figures) == []
    assert figures.refused
    assert figures.went_away


async def test_canary_a_writer_that_waits_inside_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait_for_the_lock(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
        configure_writer(connection, synchronous)
        connection.execute("PRAGMA busy_timeout = 60000")

    def keep_waiting(writer: Writer) -> None:
        pass

    monkeypatch.setattr(_database, "configure_writer", wait_for_the_lock)
    monkeypatch.setattr(Writer, "_watch", keep_waiting)
    figures = await hold_the_lock(tmp_path, 3.0)
    assert "every call is answered by its deadline" in verdict(figures)


async def hold_the_lock(folder: Path, seconds: float) -> Figures:
    """Submit and run jobs while another process holds the write lock; some callers go away."""
    database, witnesses = folder / "jobs.db", folder / "witnesses"
    testimony = Testimony(witnesses)
    store = SQLiteStore(database, call_timeout=DEADLINE, insert_timeout=DEADLINE)
    await store.open()
    is_over = asyncio.Event()
    callers = [
        Caller(store, random.Random(number), f"worker-{number}", goes_away=number % 2 == 1) for number in range(CALLERS)
    ]
    with nursery(folder / "logs") as processes:
        serving = [asyncio.create_task(caller.serve(is_over)) for caller in callers]
        processes.start(hold_write_lock, database, witnesses, seconds)
        await until(lambda: bool(testimony.lines("released")), seconds + PATIENCE, what="the lock is released")
        released_at = testimony.lines("released")[0].at
        await until(
            lambda: max(caller.accepted_at for caller in callers) > released_at,
            PATIENCE,
            what="a submission is answered again",
        )
        recovery = min(at for caller in callers if (at := caller.accepted_at) > released_at) - released_at
        is_over.set()
        await asyncio.gather(*serving)
    lost, stored, orphans = await _compare(store, callers)
    await store.close()
    return Figures(
        locked_seconds=seconds,
        answered=sum(caller.answered for caller in callers),
        refused=sum(caller.refusals for caller in callers),
        unknown=sum(caller.unknown for caller in callers),
        went_away=sum(caller.went_away for caller in callers),
        slowest_seconds=round(max(caller.slowest for caller in callers), 3),
        recovery_seconds=round(recovery, 3),
        lost=lost,
        stored_though_refused=stored,
        orphans=orphans,
    )


class Caller:
    """Submits, claims and finishes, as a manager does, and keeps in mind what it was told.

    One that `goes_away` waits for no submission as long as the store may take.
    """

    def __init__(self, store: SQLiteStore, randomness: random.Random, worker: str, *, goes_away: bool) -> None:
        self._store = store
        self._random = randomness
        self._worker = worker
        self._goes_away = goes_away
        self.held: list[Finish] = []
        self.accepted: list[JobKey] = []
        self.refused: list[JobKey] = []
        self.finished: list[JobKey] = []
        self.results_refused = self.answered = self.refusals = self.unknown = self.went_away = 0
        self.accepted_at = self.slowest = 0.0

    async def serve(self, is_over: asyncio.Event) -> None:
        while not is_over.is_set():
            await self._submit()
            await self._claim()
            await self._finish()

    async def _submit(self) -> None:
        jobs = new_jobs(2)
        keys = [job.job_key for job in jobs]
        began = time.monotonic()
        try:
            if self._goes_away:
                async with asyncio.timeout(self._random.uniform(0, DEADLINE / 2)):
                    await self._store.insert(jobs, Limits())
            else:
                await self._store.insert(jobs, Limits())
        except TimeoutError:
            self.went_away += 1
            return
        except StoreUnavailable:
            self.refusals += 1
            self.refused += keys
        except OutcomeUnknown:
            self.unknown += 1
        else:
            self.answered += 1
            self.accepted += keys
            self.accepted_at = time.monotonic()
        self._took(began)

    async def _claim(self) -> None:
        began = time.monotonic()
        try:
            (answer,) = await self._store.claim([request(worker=self._worker, slots=2)])
        except StoreUnavailable:
            self.refusals += 1
        except OutcomeUnknown:
            self.unknown += 1
        else:
            self.answered += 1
            self.held += [success(claim) for claim in answer.claims]
        self._took(began)

    async def _finish(self) -> None:
        # As the manager does: what was not answered is said again, in the same words.
        began = time.monotonic()
        try:
            answers = await self._store.finish(self.held)
        except StoreUnavailable:
            self.refusals += 1
        except OutcomeUnknown:
            self.unknown += 1
        else:
            self.answered += 1
            self.results_refused += answers.count("lost")
            self.finished += [JobKey(end.owner, end.id) for end in self.held]
            self.held = []
        self._took(began)

    def _took(self, began: float) -> None:
        self.slowest = max(self.slowest, time.monotonic() - began)


async def hold_write_lock(database: Path, witnesses: Path, seconds: float) -> None:
    """Hold the write lock of a database for so long, in a process of its own."""
    witness = Witness(witnesses)
    with closing(sqlite3.connect(database, timeout=PATIENCE, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(seconds)
        connection.execute("ROLLBACK")
    witness.write("released")
    witness.close()


async def _compare(store: SQLiteStore, callers: Sequence[Caller]) -> tuple[int, int, int]:
    """Return what is lost, what is there though it was refused, and the attempts of nobody."""
    status: dict[JobKey, Status | None] = {}
    for caller in callers:
        for keys in (caller.accepted, caller.refused, caller.finished):
            for key, job in zip(keys, await store.get(keys), strict=True):
                status[key] = None if job is None else job.status
    lost = sum(status[key] is None for caller in callers for key in caller.accepted)
    lost += sum(status[key] != "succeeded" for caller in callers for key in caller.finished)
    stored = sum(status[key] is not None for caller in callers for key in caller.refused)
    lost += sum(caller.results_refused for caller in callers)
    held = {JobKey(end.owner, end.id) for caller in callers for end in caller.held}
    running = {JobKey(lease.owner, lease.id) for lease in await store.leases(None, 10_000)}
    return lost, stored, len(running - held)
