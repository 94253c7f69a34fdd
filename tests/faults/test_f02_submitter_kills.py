"""F2: submitters are killed with SIGKILL at random moments; every id that a submit returned names a stored job."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import JobFilter, JobManager, Limits, model
from asyncinfer.abc import Inserted, NewJob
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.audit import jobs_of
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import Child, nursery
from tests.faults.harness.waiting import until
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

KILLS = {"pr": 100, "rel": 1_000}
AT_ONCE = 2
TASKS = 8
LIMITS = Limits(queued_jobs=1_000_000)


class Figures(Struct, frozen=True, kw_only=True):
    seed: int
    kills: int
    asked: int
    """Keys that some submit was begun for."""
    returned: int
    """Ids that a submit returned to the process that was killed later."""
    missing: int
    """Returned ids without a job."""
    renamed: int
    """Keys that answer with another id than the one returned for them."""
    unsteady: int
    """Keys that answer with two ids, one after the other."""
    jobs_beyond_keys: int
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "every returned id exists": figures.missing == 0,
        "the same key gives the same id": figures.renamed == figures.unsteady == 0,
        "one key makes one job": figures.jobs_beyond_keys == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@model
async def never_run(text: str) -> str:
    return text


async def submitter(database: Path, witnesses: Path, *, commits: bool) -> None:
    """Submit under new keys, as fast as it goes, until killed."""
    witness = Witness(witnesses)
    store = SQLiteStore(database) if commits else HastyStore(database)
    async with opened(store), JobManager(store, models=[never_run], limits=LIMITS, run_jobs=False) as manager:
        await asyncio.gather(*(submit_on_and_on(manager, witness, task) for task in range(TASKS)))


async def submit_on_and_on(manager: JobManager, witness: Witness, task: int) -> None:
    for number in itertools.count():
        key = f"{os.getpid()}-{task}-{number}"
        witness.write("asked", note=key)
        handle = await manager.submit(never_run.options(idempotency_key=key), key)
        witness.write("returned", handle.id, note=key)


class HastyStore(SQLiteStore):
    """Without the protection: answers an insert before it is committed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._late: set[asyncio.Task[Sequence[Inserted]]] = set()

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        late = asyncio.create_task(super().insert(jobs, limits))
        self._late.add(late)
        late.add_done_callback(self._late.discard)
        await asyncio.sleep(0)
        return [Inserted("inserted", job.id) for job in jobs]


async def test_submitters_are_killed_at_random_moments(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kills=KILLS[size])
    publish("F2", size, figures)
    assert verdict(figures) == []


async def test_a_reply_before_the_commit_names_jobs_that_never_were(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kills=4, commits=False)
    assert "every returned id exists" in verdict(figures)


async def scenario(folder: Path, *, kills: int, commits: bool = True) -> Figures:
    """Kill submitters, then ask the store for every id and every key that they have written down."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    began = time.monotonic()
    database, witnesses = folder / "jobs.db", folder / "witnesses"
    with nursery(folder / "logs") as processes:

        def start() -> Child:
            return processes.start(submitter, database, witnesses, commits=commits)

        chances = [random.Random(seed + number) for number in range(AT_ONCE)]
        await asyncio.gather(*(kill(start, witnesses, chance, kills // AT_ONCE) for chance in chances))
    lines = Testimony(witnesses).lines()
    async with opened(SQLiteStore(database)) as store:
        return await figures_of(store, lines, seed, kills, began)


async def kill(start: Callable[[], Child], witnesses: Path, chance: random.Random, times: int) -> None:
    """Start a submitter and kill it at a random moment, again and again."""
    for _ in range(times):
        child = start()
        await until(partial(has_asked, Testimony(witnesses, child.pid)), 30, what="a submitter begins to submit")
        await asyncio.sleep(chance.uniform(0, 0.05))
        child.kill()


def has_asked(testimony: Testimony) -> bool:
    return bool(testimony.lines("asked"))


async def figures_of(store: SQLiteStore, lines: Sequence[Line], seed: int, kills: int, began: float) -> Figures:
    asked = [line.note for line in lines if line.event == "asked"]
    returned = {line.note: line.job for line in lines if line.event == "returned"}
    found = await jobs_of(store, list(returned.values()))
    async with JobManager(store, models=[never_run], limits=LIMITS, run_jobs=False) as manager:
        first, again = await answers(manager, asked), await answers(manager, asked)
        jobs = sum([1 async for _ in manager.find_all(JobFilter(model="never_run"))])
    return Figures(
        seed=seed,
        kills=kills,
        asked=len(asked),
        returned=len(returned),
        missing=sum(job_id not in found for job_id in returned.values()),
        renamed=sum(first[key] != job_id for key, job_id in returned.items()),
        unsteady=sum(first[key] != again[key] for key in asked),
        jobs_beyond_keys=jobs - len(asked),
        seconds=time.monotonic() - began,
    )


async def answers(manager: JobManager, keys: Sequence[str]) -> dict[str, str]:
    """Return the id that each key answers with now; a key that was never stored makes its job."""
    handles = await manager.submit_many([never_run.options(idempotency_key=key).bind(key) for key in keys])
    return {key: handle.id for key, handle in zip(keys, handles, strict=True)}
