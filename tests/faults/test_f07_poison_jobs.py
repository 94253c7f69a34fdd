"""F7: jobs that kill whatever runs them stop after three crashes, alone at the last; their neighbours succeed.

The worker that dies is a whole manager process here, started again by its supervisor, the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import Job, JobFailed, JobHandle, JobManager, Model, current_job, lifecycle, model
from asyncinfer.abc import JobKey, JobStore, RescueAnswer
from asyncinfer_sqlite import SQLiteStore, _finish
from asyncinfer_sqlite._moves import Ending, MoveRow, Return
from tests.faults.harness.audit import audit
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import Child, nursery
from tests.faults.harness.waiting import came_true
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

BUDGET = 3
WORKERS = 2
NEIGHBOURS = 100
CLIENTS = 24
LEASE = 4.0
RECOVERY_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
WEBHOOK = "https://hooks.example.com/f7"


class Figures(Struct, frozen=True, kw_only=True):
    poison_jobs: int
    deaths: int
    not_failed_of_crash_budget: int
    """Poison jobs that have not ended so, after three crashes by the store's count."""
    attempts: Mapping[str, int]
    """The newest attempt of each poison job, by its own testimony; an earlier one may die of another poison job."""
    neighbours: int
    neighbours_failed: int
    neighbours_hit: int
    """Attempts of neighbours that died with their worker."""
    beside_the_last_chance: int
    """Attempts that shared a worker with the last attempt of a poison job."""
    not_ended_once: int
    not_owed_once: int
    next_attempt_seconds_max: float
    """From a death to the next attempt of the job that caused it."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "a poison job ends failed(crash_budget)": figures.not_failed_of_crash_budget == 0,
        "a poison job runs exactly three times": set(figures.attempts.values()) == {BUDGET},
        "its last chance is alone": figures.beside_the_last_chance == 0,
        "its neighbours succeed": figures.neighbours_failed == 0 and figures.neighbours >= NEIGHBOURS,
        "recovery takes at most 5 s": figures.next_attempt_seconds_max <= RECOVERY_SECONDS,
        "every job ends by one terminal move": figures.not_ended_once == 0,
        "every job has one owed event": figures.not_owed_once == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def fault_of_the_interpreter(name: str) -> Callable[[], object]:
    """Return what the standard library itself crashes with, to test its own crash reports."""
    found: Callable[[], object] = getattr(faulthandler, name)
    return found


KILLERS: Mapping[str, Callable[[], object]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(1),
    "segfault": fault_of_the_interpreter("_sigsegv"),
    "stack overflow": fault_of_the_interpreter("_stack_overflow"),
}


class Models:
    """The poison and its neighbours, in a thread and on the loop."""

    def __init__(self, witness: Witness) -> None:
        @model
        def poison(kind: str) -> None:
            job = current_job()
            witness.write("poison", job.job_id, job.attempt)
            KILLERS[kind]()

        @model
        def thread_neighbour(number: int) -> int:
            job = current_job()
            witness.write("begin", job.job_id, job.attempt)
            time.sleep(0.05)  # the work
            witness.write("end", job.job_id, job.attempt)
            return number

        @model
        async def loop_neighbour(number: int) -> int:
            job = current_job()
            witness.write("begin", job.job_id, job.attempt)
            await asyncio.sleep(0.05)  # the work
            witness.write("end", job.job_id, job.attempt)
            return number

        self.poison: Model[[str], None, object] = poison
        self.neighbours: Sequence[Model[[int], int, object]] = (thread_neighbour, loop_neighbour)

    @property
    def all(self) -> Sequence[Model[..., object, object]]:
        return (self.poison, *self.neighbours)


Weaken = Callable[[pytest.MonkeyPatch], None]


def keep_everything(patch: pytest.MonkeyPatch) -> None:
    """Leave every protection in place."""


def forget_crashes(patch: pytest.MonkeyPatch) -> None:
    """Take away the charge of a crash."""

    def uncharged(row: MoveRow, endings: list[Ending], returns: list[Return]) -> RescueAnswer:
        returns.append(Return(row, "rescued"))
        return "queued"

    patch.setattr(_finish, "_decide_rescue", uncharged)


def forget_solitude(patch: pytest.MonkeyPatch) -> None:
    """Take away the rule that the last chance is alone."""

    def never(*, crashes: int, crash_budget: int) -> bool:
        return False

    patch.setattr(lifecycle, "is_last_chance", never)


async def worker(database: Path, witnesses: Path, weaken: Weaken) -> None:
    """Run jobs until one of them ends the process."""
    weaken(pytest.MonkeyPatch())
    models = Models(Witness(witnesses))
    slots = {"thread": 4, "loop": 4}
    async with JobManager(f"sqlite:///{database}", models=models.all, concurrency=slots, lease=LEASE):
        await asyncio.Event().wait()


async def test_poison_jobs_stop_after_three_crashes(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, tuple(KILLERS), keep_everything)
    publish("F7", size, figures)
    assert verdict(figures) == []


async def test_a_crash_that_is_not_charged_lets_a_job_kill_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_crashes(monkeypatch)  # every manager rescues, this one too
    figures = await scenario(tmp_path, ("kill",), forget_crashes)
    assert "a poison job runs exactly three times" in verdict(figures)


async def test_a_last_chance_in_company_takes_its_neighbours_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_solitude(monkeypatch)
    figures = await scenario(tmp_path, ("kill",), forget_solitude)
    assert "its last chance is alone" in verdict(figures)


async def scenario(folder: Path, poison: Sequence[str], weaken: Weaken) -> Figures:
    """Run poison jobs among neighbours that never run out, until they have ended or killed once too often."""
    began = time.monotonic()
    database, witnesses = folder / "jobs.db", folder / "witnesses"
    witness, testimony = Witness(witnesses), Testimony(witnesses)
    models = Models(witness)
    with nursery(folder / "logs") as processes:
        async with (
            opened(SQLiteStore(database)) as store,
            JobManager(store, models=models.all, run_jobs=False, lease=LEASE) as manager,
        ):
            is_over = asyncio.Event()
            deaths: list[float] = []

            def start() -> Child:
                return processes.start(worker, database, witnesses, weaken)

            workers = [asyncio.create_task(start_again(start, deaths, witness)) for _ in range(WORKERS)]
            clients = [asyncio.create_task(client(manager, models, witness, is_over)) for _ in range(CLIENTS)]
            handles = [await manager.submit(models.poison.options(webhook=WEBHOOK), kind) for kind in poison]
            endings = [asyncio.create_task(handle.result()) for handle in handles]

            def is_enough() -> bool:
                return all(task.done() for task in endings) or len(deaths) > BUDGET * len(poison)

            await came_true(is_enough, PATIENCE_SECONDS)
            if all(task.done() for task in endings):
                await came_true(lambda: len(testimony.lines("end")) >= NEIGHBOURS, PATIENCE_SECONDS)
                is_over.set()
                await asyncio.wait(clients, timeout=PATIENCE_SECONDS)
            for task in (*workers, *clients, *endings):
                task.cancel()
            await asyncio.gather(*workers, *clients, *endings, return_exceptions=True)
            return await figures_of(store, dict(zip(ids(handles), poison, strict=True)), testimony, deaths, began)


async def start_again(start: Callable[[], Child], deaths: list[float], witness: Witness) -> None:
    """Supervise one worker: whenever it dies, start another."""
    while True:
        child = start()
        while not await child.has_ended(PATIENCE_SECONDS):
            pass
        deaths.append(time.monotonic())
        witness.write("death", note=str(child.pid))


async def client(manager: JobManager, models: Models, witness: Witness, is_over: asyncio.Event) -> None:
    """Submit and await neighbours, one after the other."""
    for number in itertools.count():
        if is_over.is_set():
            return
        neighbour = models.neighbours[number % len(models.neighbours)]
        handle = await manager.submit(neighbour.options(webhook=WEBHOOK), number)
        witness.write("accepted", handle.id)
        with contextlib.suppress(JobFailed):  # the store is asked at the end
            await handle


def ids(handles: Sequence[JobHandle[None]]) -> list[str]:
    return [handle.id for handle in handles]


async def figures_of(
    store: JobStore, poison: Mapping[str, str], testimony: Testimony, deaths: Sequence[float], began: float
) -> Figures:
    lines = testimony.lines()
    neighbours = [line.job for line in lines if line.event == "accepted"]
    audited = {one.id: one for one in await audit(store, [*poison, *neighbours])}
    poisonings = [line for line in lines if line.event == "poison"]
    dead = {int(line.note) for line in lines if line.event == "death"}
    ended = {(line.job, line.attempt) for line in lines if line.event == "end"}
    return Figures(
        poison_jobs=len(poison),
        deaths=len(deaths),
        not_failed_of_crash_budget=sum(not is_spent(audited[job_id].job) for job_id in poison),
        attempts={kind: newest_attempt(poisonings, job_id) for job_id, kind in poison.items()},
        neighbours=len(neighbours),
        neighbours_failed=sum(not has_succeeded(audited[job_id].job) for job_id in neighbours),
        neighbours_hit=sum(
            line.event == "begin" and line.pid in dead and (line.job, line.attempt) not in ended for line in lines
        ),
        beside_the_last_chance=await count_beside(store, poison, neighbours)
        + sum(count_running(line, lines) for line in poisonings if line.attempt == BUDGET),
        not_ended_once=sum(one.terminal_moves != 1 for one in audited.values()),
        not_owed_once=sum(one.owed_events != 1 for one in audited.values()),
        next_attempt_seconds_max=max(
            (again.at - line.at for line in poisonings for again in poisonings if is_next(line, again)), default=0.0
        ),
        seconds=time.monotonic() - began,
    )


def is_spent(job: Job | None) -> bool:
    if job is None or job.error is None:
        return False
    return (job.status, job.error.code, job.attempt, job.crashes) == ("failed", "crash_budget", BUDGET, BUDGET)


def newest_attempt(poisonings: Sequence[Line], job_id: str) -> int:
    return max((line.attempt for line in poisonings if line.job == job_id), default=0)


def has_succeeded(job: Job | None) -> bool:
    return job is not None and job.status == "succeeded"


def is_next(line: Line, again: Line) -> bool:
    return again.job == line.job and again.attempt == line.attempt + 1


async def count_beside(store: JobStore, poison: Iterable[str], neighbours: Iterable[str]) -> int:
    """Count the neighbours' attempts that were lost with the worker of a last chance: they may not have begun yet."""
    last = [(await store.attempts(JobKey("", job_id)))[-1].worker for job_id in poison]
    attempts = [await store.attempts(JobKey("", job_id)) for job_id in neighbours]
    return sum(one.outcome == "rescued" and one.worker in last for each in attempts for one in each)


def count_running(last: Line, lines: Sequence[Line]) -> int:
    """Count the attempts that ran in the same process when a last chance began."""
    running = {(line.job, line.attempt) for line in lines if line.pid == last.pid and line.event == "begin"}
    ended = {
        (line.job, line.attempt) for line in lines if line.pid == last.pid and line.event == "end" and line.at < last.at
    }
    return len(running - ended)
