"""F39: worker processes break in every way, in random order; each takes its own job along and leaves nothing behind.

A grandchild that has left its group cannot be ended by it: what must hold is that it keeps nobody waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import Job, JobFailed, JobManager, model
from asyncinfer_process import ProcessExecutor, _channel, _worker
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.holdings import Holdings, holdings, of_workers
from tests.faults.harness.neighbours import neighbours
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Testimony
from tests.faults.harness.worker_faults import WITNESSES, run

pytestmark = pytest.mark.fault

INJECTIONS = {"pr": 60, "rel": 1_000}
AT_ONCE = 3
SLOTS = 3
NEIGHBOURS = 100
TIME_LIMIT = 0.5
KILL_AFTER = 0.5
ENDED_SECONDS = 2.0
PATIENCE_SECONDS = 60.0

DIED = "failed crash_budget"
ENDINGS: Mapping[str, tuple[str, str]] = {
    "SIGKILL": (DIED, "died of SIGKILL"),
    "segfault": (DIED, "died of SIGSEGV"),
    "os._exit": (DIED, "exited with status 7"),
    "os.abort": (DIED, "died of SIGABRT"),
    "half a frame": (DIED, "died of SIGKILL"),
    "output, then death": (DIED, "died of SIGKILL"),
    "hang": ("failed time_limit", "longer than its time_limit"),
    "a result that cannot be encoded": ("failed result_unserializable", ""),
    "a grandchild": (DIED, "died of SIGKILL"),
    "a grandchild in a session": (DIED, "died of SIGKILL"),
    "a grandchild that stays": ("succeeded", ""),
    "a closed socket": (DIED, "it closed its connection"),
    "an oversized head": (DIED, "a frame begins with"),
    "an oversized part": (DIED, "a frame has a part above"),
    "a garbage frame": (DIED, "a frame begins with"),
    "a garbage head": (DIED, "a frame has no readable head"),
    "an answer out of turn": (DIED, "it has loaded a model that it was not asked for"),
    "an answer for other jobs": (DIED, "it ended more or fewer jobs than it was given"),
}
"""How a job ends that does such a thing to its process, and what its error says of that."""

fragile = model(run, name="fragile", executor="process", crash_budget=1)


class Figures(Struct, frozen=True, kw_only=True):
    seed: int
    injections: int
    wrong_endings: Mapping[str, str]
    """Jobs that did not end as they should, or whose error does not say why."""
    ended_seconds_max: float
    """From the start of a broken job to its ending in hand."""
    neighbours: int
    neighbours_failed: int
    """A job with a budget of one crash fails of the first that is charged to it."""
    descriptors_leaked: int
    threads_leaked: int
    processes_leaked: int
    """Children, and members of the group of a worker process that is gone."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    leaked = figures.descriptors_leaked, figures.threads_leaked, figures.processes_leaked
    promises = {
        "the touched job ends as it should, and says why": not figures.wrong_endings,
        "it ends within 2 s": figures.ended_seconds_max <= ENDED_SECONDS,
        "its neighbours succeed": figures.neighbours_failed == 0 and figures.neighbours >= NEIGHBOURS,
        "nothing is left behind": leaked == (0, 0, 0),
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_broken_worker_takes_its_own_job_along_and_nothing_else(size: Size, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    figures = await scenario(tmp_path, in_random_order(INJECTIONS[size], seed), seed)
    publish("F39", size, figures)
    assert verdict(figures) == []


async def test_canary_a_kill_of_the_process_alone_leaves_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "killpg", os.kill)
    figures = await scenario(tmp_path, ["a grandchild"])
    assert "nothing is left behind" in verdict(figures)
    assert figures.processes_leaked == 1


async def test_canary_the_end_of_a_socket_tells_of_no_death_while_a_grandchild_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen_to_the_socket_alone(monkeypatch)
    figures = await scenario(tmp_path, ["a grandchild"])
    assert "it ends within 2 s" in verdict(figures)


async def test_canary_a_frame_without_bounds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_channel, "MAX_HEAD", 2**32)
    figures = await scenario(tmp_path, ["an oversized head"])
    assert "it ends within 2 s" in verdict(figures)


