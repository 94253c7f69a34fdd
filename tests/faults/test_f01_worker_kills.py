"""F1: workers are killed with SIGKILL at random moments; every accepted job still ends once, soon, and is owed once.

The lease is the default of a minute: what recovers in seconds does so by the lock that the kernel frees.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
from msgspec import Struct, msgpack

from asyncinfer import Job, JobManager, Model, current_job, model
from asyncinfer._services.rescuer import Rescuer
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.audit import Audited, audit
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import Child, nursery
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import WitnessedStore, opened

pytestmark = pytest.mark.fault

KILLS = {"pr": 100, "rel": 1_000}
WORKERS = 2
CLIENTS = 64
RECOVERY_SECONDS = 5.0
SETTLE_SECONDS = 30.0
KILLED_WHILE_OPENING = 0.1


class Figures(Struct, frozen=True, kw_only=True):
    seed: int
    kills: int
    accepted: int
    lost: int
    """Accepted jobs that have not ended."""
    wrong_results: int
    results_lost: int
    """Finishes that the store answered with `done`, and does not hold."""
    not_ended_once: int
    not_owed_once: int
    attempts_begun_twice: int
    reruns: int
    in_flight_at_kills: int
    recovery_seconds_median: float
    recovery_seconds_max: float
    """From a kill to the next start of a job that was running then."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "0 accepted jobs are lost": figures.lost == 0,
        "0 results are wrong": figures.wrong_results == 0,
        "0 results are lost": figures.results_lost == 0,
        "every job ends by one terminal move": figures.not_ended_once == 0,
        "every job has one owed event": figures.not_owed_once == 0,
        "no attempt begins twice": figures.attempts_begun_twice == 0,
        "re-runs are at most the attempts in flight at the kills": figures.reruns <= figures.in_flight_at_kills,
        "recovery takes at most 5 s": figures.recovery_seconds_max <= RECOVERY_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def square_model(witness: Witness) -> Model[[int], int, object]:
    # A few innocent jobs meet several random kills: the budget is for jobs that kill.
    @model(crash_budget=1_000)
    async def square(number: int) -> int:
        job = current_job()
        witness.write("begin", job.job_id, job.attempt)
        await asyncio.sleep(random.uniform(0, 0.05))  # the work
        return number * number

    return square


async def worker(database: Path, witnesses: Path, *, rescues: bool) -> None:
    """Run jobs until killed."""
    if not rescues:
        pytest.MonkeyPatch().setattr(Rescuer, "look", look_away)
    witness = Witness(witnesses)
    models = [square_model(witness)]
    async with (
        opened(WitnessedStore(database, witness)) as store,
        JobManager(store, models=models, concurrency={"loop": 8}),
    ):
        await asyncio.Event().wait()


async def look_away(rescuer: Rescuer) -> None:
    """Stand in for the rescuer's look at the leases."""


async def test_workers_are_killed_at_random_moments(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kills=KILLS[size], settle=SETTLE_SECONDS)
    publish("F1", size, figures)
    assert verdict(figures) == []


async def test_without_a_rescuer_jobs_are_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rescuer, "look", look_away)
    figures = await scenario(tmp_path, kills=4, settle=3.0, rescues=False)
    assert "0 accepted jobs are lost" in verdict(figures)


