"""F18: a fatal error of a device ends its worker process; the slot is recycled, and what was in flight is charged once.

The device is a stand-in in the worker process: a fatal error spoils it for as long as the process lives, and the model
ends that with SIGABRT. What waits for the CUDA backend: that the executor itself tells a fatal error from a transient
one (`device_lost`) and ends the process, on `FakeDevice` and on hardware.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import Batch, JobFailed, JobManager, model
from asyncinfer_process import ProcessExecutor
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.neighbours import ending_of, neighbours
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Testimony
from tests.faults.harness.worker_faults import FATAL, TRANSIENT, WITNESSES, OnDevice
from tests.faults.harness.worker_lives import births, deaths, not_ended, replacement_seconds

pytestmark = pytest.mark.fault

SLOTS = 2
BATCH = 4
ERRORS = {"pr": 5, "rel": 100}
NEXT = 100
RECYCLED_SECONDS = 5.0
PATIENCE_SECONDS = 60.0

on_device = model(OnDevice, name="on_device", executor="process", batch=Batch(max_size=BATCH))


class Figures(Struct, frozen=True, kw_only=True):
    fatal_errors: int
    deaths: int
    in_flight: int
    """Attempts that died with their process."""
    charged_wrongly: Mapping[str, str]
    """Jobs with another number of crashes than attempts that died, and how they ended."""
    jobs: int
    jobs_failed: int
    after_the_last: int
    """Jobs that succeeded in a process that began after the last death."""
    recycled_seconds_max: float
    """From a death to the first job in the process that makes up for it."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "a fatal error ends its process": figures.deaths == figures.fatal_errors,
        "the slot is recycled within 5 s": figures.recycled_seconds_max <= RECYCLED_SECONDS,
        "each job in flight is charged one crash, and no other": not figures.charged_wrongly,
        "every job succeeds": figures.jobs_failed == 0,
        "so do the next 100": figures.after_the_last >= NEXT,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_fatal_error_recycles_its_slot(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, ERRORS[size])
    publish("F18", size, figures)
    assert verdict(figures) == []


async def test_canary_a_fatal_error_taken_for_transient_fails_the_next(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, 1, is_taken_for_transient=True)
    assert {"a fatal error ends its process", "every job succeeds"} <= set(verdict(figures))


async def scenario(folder: Path, errors: int, *, is_taken_for_transient: bool = False) -> Figures:
    """Let one fatal error follow the other, among neighbours, and count on."""
    began = time.monotonic()
    testimony = Testimony(folder / "witnesses")
    env = {WITNESSES: str(folder / "witnesses"), **({TRANSIENT: "1"} if is_taken_for_transient else {})}
    executor = ProcessExecutor(SLOTS, env=env)
    async with JobManager("memory://", models=[on_device], executors={"process": executor}, drain_grace=0.0) as manager:
        async with neighbours(manager, on_device, clients=2 * SLOTS * BATCH) as handles:
            await until(lambda: len(births(testimony.lines())) == SLOTS, PATIENCE_SECONDS, what="every slot is warm")
            spoilt = [await manager.submit(on_device, FATAL)]
            for _ in range(errors - 1):
                await came_true(lambda: len(deaths(testimony.lines(), {FATAL})) == len(spoilt), PATIENCE_SECONDS)
                spoilt.append(await manager.submit(on_device, FATAL))
            for handle in spoilt:
                with contextlib.suppress(JobFailed):
                    await handle
            if not is_taken_for_transient:
                await came_true(lambda: recycled_seconds(testimony) < math.inf, 2 * RECYCLED_SECONDS)
            so_far = len(handles)
            await came_true(lambda: len(handles) >= so_far + NEXT + 2 * SLOTS * BATCH, PATIENCE_SECONDS)
        jobs = [await manager.get(handle.id) for handle in (*spoilt, *handles)]
    lines = testimony.lines()
    died = Counter(line.job for line in not_ended(lines))
    last = max((line.at for line in deaths(lines, {FATAL})), default=math.inf)
    return Figures(
        fatal_errors=errors,
        deaths=len(deaths(lines, {FATAL})),
        in_flight=died.total(),
        charged_wrongly={job.id: ending_of(job) for job in jobs if job.crashes != died[job.id]},
        jobs=len(jobs),
        jobs_failed=sum(job.status != "succeeded" for job in jobs),
        after_the_last=sum(line.event == "end" and line.at > last for line in lines),
        recycled_seconds_max=recycled_seconds(testimony),
        seconds=time.monotonic() - began,
    )


def recycled_seconds(testimony: Testimony) -> float:
    return replacement_seconds(testimony.lines(), {FATAL}, SLOTS)
