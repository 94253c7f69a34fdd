"""F7: what a thread and the loop survive. Code that raises anything at all ends its own job and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

import pytest
from msgspec import Struct

from asyncinfer import JobFailed, JobHandle, JobManager, Model, model
from asyncinfer import _runner as runner_module
from asyncinfer._context import JobContext
from asyncinfer._outcomes import outcome_of
from asyncinfer.abc import Outcome
from asyncinfer_thread._threads import Work
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

NEIGHBOURS = 100
SLOTS = 2
SLOT_SECONDS = 2.0
PATIENCE_SECONDS = 30.0


class Figures(Struct, frozen=True, kw_only=True):
    bad_jobs: int
    wrong_codes: Mapping[str, str]
    """How bad jobs ended that did not end as failed(model_error) at their first attempt."""
    neighbours_failed: int
    slots_lost: int
    slot_seconds: float
    """From the last ending to the moment at which every slot is free."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "bad code ends its own job": not figures.wrong_codes,
        "100 neighbours succeed": figures.neighbours_failed == 0,
        "every slot is back within 2 s": figures.slots_lost == 0 and figures.slot_seconds <= SLOT_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


class OwnBaseError(BaseException):
    """What no `except Exception` catches."""


class Unspeakable(Exception):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise SystemExit("no text")


class Bottomless(Exception):
    """Its text recurses for ever."""

    def __str__(self) -> str:
        return str(self)


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def leave() -> NoReturn:
    sys.exit(3)


def raising(error: BaseException | type[BaseException]) -> Callable[[], object]:
    def bad() -> NoReturn:
        raise error

    return bad


BAD: Mapping[str, Callable[[], object]] = {
    "an exception": raising(ValueError("bad")),
    "sys.exit": leave,
    "KeyboardInterrupt": raising(KeyboardInterrupt),
    "its own BaseException": raising(OwnBaseError("bad")),
    "GeneratorExit": raising(GeneratorExit),
    "CancelledError": raising(asyncio.CancelledError),
    "StopIteration": raising(StopIteration(1)),
    "an exception group": raising(BaseExceptionGroup("both", [OwnBaseError("bad"), ValueError("bad")])),
    "a text that exits": raising(Unspeakable()),
    "a text that recurses": raising(Bottomless()),
    "deep recursion": recurse,
}


@model
def bad_in_thread(kind: str) -> None:
    BAD[kind]()


@model
async def bad_on_loop(kind: str) -> None:
    BAD[kind]()


@model
def thread_neighbour(number: int) -> int:
    return number


@model
async def loop_neighbour(number: int) -> int:
    return number


BAD_MODELS: Mapping[str, Model[[str], None, object]] = {"thread": bad_in_thread, "loop": bad_on_loop}
NEIGHBOUR_MODELS: Mapping[str, Model[[int], int, object]] = {"thread": thread_neighbour, "loop": loop_neighbour}


@pytest.mark.parametrize("executor", ["thread", "loop"])
@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
async def test_bad_code_ends_its_own_job(size: Size, scheme: str, executor: str, tmp_path: Path) -> None:
    url = "memory://" if scheme == "memory" else f"sqlite:///{tmp_path}/jobs.db"
    figures = await scenario(url, executor, tuple(BAD))
    publish(f"F7 {executor} {scheme}", size, figures)
    assert verdict(figures) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_thread_that_lets_sys_exit_through_loses_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    catch_exceptions_only(monkeypatch)
    figures = await scenario("memory://", "thread", ("sys.exit",) * SLOTS, patience=1.0)
    assert {"bad code ends its own job", "100 neighbours succeed"} <= set(verdict(figures))


def catch_exceptions_only(patch: pytest.MonkeyPatch) -> None:
    """Take away what the runner and the thread do about a BaseException."""

    def outcome_or_raise(exc: BaseException, context: JobContext, retry_on: tuple[type[Exception], ...]) -> Outcome:
        if not isinstance(exc, Exception):
            raise exc
        return outcome_of(exc, context, retry_on)

    def call(work: Work[object]) -> None:
        assert work.function is not None
        work.value = work.function()

    patch.setattr(runner_module, "outcome_of", outcome_or_raise)
    patch.setattr(Work, "call", call)


async def scenario(url: str, executor: str, kinds: tuple[str, ...], patience: float = PATIENCE_SECONDS) -> Figures:
    """Put bad jobs between 100 good ones, on as few slots as let a lost one show."""
    began = time.monotonic()
    bad, neighbour = BAD_MODELS[executor], NEIGHBOUR_MODELS[executor]
    manager = JobManager(url, models=[bad, neighbour], concurrency={executor: SLOTS}, drain_grace=0.0)
    async with manager:
        half = NEIGHBOURS // 2
        first = await manager.submit_many([neighbour.bind(number) for number in range(half)])
        bad_handles = await manager.submit_many([bad.bind(kind) for kind in kinds])
        last = await manager.submit_many([neighbour.bind(number) for number in range(half, NEIGHBOURS)])
        handles: list[JobHandle[int] | JobHandle[None]] = [*first, *bad_handles, *last]
        await asyncio.wait([asyncio.ensure_future(settled(handle, patience)) for handle in handles])
        ended = time.monotonic()
        await came_true(lambda: free_slots(manager) == SLOTS, SLOT_SECONDS)
        slot_seconds = time.monotonic() - ended
        endings = [await how_it_ended(manager, handle.id) for handle in bad_handles]
        good = [await how_it_ended(manager, handle.id) for handle in (*first, *last)]
        return Figures(
            bad_jobs=len(kinds),
            wrong_codes={kind: how for kind, how in zip(kinds, endings, strict=True) if how != "failed model_error 1"},
            neighbours_failed=sum(not how.startswith("succeeded") for how in good),
            slots_lost=SLOTS - free_slots(manager),
            slot_seconds=slot_seconds,
            seconds=time.monotonic() - began,
        )


async def settled(handle: JobHandle[int] | JobHandle[None], patience: float) -> None:
    """Wait for the end of a job; the store is asked how it was."""
    with contextlib.suppress(JobFailed, TimeoutError):
        await handle.result(timeout=patience)


async def how_it_ended(manager: JobManager, job_id: str) -> str:
    job = await manager.get(job_id)
    return f"{job.status} {None if job.error is None else job.error.code} {job.attempt}"


def free_slots(manager: JobManager) -> int:
    (busy,) = [pool for pool in manager._core.engine.pools if pool.executor.slots == SLOTS]
    return busy.free