def listen_to_the_socket_alone(patch: pytest.MonkeyPatch) -> None:
    """Take a process for dead when its socket has ended, as `multiprocessing` does with its pipes."""
    hung_up = _worker.Worker._hung_up

    def unwatched(
        process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]
    ) -> None:
        return

    def hung_up_and_gone(self: _worker.Worker, why: str) -> None:
        hung_up(self, why)
        self._exited()

    patch.setattr(_worker, "watch", unwatched)
    patch.setattr(_worker.Worker, "_hung_up", hung_up_and_gone)


def in_random_order(count: int, seed: int) -> Sequence[str]:
    """Return so many injections, each kind about as often."""
    kinds = list(ENDINGS)
    injections = [kinds[number % len(kinds)] for number in range(count)]
    random.Random(seed).shuffle(injections)
    return injections


class Injected(Struct, frozen=True):
    kind: str
    job: Job
    ended_at: float


async def scenario(folder: Path, injections: Sequence[str], seed: int = 0) -> Figures:
    """Break workers, some at a time, among neighbours in the same executor; count what is held before and after."""
    began = time.monotonic()
    testimony = Testimony(folder / "witnesses")
    executor = ProcessExecutor(SLOTS, kill_after=KILL_AFTER, env={WITNESSES: str(folder / "witnesses")})
    closed_before = holdings()
    async with JobManager("memory://", models=[fragile], executors={"process": executor}, drain_grace=0.0) as manager:
        async with neighbours(manager, fragile, clients=SLOTS) as handles:
            await until(lambda: is_warm(executor), PATIENCE_SECONDS, what="every slot is warm")
        open_before = holdings()
        async with neighbours(manager, fragile, clients=SLOTS) as more:
            waiting = list(reversed(injections))
            injected: list[Injected] = []
            await asyncio.gather(*(inject(manager, waiting, injected) for _ in range(AT_ONCE)))
            await came_true(lambda: len(more) >= NEIGHBOURS, PATIENCE_SECONDS)
            await came_true(lambda: is_warm(executor), ENDED_SECONDS)
        open_after = await settled(open_before)
        beside = [await manager.get(handle.id) for handle in (*handles, *more)]
    closed_after = await settled(closed_before)
    orphans = of_workers({line.pid for line in testimony.lines()})
    end(orphans)
    begun = {line.job: line.at for line in testimony.lines("begin")}
    return Figures(
        seed=seed,
        injections=len(injected),
        wrong_endings={one.kind: said(one.job) for one in injected if not is_right(one)},
        ended_seconds_max=max(one.ended_at - begun[one.job.id] for one in injected),
        neighbours=len(beside),
        neighbours_failed=sum(job.status != "succeeded" for job in beside),
        descriptors_leaked=max(
            open_after.descriptors - open_before.descriptors, closed_after.descriptors - closed_before.descriptors
        ),
        threads_leaked=max(open_after.threads - open_before.threads, closed_after.threads - closed_before.threads),
        processes_leaked=max(open_after.children - open_before.children, closed_after.children - closed_before.children)
        + len(orphans),
        seconds=time.monotonic() - began,
    )


async def inject(manager: JobManager, waiting: list[str], injected: list[Injected]) -> None:
    """Run one broken job after the other; one that does not end in time is left to the end of the manager."""
    while waiting:
        kind = waiting.pop()
        handle = await manager.submit(fragile.options(time_limit=TIME_LIMIT if kind == "hang" else None), kind)
        with contextlib.suppress(JobFailed, TimeoutError):
            await handle.result(timeout=ENDED_SECONDS + 0.5)
        ended_at = time.monotonic()
        injected.append(Injected(kind, await manager.get(handle.id), ended_at))


def is_warm(executor: ProcessExecutor) -> bool:
    """Tell whether every slot has a process with the model loaded."""
    fleet = executor._fleet
    assert fleet is not None
    return sum(member.loading is None and member.is_idle for member in fleet._members) == SLOTS


async def settled(before: Holdings) -> Holdings:
    """Return what is held once it is no more than before, or after a while: what has just ended may take a moment."""
    await came_true(lambda: holdings() == before, ENDED_SECONDS)
    return holdings()


def end(pids: Collection[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_right(one: Injected) -> bool:
    status, words = ENDINGS[one.kind]
    return said(one.job).startswith(status) and words in said(one.job)


def said(job: Job) -> str:
    return job.status if job.error is None else f"{job.status} {job.error.code}: {job.error.message}"
