"""F7: jobs that kill their worker process stop after three crashes, which tell how it died; nobody else is charged."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import Batch, Job, JobFailed, JobManager, Model, lifecycle, model
from asyncinfer_process import ProcessExecutor
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.neighbours import ending_of, neighbours
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Line, Testimony
from tests.faults.harness.worker_faults import WITNESSES, RunBatch, run
from tests.faults.harness.worker_lives import births, deaths, not_ended, replacement_seconds

pytestmark = pytest.mark.fault

BUDGET = 3
SLOTS = 2
BATCH = 4
NEIGHBOURS = 100
SLOT_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
POISON: Mapping[str, str] = {
    "SIGKILL": "died of SIGKILL",
    "os._exit": "exited with status 7",
    "segfault": "died of SIGSEGV",
    "stack overflow": "died of SIGSEGV",
    "half a frame": "died of SIGKILL",
    "output, then death": "died of SIGKILL",
}
"""What kills a worker process, and what its jobs' errors must say of that."""
Kind = Literal["alone", "batched"]
MODELS: Mapping[Kind, Model[[str], str, object]] = {
    "alone": model(run, name="alone", executor="process"),
    "batched": model(RunBatch, name="batched", executor="process", batch=Batch(max_size=BATCH)),
}


class Figures(Struct, frozen=True, kw_only=True):
    batch_size: int
    poison_jobs: int
    deaths: int
    wrong_endings: Mapping[str, str]
    """Poison jobs that have not ended as failed(crash_budget) after three attempts and three crashes."""
    deaths_untold: Mapping[str, str]
    """Those whose error does not say how their worker died, with what it says."""
    exit_ended: str
    """How a job ended that calls sys.exit, alone in its batch."""
    beside_the_last_chance: int
    """Jobs that shared a batch with the last attempt of a poison job."""
    neighbours: int
    neighbours_failed: int
    neighbours_charged: int
    """With a crash; in a batch they are suspects."""
    slot_seconds_max: float
    """From a death to the next job in a process started after it."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "a poison job fails of its crash budget after three attempts": not figures.wrong_endings,
        "its error says how its worker died": not figures.deaths_untold,
        "sys.exit kills nothing": figures.exit_ended == "failed model_error, attempt 1, 0 crashes",
        "its last chance is alone": figures.beside_the_last_chance == 0,
        "its neighbours succeed": figures.neighbours_failed == 0 and figures.neighbours >= NEIGHBOURS,
        "no crash is charged to them": figures.neighbours_charged == 0 or figures.batch_size > 1,
        "a slot is back within 2 s": figures.slot_seconds_max <= SLOT_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize(("kind", "scheme"), [("alone", "memory"), ("alone", "sqlite"), ("batched", "sqlite")])
async def test_poison_jobs_stop_after_three_worker_processes(
    size: Size, kind: Kind, scheme: str, tmp_path: Path
) -> None:
    url = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/jobs.db"
    figures = await scenario(url, tmp_path, kind, tuple(POISON))
    publish(f"F7 process {kind} {scheme}", size, figures)
    assert verdict(figures) == []


async def test_canary_crashes_that_are_not_charged_let_a_job_kill_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def always_queued(*, crashes: int, crash_budget: int, cancel_requested: bool) -> str:
        return "queued"

    monkeypatch.setattr(lifecycle, "status_after_rescue", always_queued)
    figures = await scenario("memory://", tmp_path, "alone", ("SIGKILL",))
    assert "a poison job fails of its crash budget after three attempts" in verdict(figures)


async def test_canary_a_last_chance_in_company_takes_its_batch_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*, crashes: int, crash_budget: int) -> bool:
        return False

    monkeypatch.setattr(lifecycle, "is_last_chance", never)
    figures = await scenario("memory://", tmp_path, "batched", tuple(POISON))
    assert "its last chance is alone" in verdict(figures)


async def scenario(url: str, folder: Path, kind: Kind, poison: Sequence[str]) -> Figures:
    """Run poison jobs among neighbours that never run out, until they have ended or killed once too often."""
    began = time.monotonic()
    testimony = Testimony(folder / "witnesses")
    one = MODELS[kind]
    executor = ProcessExecutor(SLOTS, env={WITNESSES: str(folder / "witnesses")})
    async with JobManager(url, models=[one], executors={"process": executor}, drain_grace=0.0) as manager:
        async with neighbours(manager, one, clients=2 * SLOTS * batch_size(one)) as handles:
            await until(lambda: len(births(testimony.lines())) == SLOTS, PATIENCE_SECONDS, what="every slot is warm")
            bad = [await manager.submit(one, each) for each in poison]
            endings = [asyncio.create_task(handle.result()) for handle in bad]

            def is_enough() -> bool:
                return all(task.done() for task in endings) or poisonings(testimony) > BUDGET * len(poison)

            await came_true(is_enough, PATIENCE_SECONDS)
            if all(task.done() for task in endings):
                await came_true(lambda: len(handles) >= NEIGHBOURS, PATIENCE_SECONDS)
                await came_true(lambda: slot_seconds(testimony.lines()) < math.inf, 2 * SLOT_SECONDS)
            lines = testimony.lines()
        for task in endings:
            task.cancel()
        exited = await manager.submit(one, "sys.exit")
        with contextlib.suppress(JobFailed):
            await exited
        harmless = await manager.get(exited.id)
        poisoned = [await manager.get(handle.id) for handle in bad]
        beside = [await manager.get(handle.id) for handle in handles]
    ended = dict(zip(poison, poisoned, strict=True))
    return Figures(
        batch_size=batch_size(one),
        poison_jobs=len(poison),
        deaths=len(deaths(lines, POISON)),
        wrong_endings={name: ending_of(job) for name, job in ended.items() if not is_spent(job)},
        deaths_untold={name: what_it_says(job) for name, job in ended.items() if POISON[name] not in what_it_says(job)},
        exit_ended=ending_of(harmless),
        beside_the_last_chance=sum(beside_last_chance(job, lines) for job in poisoned),
        neighbours=len(beside),
        neighbours_failed=sum(job.status != "succeeded" for job in beside),
        neighbours_charged=sum(job.crashes > 0 for job in beside),
        slot_seconds_max=slot_seconds(lines),
        seconds=time.monotonic() - began,
    )


def is_spent(job: Job) -> bool:
    return ending_of(job) == f"failed crash_budget, attempt {BUDGET}, {BUDGET} crashes"


def what_it_says(job: Job) -> str:
    return "" if job.error is None else job.error.message


def beside_last_chance(job: Job, lines: Sequence[Line]) -> int:
    """Count the other jobs that its last attempt took along."""
    last = {line.pid for line in lines if (line.job, line.attempt) == (job.id, BUDGET)}
    return sum(line.pid in last and line.job != job.id for line in not_ended(lines))


def poisonings(testimony: Testimony) -> int:
    return sum(line.note in POISON for line in testimony.lines("begin"))


def slot_seconds(lines: Sequence[Line]) -> float:
    return replacement_seconds(lines, POISON, SLOTS)


def batch_size(one: Model[[str], str, object]) -> int:
    return 1 if one.batch is None else one.batch.max_size