async def scenario(folder: Path, *, kills: int, settle: float, rescues: bool = True) -> Figures:
    """Let clients submit and await while workers are killed; then let `WORKERS` of them finish what is left."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    began = time.monotonic()
    database, witnesses = folder / "jobs.db", folder / "witnesses"
    witness, testimony = Witness(witnesses), Testimony(witnesses)
    square = square_model(witness)
    with nursery(folder / "logs") as processes:

        def start() -> Child:
            return processes.start(worker, database, witnesses, rescues=rescues)

        async with (
            opened(SQLiteStore(database)) as store,
            JobManager(store, models=[square], run_jobs=False) as manager,
        ):
            is_over = asyncio.Event()
            clients = [asyncio.create_task(client(manager, square, witness, is_over)) for _ in range(CLIENTS)]
            chances = [random.Random(seed + slot) for slot in range(WORKERS)]
            await asyncio.gather(*(kill(start, witnesses, witness, chance, kills // WORKERS) for chance in chances))
            is_over.set()
            for _ in range(WORKERS):
                start()
            await came_true(lambda: all(task.done() for task in clients), settle)
            for task in clients:
                task.cancel()
            answers = await asyncio.gather(*clients, return_exceptions=True)
            accepted = {line.job: int(line.note) for line in testimony.lines("accepted")}
            audited = await audit(store, accepted)
    wrong = sum(1 for answer in answers if not isinstance(answer, asyncio.CancelledError | None))
    return figures_of(seed, accepted, audited, testimony.lines(), wrong, time.monotonic() - began)


async def client(
    manager: JobManager, square: Model[[int], int, object], witness: Witness, is_over: asyncio.Event
) -> None:
    """Submit and await, one job after the other."""
    number = 0
    while not is_over.is_set():
        number += 1
        handle = await manager.submit(square.options(webhook="https://hooks.example.com/f1"), number)
        witness.write("accepted", handle.id, note=str(number))
        assert await handle == number * number


async def kill(
    start: Callable[[], Child], witnesses: Path, witness: Witness, chance: random.Random, times: int
) -> None:
    """Start a worker and kill it at a random moment, again and again; most have begun to run jobs by then."""
    for _ in range(times):
        child = start()
        if chance.random() < KILLED_WHILE_OPENING:
            await asyncio.sleep(chance.uniform(0, 0.05))
        else:
            testimony = Testimony(witnesses, child.pid)
            await until(partial(has_begun, testimony), 30, what="a job begins in the new worker")
            await asyncio.sleep(chance.uniform(0, 0.15))
        witness.write("kill", note=str(child.pid))
        child.kill()


def has_begun(testimony: Testimony) -> bool:
    return bool(testimony.lines("begin"))


def figures_of(
    seed: int,
    accepted: Mapping[str, int],
    audited: Sequence[Audited],
    lines: Sequence[Line],
    wrong_answers: int,
    seconds: float,
) -> Figures:
    killed_at = {int(line.note): line.at for line in lines if line.event == "kill"}
    begins = [line for line in lines if line.event == "begin"]
    done = {(line.job, line.attempt) for line in lines if line.event == "finish" and line.note == "succeeded done"}
    jobs = {one.id: one.job for one in audited}
    in_flight = [line for line in begins if line.pid in killed_at and (line.job, line.attempt) not in done]
    waits = recoveries(in_flight, killed_at, begins)
    return Figures(
        seed=seed,
        kills=len(killed_at),
        accepted=len(accepted),
        lost=sum(job is None or not job.is_terminal for job in jobs.values()),
        wrong_results=wrong_answers + sum(is_wrong(job, accepted[id_]) for id_, job in jobs.items()),
        results_lost=sum((job := jobs.get(id_)) is None or job.attempt != attempt for id_, attempt in done),
        not_ended_once=sum(one.terminal_moves != 1 for one in audited),
        not_owed_once=sum(one.owed_events != 1 for one in audited),
        attempts_begun_twice=sum(count > 1 for count in Counter((line.job, line.attempt) for line in begins).values()),
        reruns=len(begins) - len({line.job for line in begins}),
        in_flight_at_kills=len(in_flight),
        recovery_seconds_median=statistics.median(waits) if waits else 0.0,
        recovery_seconds_max=max(waits, default=0.0),
        seconds=seconds,
    )


def is_wrong(job: Job | None, number: int) -> bool:
    """Tell whether an ended job holds anything but its result."""
    if job is None or not job.is_terminal:
        return False
    return job.result is None or msgpack.decode(job.result) != number * number


def recoveries(in_flight: Sequence[Line], killed_at: Mapping[int, float], begins: Sequence[Line]) -> list[float]:
    """Return the seconds from each kill to the next start of each job that it hit and whose finish was not in."""
    starts: dict[str, list[float]] = {}
    for line in begins:
        starts.setdefault(line.job, []).append(line.at)
    waits: list[float] = []
    for line in in_flight:
        at = killed_at[line.pid]
        waits += [start - at for start in starts[line.job] if start > at][:1]
    return waits
