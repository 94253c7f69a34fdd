"""F9: `asyncinfer work` is told to end: it finishes what it can, gives back the rest uncharged, and is gone in time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import Job, JobHandle, JobManager, Model, current_job, model
from asyncinfer._services.worker import Worker
from asyncinfer.errors import Draining
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.audit import audit, jobs_of
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.waiting import until
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

Situation = Literal["once", "twice", "burst"]
"""One SIGTERM; a second one half a second later; one while the process and a client go on submitting."""

ROUNDS = {"pr": 5, "rel": 200}
AT_ONCE = 5
SITUATIONS: Sequence[Situation] = ("once", "twice", "burst")
GRACE = 5.0
EXIT_SECONDS = 2.0
SECOND_SIGNAL_SECONDS = 0.5
BURST_PAUSE = 0.005
"""Seconds between two submits of the client: as fast as it can, it would fill the queue before the grace is over."""
CLAIM_SECONDS = 1.0
"""A claim that was under way when the signal came may still begin its job; nothing does so much later."""
HOUSE = Path(__file__).parents[2]
FOLDER = "ASYNCINFER_F09_FOLDER"
WEBHOOK = "https://hooks.example.com/f9"


class Figures(Struct, frozen=True, kw_only=True):
    rounds: int
    accepted: int
    lost: int
    left_running: int
    charged: int
    """Jobs with a failure or a crash."""
    rerun: int
    """Jobs that had ended before the signal or within the grace, and began again."""
    begun_late: int
    given_back: int
    finished_in_grace: int
    refused_submits: int
    """Submits that the draining process refused to its own jobs."""
    not_owed_once: int
    wrong_exit_codes: int
    exit_seconds_max: float
    """From the signal to the exit, for one SIGTERM."""
    second_exit_seconds_max: float
    """From the second SIGTERM to the exit."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "0 accepted jobs are lost": figures.lost == 0,
        "nothing is left running": figures.left_running == 0,
        "failures and crashes are unchanged": figures.charged == 0,
        "0 finished jobs run again": figures.rerun == 0,
        "a draining process begins nothing": figures.begun_late == 0,
        "every job has one owed event": figures.not_owed_once == 0,
        "the exit code is 0": figures.wrong_exit_codes == 0,
        "it exits within grace + 2 s": figures.exit_seconds_max <= GRACE + EXIT_SECONDS,
        "a second signal ends it within 2 s": figures.second_exit_seconds_max <= EXIT_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


class Models:
    """Jobs of every kind; `is_patient` is False in the worker that comes after: there the endless ones return."""

    def __init__(self, witness: Witness, *, is_patient: bool = True, manager: Callable[[], JobManager] | None = None):
        def begin() -> None:
            witness.write("begin", current_job().job_id, current_job().attempt)

        def end() -> None:
            witness.write("end", current_job().job_id, current_job().attempt)

        @model
        async def quick() -> None:
            begin()
            end()

        @model
        async def short() -> None:
            begin()
            await asyncio.sleep(1.5 if is_patient else 0)  # the work
            end()

        @model
        async def endless() -> None:
            begin()
            if is_patient:
                await asyncio.Event().wait()

        @model
        def endless_thread() -> None:
            begin()
            while is_patient:
                current_job().raise_if_canceled()
                time.sleep(0.02)  # a step of the work

        @model
        def deaf_thread() -> None:
            begin()
            if is_patient:
                time.sleep(600)  # looks at no token

        @model
        async def chain() -> None:
            begin()
            while manager is not None:
                try:
                    handle = await manager().submit(quick.options(webhook=WEBHOOK))
                except Draining:
                    witness.write("refused")
                    return
                witness.write("accepted", handle.id)
                await handle

        self.quick: Model[[], None, object] = quick
        self.chain: Model[[], None, object] = chain
        self.twenty: Sequence[Model[[], None, object]] = (
            *[short] * 10,
            *[endless] * 5,
            *[endless_thread] * 3,
            *[deaf_thread] * 2,
        )

    @property
    def all(self) -> Sequence[Model[[], None, object]]:
        return (self.quick, self.chain, *dict.fromkeys(self.twenty))


