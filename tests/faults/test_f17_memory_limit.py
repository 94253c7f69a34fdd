"""F17: a job that takes more memory than its model may fails at once, of that; the others finish."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import Batch, Job, JobFailed, JobManager, Model, model
from asyncinfer_process import ProcessExecutor
from asyncinfer_process._watchdog import Watchdog
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.neighbours import ending_of, neighbours
from tests.faults.harness.waiting import came_true
from tests.faults.harness.witness import Testimony
from tests.faults.harness.worker_faults import MIB, WITNESSES, RunBatch, run

pytestmark = pytest.mark.fault

LIMIT = 192 * MIB
SLOTS = 2
BATCH = 4
NEIGHBOURS = {"pr": 100, "rel": 1_000}
ROUNDS = {"pr": 1, "rel": 20}
ENDED_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
GREEDY = ("allocation", "shared pages")
"""What the kernel refuses by RLIMIT_DATA, and what only the watchdog sees."""
AT_ONCE = "failed out_of_memory, attempt 1, 0 crashes"
Kind = Literal["alone", "batched"]
MODELS: Mapping[Kind, Model[[str], str, object]] = {
    "alone": model(run, name="alone", executor="process", memory_limit=LIMIT),
    "batched": model(RunBatch, name="batched", executor="process", memory_limit=LIMIT, batch=Batch(max_size=BATCH)),
}


class Figures(Struct, frozen=True, kw_only=True):
    batch_size: int
    greedy_jobs: int
    not_out_of_memory: Mapping[str, str]
    """Greedy jobs that have not failed of that, and how they ended."""
    not_at_once: int
    """Those that had a second attempt; in a batch they are suspects first."""
    ended_seconds_max: float
    """From the start of a greedy job's last attempt to its ending in hand."""
    neighbours: int
    neighbours_failed: int
    neighbours_charged: int
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "a job over its memory limit fails of that": not figures.not_out_of_memory,
        "it fails at once": figures.not_at_once == 0 or figures.batch_size > 1,
        "it fails within 5 s": figures.ended_seconds_max <= ENDED_SECONDS,
        "the others finish": figures.neighbours_failed == 0,
        "no crash is charged to them": figures.neighbours_charged == 0 or figures.batch_size > 1,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("kind", ["alone", "batched"])
async def test_a_job_over_its_memory_limit_fails_and_the_others_finish(size: Size, kind: Kind, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kind, GREEDY * ROUNDS[size], NEIGHBOURS[size])
    publish(f"F17 {kind}", size, figures)
    assert verdict(figures) == []


async def test_canary_without_the_watchdog_shared_memory_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Watchdog) -> None:
        return

    monkeypatch.setattr(Watchdog, "arm", never)
    figures = await scenario(tmp_path, "alone", ["shared pages"], 1)
    assert "a job over its memory limit fails of that" in verdict(figures)


async def test_canary_in_a_pool_that_ends_with_one_of_its_processes_the_others_do_not_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_the_pool(monkeypatch)
    figures = await scenario(tmp_path, "alone", ["shared pages"] * 4, 1)
    assert "no crash is charged to them" in verdict(figures)


def end_the_pool(patch: pytest.MonkeyPatch) -> None:
    """Let every process end with the one that took too much, as in the pools of the standard library."""
    look = Watchdog._look

    def look_and_break(self: Watchdog) -> None:
        look(self)
        workers = [worker for worker, _ in self._members()]
        if any(worker._killed_for == "memory_limit" for worker in workers):
            for worker in workers:
                worker.kill("broken", "its pool is broken", at_once=True)

    patch.setattr(Watchdog, "_look", look_and_break)


async def scenario(folder: Path, kind: Kind, greedy: Sequence[str], enough: int) -> Figures:
    """Run greedy jobs, one after the other, among neighbours in the same processes."""
    began = time.monotonic()
    testimony = Testimony(folder / "witnesses")
    one = MODELS[kind]
    executor = ProcessExecutor(SLOTS, env={WITNESSES: str(folder / "witnesses")})
    async with JobManager("memory://", models=[one], executors={"process": executor}, drain_grace=0.0) as manager:
        async with neighbours(manager, one, clients=2 * SLOTS * batch_size(one)) as handles:
            ended = [await ending_and_instant(manager, one, what) for what in greedy]
            await came_true(lambda: len(handles) >= enough, PATIENCE_SECONDS)
        beside = [await manager.get(handle.id) for handle in handles]
    last_begun = {line.job: line.at for line in testimony.lines("begin")}
    jobs = [job for job, _ in ended]
    return Figures(
        batch_size=batch_size(one),
        greedy_jobs=len(greedy),
        not_out_of_memory={
            what: ending_of(job) for what, job in zip(greedy, jobs, strict=True) if not is_out_of_memory(job)
        },
        not_at_once=sum(ending_of(job) != AT_ONCE for job in jobs),
        ended_seconds_max=max(at - last_begun[job.id] for job, at in ended),
        neighbours=len(beside),
        neighbours_failed=sum(job.status != "succeeded" for job in beside),
        neighbours_charged=sum(job.crashes > 0 for job in beside),
        seconds=time.monotonic() - began,
    )


async def ending_and_instant(manager: JobManager, one: Model[[str], str, object], what: str) -> tuple[Job, float]:
    """Run one greedy job; return how it ended, and when."""
    handle = await manager.submit(one, what)
    with contextlib.suppress(JobFailed):
        await handle.result(timeout=PATIENCE_SECONDS)
    return await manager.get(handle.id), time.monotonic()


def is_out_of_memory(job: Job) -> bool:
    return job.status == "failed" and job.error is not None and job.error.code == "out_of_memory"


def batch_size(one: Model[[str], str, object]) -> int:
    return 1 if one.batch is None else one.batch.max_size
