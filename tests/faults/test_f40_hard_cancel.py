"""F40: a canceled job that neither looks nor listens is ended by force soon, and its slot goes on at once."""

from __future__ import annotations

import asyncio
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import JobManager, model
from asyncinfer.abc import Call, CallItem
from asyncinfer_process import ProcessExecutor
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Line, Testimony
from tests.faults.harness.worker_faults import SETUP_SECONDS, WITNESSES, SlowToLoad

pytestmark = pytest.mark.fault

ROUNDS = {"pr": 1, "rel": 20}
CANCEL_GRACE = 0.3
KILL_AFTER = 1.0
LATE_SECONDS = 1.0
START_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
STUBBORN = ("a long C call", "a long C call without SIGTERM")

slow_to_load = model(SlowToLoad, name="slow_to_load", executor="process")


class Figures(Struct, frozen=True, kw_only=True):
    rounds: int
    spares: int
    not_canceled: int
    kill_seconds_p50: float
    """From the end of the cancel grace to that of the process."""
    kill_seconds_max: float
    deaf_kill_seconds_p50: float
    """The same of a process that ignores SIGTERM."""
    deaf_kill_seconds_max: float
    start_seconds_p50: float
    """From the end of the process to the start of the next job, whose model takes 3 s to load."""
    start_seconds_max: float
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    slowest = max(figures.kill_seconds_max, figures.deaf_kill_seconds_max)
    promises = {
        "a canceled job ends canceled": figures.not_canceled == 0,
        "its process ends within kill_after + 1 s": slowest <= KILL_AFTER + LATE_SECONDS,
        "the next job of its slot starts within 2 s": figures.start_seconds_max <= START_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_hard_cancel_ends_what_holds_the_lock_and_the_slot_goes_on(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, STUBBORN * ROUNDS[size], spares=1)
    publish("F40", size, figures)
    assert verdict(figures) == []


async def test_canary_without_a_spare_the_slot_waits_for_a_setup(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, STUBBORN[:1], spares=0)
    assert "the next job of its slot starts within 2 s" in verdict(figures)


async def test_canary_a_soft_cancel_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cancels_soft(monkeypatch)
    figures = await scenario(tmp_path, STUBBORN[:1], spares=0)
    assert "its process ends within kill_after + 1 s" in verdict(figures)


def make_cancels_soft(patch: pytest.MonkeyPatch) -> None:
    cancel = ProcessExecutor.cancel

    def soft(self: ProcessExecutor, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        cancel(self, call, item)

    patch.setattr(ProcessExecutor, "cancel", soft)


class Round(Struct, frozen=True):
    kind: str
    is_canceled: bool
    kill_seconds: float
    start_seconds: float


async def scenario(folder: Path, kinds: Sequence[str], *, spares: int) -> Figures:
    """Cancel stubborn jobs, one after the other, each with a job waiting behind it."""
    began = time.monotonic()
    testimony = Testimony(folder / "witnesses")
    executor = ProcessExecutor(1, spares=spares, kill_after=KILL_AFTER, env={WITNESSES: str(folder / "witnesses")})
    async with JobManager(
        "memory://",
        models=[slow_to_load],
        executors={"process": executor},
        cancel_grace=CANCEL_GRACE,
        drain_grace=0.0,
    ) as manager:
        rounds = [await cancel_one(manager, executor, testimony, kind, spares) for kind in kinds]
    heeding = [one.kill_seconds for one in rounds if one.kind == STUBBORN[0]]
    deaf = [one.kill_seconds for one in rounds if one.kind == STUBBORN[1]]
    starts = [one.start_seconds for one in rounds]
    return Figures(
        rounds=len(rounds),
        spares=spares,
        not_canceled=sum(not one.is_canceled for one in rounds),
        kill_seconds_p50=statistics.median(heeding),
        kill_seconds_max=max(heeding),
        deaf_kill_seconds_p50=statistics.median(deaf or [0.0]),
        deaf_kill_seconds_max=max(deaf, default=0.0),
        start_seconds_p50=statistics.median(starts),
        start_seconds_max=max(starts),
        seconds=time.monotonic() - began,
    )


async def cancel_one(
    manager: JobManager, executor: ProcessExecutor, testimony: Testimony, kind: str, spares: int
) -> Round:
    """Cancel a job that runs, and wait for the one behind it; neither is waited for without end."""
    stubborn = await manager.submit(slow_to_load, kind)
    behind = await manager.submit(slow_to_load, "none")
    await until(lambda: stubborn.id in begun(testimony), PATIENCE_SECONDS, what="the job begins")
    await until(lambda: loaded(executor) == 1 + spares, PATIENCE_SECONDS, what="the spares are warm")
    pid = begun(testimony)[stubborn.id].pid
    await stubborn.cancel()
    grace_ends = time.monotonic() + CANCEL_GRACE
    ended = await end_of(pid, CANCEL_GRACE + KILL_AFTER + 2 * LATE_SECONDS)
    has_begun = await came_true(lambda: behind.id in begun(testimony), 0.0 if math.isinf(ended) else 2 * SETUP_SECONDS)
    record = await manager.get(stubborn.id)
    return Round(
        kind,
        is_canceled=record.status == "canceled",
        kill_seconds=ended - grace_ends,
        start_seconds=begun(testimony)[behind.id].at - ended if has_begun else math.inf,
    )


async def end_of(pid: int, within: float) -> float:
    """Return when a process ends; infinite if it does not in time."""
    process, has_ended = os.pidfd_open(pid), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(process, has_ended.set)
    try:
        async with asyncio.timeout(within):
            await has_ended.wait()
        return time.monotonic()
    except TimeoutError:
        return math.inf
    finally:
        loop.remove_reader(process)
        os.close(process)


def begun(testimony: Testimony) -> Mapping[str, Line]:
    return {line.job: line for line in testimony.lines("begin")}


def loaded(executor: ProcessExecutor) -> int:
    """Return how many processes have the model loaded."""
    assert executor._fleet is not None
    return sum(member.loading is None and not member.worker.is_leaving for member in executor._fleet._members)