def make_manager() -> JobManager:
    """Return what `asyncinfer work` is to run."""
    folder = Path(os.environ[FOLDER])
    models = Models(Witness(folder / "witnesses"), manager=lambda: manager)
    slots = {"thread": 8, "loop": 40}
    manager = JobManager(f"sqlite:///{folder}/jobs.db", models=models.all, concurrency=slots, drain_grace=GRACE)
    return manager


def make_careless_manager() -> JobManager:
    """Without the protection: at the end of the grace jobs are cancelled, and not given back."""

    def cancel_all(worker: Worker) -> None:
        for attempt in list(worker.attempts.values()):
            worker.stop(attempt, "lost")

    pytest.MonkeyPatch().setattr(Worker, "give_back_all", cancel_all)
    return make_manager()


async def successor(folder: Path) -> None:
    """Run what the first worker has left, until killed."""
    models = Models(Witness(folder / "witnesses"), is_patient=False)
    async with JobManager(f"sqlite:///{folder}/jobs.db", models=models.all):
        await asyncio.Event().wait()


async def test_a_worker_is_told_to_end(size: Size, tmp_path: Path) -> None:
    situations: list[Situation] = [SITUATIONS[number % len(SITUATIONS)] for number in range(ROUNDS[size])]
    figures = await scenario(tmp_path, situations, make_manager)
    publish("F9", size, figures)
    assert verdict(figures) == []


async def test_a_cancel_without_give_back_charges_a_crash(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, ["twice"], make_careless_manager)
    assert "failures and crashes are unchanged" in verdict(figures)


async def scenario(folder: Path, situations: Sequence[Situation], make: Callable[[], JobManager]) -> Figures:
    """Run the rounds, some at once, each with its own store, and add up."""
    began = time.monotonic()
    rounds: list[Seen] = []
    for start in range(0, len(situations), AT_ONCE):
        wave = situations[start : start + AT_ONCE]
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(Round(folder / f"round-{start + number}", situation, make).run())
                for number, situation in enumerate(wave)
            ]
        rounds += [one.result() for one in running]
    return figures_of(rounds, time.monotonic() - began)


class Seen(Struct, frozen=True, kw_only=True):
    """One round."""

    situation: Situation
    exit_code: int
    exit_seconds: float
    signaled_at: float
    """Of the last signal, on the clock of the witnesses."""
    worker_pid: int
    lines: Sequence[Line]
    accepted: Sequence[str]
    at_exit: Mapping[str, Job]
    at_end: Mapping[str, Job]
    not_owed_once: int


