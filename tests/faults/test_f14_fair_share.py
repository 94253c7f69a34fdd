"""F14: an owner with ten thousand waiting jobs does not make another owner's ten wait.

On a fake clock every job takes exactly one second, so that the figures are of the order of claims and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec import Struct

from asyncinfer import JobHandle, JobManager, Limits, lifecycle, model
from asyncinfer.abc import JobStore
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.faults.harness.figures import Size, publish

pytestmark = pytest.mark.fault

JOB_SECONDS = 1.0
SLOTS = 4
BACKLOG = {"pr": 10_000, "rel": 100_000}
JOBS_OF_B = 10


class Figures(Struct, frozen=True):
    """Seconds from submit to start, the slowest of owner B's ten jobs."""

    backlog_of_a: int
    unloaded: float
    loaded: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    if figures.loaded <= 2 * figures.unloaded + JOB_SECONDS:
        return []
    return ["another owner's backlog costs at most twice the unloaded wait and one job"]


async def test_a_backlog_of_one_owner_does_not_hold_up_another(size: Size) -> None:
    figures = await scenario(BACKLOG[size])
    publish("F14", size, figures)
    assert verdict(figures) == []


async def test_canary_first_come_first_served_holds_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = iter(range(1_000_000))

    def in_order_of_arrival(virtual_time: float, flow_end: float, priority: int) -> tuple[float, float]:
        tag = float(next(arrivals))
        return tag, tag

    monkeypatch.setattr(lifecycle, "next_tag", in_order_of_arrival)
    assert verdict(await scenario(backlog=200)) != []


async def scenario(backlog: int) -> Figures:
    """Return how long B's jobs wait alone, and behind A's."""
    return Figures(backlog, await slowest_start(0), await slowest_start(backlog))


async def slowest_start(backlog: int) -> float:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store:
        return await _slowest_start(clock, store, backlog)


async def _slowest_start(clock: FakeClock, store: JobStore, backlog: int) -> float:
    @model(concurrency=SLOTS)
    async def takes_a_second(number: int) -> int:
        await clock.sleep(JOB_SECONDS)
        return number

    limits = Limits(queued_jobs=2 * backlog + 100)
    async with JobManager(store, models=[takes_a_second], limits=limits, drain_grace=0) as manager:
        await manager.scoped("a").submit_many(takes_a_second.bind(number) for number in range(backlog))
        await clock.advance(2.5)  # A's jobs run, and the slots are taken when B comes
        submitted_at = clock.now()
        handles = await manager.scoped("b").submit_many(takes_a_second.bind(number) for number in range(JOBS_OF_B))
        starts = await _starts(clock, handles)
    return (max(starts) - submitted_at) / 1000


async def _starts(clock: FakeClock, handles: Iterable[JobHandle[int]]) -> list[int]:
    starts: list[int] = []
    for handle in handles:
        while (started_at := (await handle.job()).started_at) is None:
            await clock.advance(JOB_SECONDS)
        starts.append(started_at)
    return starts
