"""F8: however long a job runs, and whatever holds its process up within its lease, nobody starts it a second time.

A job of 30 minutes runs on a fake clock. The rest is real processes on SQLite: code that blocks the loop, or holds the
interpreter's lock, for half a lease beside another manager; that holds it for one and a half leases in the only
manager, and in a worker process. Held for so long beside another manager, the second start is allowed, and the first
result is refused.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec import Struct, msgpack

from asyncinfer import JobManager, Model, model
from asyncinfer._services.rescuer import Rescuer, Sighting
from asyncinfer.abc import Job, JobKey, JobStore, RunningLease
from asyncinfer.lifecycle import TERMINAL
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.holding import block_loop, hold_lock_in_thread, hold_lock_in_worker, wait
from tests.faults.harness.processes import nursery
from tests.faults.harness.waiting import until
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import WitnessedStore, opened
from tests.faults.harness.worker_faults import WITNESSES

pytestmark = pytest.mark.fault

LEASES = {"pr": 4.0, "rel": 60.0}
HALF, BEYOND = 0.5, 1.5
"""How much of a lease something is held."""
MINUTES = 30
FAKE_LEASE = 60.0
BESIDE = 3
"""Jobs that only wait, in the manager that is held up."""
PATIENCE_SECONDS = 60.0
MODELS: Sequence[Model[[str, float], int, object]] = (block_loop, wait, hold_lock_in_thread, hold_lock_in_worker)


class Case(Struct, frozen=True):
    """What is held, for how much of a lease, and whether another manager watches."""

    holds: Model[[str, float], int, object]
    leases: float
    is_watched: bool


BEYOND_THE_LEASE = "lock held beyond the lease"
CASES: Mapping[str, Case] = {
    "loop blocked": Case(block_loop, HALF, is_watched=True),
    "lock held": Case(hold_lock_in_thread, HALF, is_watched=True),
    "lock held in the only manager": Case(hold_lock_in_thread, BEYOND, is_watched=False),
    "lock held in a worker process": Case(hold_lock_in_worker, BEYOND, is_watched=True),
    BEYOND_THE_LEASE: Case(hold_lock_in_thread, BEYOND, is_watched=True),
}


class Figures(Struct, frozen=True, kw_only=True):
    lease_seconds: float
    held_seconds: Mapping[str, float]
    second_starts: Mapping[str, int]
    other_results: Mapping[str, int]
    """Jobs without the result of their last attempt, in each case."""
    first_results_refused: int
    """What the manager that was held beyond the lease was told."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    within = {case: starts for case, starts in figures.second_starts.items() if case != BEYOND_THE_LEASE}
    promises = {
        "nobody starts a job a second time": not any(within.values()),
        "held beyond the lease, the job starts again elsewhere": figures.second_starts.get(BEYOND_THE_LEASE, 1) > 0,
        "then the first result is refused": figures.first_results_refused > 0,
        "the result of the last attempt is kept": not any(figures.other_results.values()),
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


class LongFigures(Struct, frozen=True, kw_only=True):
    minutes: int
    second_starts_long: int
    not_succeeded: int


def verdict_long(figures: LongFigures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "nobody starts a job a second time": figures.second_starts_long == 0,
        "it succeeds": figures.not_succeeded == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_job_of_half_an_hour_runs_once(size: Size) -> None:
    figures = await long_scenario(MINUTES)
    publish("F8 half an hour", size, figures)
    assert verdict_long(figures) == []


async def test_a_manager_that_is_held_up_keeps_its_jobs_for_a_lease(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, LEASES[size])
    publish("F8", size, figures)
    assert verdict(figures) == []


async def test_canary_a_rescue_by_elapsed_time_starts_long_jobs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rescue_by_elapsed_time(monkeypatch)
    figures = await long_scenario(2)
    assert "nobody starts a job a second time" in verdict_long(figures)


def rescue_by_elapsed_time(patch: pytest.MonkeyPatch) -> None:
    """Take an attempt for lost that has run for a lease, renewed or not."""
    sight = Rescuer._sight

    def sight_unrenewed(self: Rescuer, lease: RunningLease, elapsed: float) -> Sighting:
        before = self._sightings.get(JobKey(lease.owner, lease.id))
        seen = sight(self, lease, elapsed)
        return seen if before is None else seen._replace(unchanged=before.unchanged + elapsed)

    patch.setattr(Rescuer, "_sight", sight_unrenewed)


async def long_scenario(minutes: int) -> LongFigures:
    """Run a job for so long on a fake clock, beside a manager that would run it too."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    starts: list[int] = []

    @model
    async def long() -> int:
        starts.append(len(starts))
        await clock.sleep(60 * minutes)
        return len(starts)

    async with (
        store,
        JobManager(store, models=[long], lease=FAKE_LEASE, drain_grace=0.0) as manager,
        JobManager(store, models=[long], lease=FAKE_LEASE, drain_grace=0.0),
    ):
        handle = await manager.submit(long)
        for _ in range(60 * minutes + 2):
            await clock.advance(1)
        job = await manager.get(handle.id)
    return LongFigures(
        minutes=minutes, second_starts_long=len(starts) - 1, not_succeeded=int(job.status != "succeeded")
    )


async def scenario(folder: Path, lease: float) -> Figures:
    """Play every case at once, each with managers and a store of its own."""
    began = time.monotonic()
    seen = await asyncio.gather(
        *(play(folder / str(number), case, lease) for number, case in enumerate(CASES.values()))
    )
    by_case = dict(zip(CASES, seen, strict=True))
    return Figures(
        lease_seconds=lease,
        held_seconds={name: round(one.held_seconds, 2) for name, one in by_case.items()},
        second_starts={name: one.second_starts for name, one in by_case.items()},
        other_results={name: one.other_results for name, one in by_case.items()},
        first_results_refused=by_case[BEYOND_THE_LEASE].refused,
        seconds=time.monotonic() - began,
    )


class Seen(Struct, frozen=True, kw_only=True):
    held_seconds: float
    second_starts: int
    other_results: int
    refused: int


async def play(folder: Path, case: Case, lease: float) -> Seen:
    """Let a manager begin its jobs and be held up; the test itself has no manager then."""
    database, witnesses, go = folder / "jobs.db", folder / "witnesses", folder / "go"
    testimony, seconds = Testimony(witnesses), case.leases * lease
    with nursery(folder / "logs") as processes:
        async with opened(SQLiteStore(database)) as store:
            async with JobManager(store, models=MODELS, run_jobs=False) as manager:
                held = await manager.submit(case.holds, str(go), seconds)
                beside = [await manager.submit(wait, str(go), seconds) for _ in range(BESIDE)]
            ids = [held.id, *(handle.id for handle in beside)]
            processes.start(serve, database, witnesses, lease)
            await until(lambda: len(testimony.lines("begin")) == len(ids), PATIENCE_SECONDS, what="all jobs begin")
            if case.is_watched:
                processes.start(serve, database, witnesses, lease)
                await until(lambda: len(testimony.lines("open")) == 2, PATIENCE_SECONDS, what="the other one watches")
            go.touch()
            await until(lambda: has_ended(testimony, held.id), seconds + PATIENCE_SECONDS, what="it is let go")
            await until(lambda: have_ended(store, ids), PATIENCE_SECONDS, what="every job ends")
            jobs = [job for job in await store.get([JobKey("", job_id) for job_id in ids]) if job is not None]
    return seen_of(testimony.lines(), jobs, held.id)


async def serve(database: Path, witnesses: Path, lease: float) -> None:
    """Run jobs."""
    os.environ[WITNESSES] = str(witnesses)
    witness = Witness(witnesses)
    async with opened(WitnessedStore(database, witness)) as store, JobManager(store, models=MODELS, lease=lease):
        witness.write("open")
        await asyncio.Event().wait()


def has_ended(testimony: Testimony, job_id: str) -> bool:
    """Tell whether its first attempt has ended, and whoever runs it has been told whether that counts."""
    lines = [line for line in testimony.lines("end", "finish") if line.job == job_id and line.attempt == 1]
    return {line.event for line in lines} == {"end", "finish"}


async def have_ended(store: JobStore, ids: Sequence[str]) -> bool:
    jobs = await store.get([JobKey("", job_id) for job_id in ids])
    return all(job is not None and job.status in TERMINAL for job in jobs)


def seen_of(lines: Sequence[Line], jobs: Sequence[Job], held: str) -> Seen:
    begun = [line for line in lines if line.event == "begin"]
    last = {line.job: line.attempt for line in sorted(begun, key=lambda line: line.attempt)}
    held_at, ended_at = (
        next(line.at for line in lines if line.job == held and line.event == event and line.attempt == 1)
        for event in ("held", "end")
    )
    return Seen(
        held_seconds=ended_at - held_at,
        second_starts=sum(line.attempt > 1 for line in begun),
        other_results=sum(job.result is None or msgpack.decode(job.result) != last[job.id] for job in jobs),
        refused=sum(line.event == "finish" and line.note.endswith("lost") for line in lines),
    )