class Round:
    """One worker process with 20 jobs: told to end, and followed by another one."""

    def __init__(self, folder: Path, situation: Situation, make: Callable[[], JobManager]) -> None:
        folder.mkdir()
        self._folder, self._make = folder, make
        self._situation: Situation = situation
        self._witness, self._testimony = Witness(folder / "witnesses"), Testimony(folder / "witnesses")
        self._models = Models(self._witness)
        self._accepted: list[str] = []

    async def run(self) -> Seen:
        async with (
            opened(SQLiteStore(self._folder / "jobs.db")) as store,
            JobManager(store, models=self._models.all, run_jobs=False) as manager,
            self._work() as process,
        ):
            handles = [await self._submit(manager, one) for one in self._jobs()]
            await until(lambda: self._begun() >= {one.id for one in handles}, 60, what="20 jobs have begun")
            is_over = asyncio.Event()
            burst = asyncio.create_task(self._burst(manager, is_over))
            signaled_at = await self._signal(process)
            exit_code = await asyncio.wait_for(process.wait(), 60)
            exit_seconds = time.monotonic() - signaled_at
            is_over.set()
            await burst
            accepted = [*self._accepted, *(line.job for line in self._testimony.lines("accepted"))]
            at_exit = await jobs_of(store, accepted)
            await self._succeed([manager.handle(job_id) for job_id in accepted])
            audited = await audit(store, accepted)
        return Seen(
            situation=self._situation,
            exit_code=exit_code,
            exit_seconds=exit_seconds,
            signaled_at=signaled_at,
            worker_pid=process.pid,
            lines=self._testimony.lines(),
            accepted=accepted,
            at_exit=at_exit,
            at_end={one.id: one.job for one in audited if one.job is not None},
            not_owed_once=sum(one.owed_events != 1 for one in audited),
        )

    @contextlib.asynccontextmanager
    async def _work(self) -> AsyncGenerator[Process, None]:
        target = f"{__name__}:{self._make.__name__}"
        with (self._folder / "work.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "asyncinfer.cli", "work", target),
                cwd=HOUSE,
                env=os.environ | {FOLDER: str(self._folder)},
                stdout=log,
                stderr=log,
            )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _jobs(self) -> Sequence[Model[[], None, object]]:
        return (*self._models.twenty, self._models.chain) if self._situation == "burst" else self._models.twenty

    async def _submit(self, manager: JobManager, one: Model[[], None, object]) -> JobHandle[None]:
        handle = await manager.submit(one.options(webhook=WEBHOOK))
        self._accepted.append(handle.id)
        return handle

    def _begun(self) -> set[str]:
        return {line.job for line in self._testimony.lines("begin")}

    async def _burst(self, manager: JobManager, is_over: asyncio.Event) -> None:
        while self._situation == "burst" and not is_over.is_set():
            await self._submit(manager, self._models.quick)
            await asyncio.sleep(BURST_PAUSE)

    async def _signal(self, process: Process) -> float:
        """Send SIGTERM, once or twice; return when the last one was sent."""
        process.send_signal(signal.SIGTERM)
        if self._situation == "twice":
            await asyncio.sleep(SECOND_SIGNAL_SECONDS)
            process.send_signal(signal.SIGTERM)
        return time.monotonic()

    async def _succeed(self, handles: Sequence[JobHandle[None]]) -> None:
        """Let another worker run what is left."""
        with nursery(self._folder / "logs") as processes:
            processes.start(successor, self._folder)
            waiting = [asyncio.ensure_future(handle.result(timeout=60)) for handle in handles]
            await asyncio.wait(waiting)


def figures_of(rounds: Sequence[Seen], seconds: float) -> Figures:
    at_exit = [job for seen in rounds for job in seen.at_exit.values()]
    return Figures(
        rounds=len(rounds),
        accepted=sum(len(seen.accepted) for seen in rounds),
        lost=sum(not has_succeeded(seen.at_end.get(job_id)) for seen in rounds for job_id in seen.accepted),
        left_running=sum(job.status == "running" for job in at_exit),
        charged=sum(job.failures + job.crashes > 0 for seen in rounds for job in seen.at_end.values()),
        rerun=sum(len(rerun(seen)) for seen in rounds),
        begun_late=sum(is_late(line, seen) for seen in rounds for line in seen.lines),
        given_back=sum(job.status == "queued" and job.attempt == 1 for job in at_exit),
        finished_in_grace=sum(is_in_grace(line, seen) for seen in rounds for line in seen.lines),
        refused_submits=sum(line.event == "refused" for seen in rounds for line in seen.lines),
        not_owed_once=sum(seen.not_owed_once for seen in rounds),
        wrong_exit_codes=sum(seen.exit_code != 0 for seen in rounds),
        exit_seconds_max=max((seen.exit_seconds for seen in rounds if seen.situation != "twice"), default=0.0),
        second_exit_seconds_max=max((seen.exit_seconds for seen in rounds if seen.situation == "twice"), default=0.0),
        seconds=seconds,
    )


def has_succeeded(job: Job | None) -> bool:
    return job is not None and job.status == "succeeded"


def rerun(seen: Seen) -> set[str]:
    """Return the jobs that the first worker had stored as ended, and that began again in the second."""
    again = {line.job for line in seen.lines if line.event == "begin" and line.pid != seen.worker_pid}
    ended = {job_id for job_id, job in seen.at_exit.items() if job.is_terminal}
    if seen.situation != "twice":  # the grace is longer than the work: what was witnessed to end was stored
        ended |= {line.job for line in seen.lines if line.event == "end" and line.pid == seen.worker_pid}
    return again & ended


def is_late(line: Line, seen: Seen) -> bool:
    return line.event == "begin" and line.pid == seen.worker_pid and line.at > seen.signaled_at + CLAIM_SECONDS


def is_in_grace(line: Line, seen: Seen) -> bool:
    return line.event == "end" and line.pid == seen.worker_pid and line.at > seen.signaled_at
