"""F11: a clock that jumps or stands still ends no live job and keeps none.

Two managers share a store on a fake clock. One runs jobs and beats; the other only watches. A third worker has claimed
a job and died. Wall time jumps by an hour and a day, both ways, and freezes; monotonic time goes on.
"""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Struct

from asyncinfer import JobKey, JobManager, Limits, model
from asyncinfer._services.rescuer import Rescuer
from asyncinfer.testing import FakeClock
from asyncinfer.testing.builders import new_job, request, room
from asyncinfer_memory import MemoryStore
from tests.faults.harness.figures import Size, publish

pytestmark = pytest.mark.fault

LEASE = 60.0
HOUR, DAY = 3_600.0, 86_400.0
JUMPS = (HOUR, DAY, -HOUR, -DAY)
LIVE = 20


class Figures(Struct, frozen=True):
    """Seconds are of the monotonic clock."""

    rescued_alive: int
    """Jobs of the living manager that began a second attempt."""
    failed_alive: int
    lost_job_back_after: float
    """How long the dead worker's job waited until it was queued again."""
    finished: int


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.rescued_alive or figures.failed_alive:
        broken.append("no live job is rescued or ended")
    if figures.lost_job_back_after > 2 * LEASE:
        broken.append("a lost job is queued again within two leases")
    if figures.finished != LIVE:
        broken.append("every job ends")
    return broken


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("jump", JUMPS)
async def test_a_jumping_clock_ends_no_live_job_and_keeps_none(jump: float, frozen: bool, size: Size) -> None:
    figures = await scenario(jump, is_frozen=frozen)
    publish("F11", size, figures)
    assert verdict(figures) == []


async def test_canary_a_rescuer_that_trusts_wall_time_takes_live_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    last: dict[Rescuer, float] = {}

    def elapsed_wall_time(self: Rescuer) -> tuple[float, bool]:
        now = self._clock.now() / 1000
        elapsed, last[self] = now - last.get(self, now), now
        return elapsed, False

    monkeypatch.setattr(Rescuer, "_elapsed", elapsed_wall_time)
    figures = await scenario(HOUR, is_frozen=False)
    assert "no live job is rescued or ended" in verdict(figures)


async def scenario(jump: float, *, is_frozen: bool) -> Figures:
    """Let the clock jump while jobs run and one is lost; return what became of them."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    release = asyncio.Event()

    @model(time_limit=2 * HOUR)
    async def works(number: int) -> int:
        await release.wait()
        return number

    async with (
        store,
        JobManager(store, models=[works], lease=LEASE) as worker,
        JobManager(store, lease=LEASE, run_jobs=False),
    ):
        handles = await worker.submit_many([works.bind(number) for number in range(LIVE)])
        lost = new_job(model="lost")
        await store.insert([lost], Limits())
        await store.claim([request(room("lost"), worker="wrk_dead", lease=round(LEASE * 1000))])
        back_after = await _time_until_back(clock, store, lost.job_key, jump, is_frozen=is_frozen)
        release.set()
        await _pass(clock, 2, is_frozen=is_frozen)
        jobs = [await worker.get(handle.id) for handle in handles]
    return Figures(
        rescued_alive=sum(job.attempt > 1 or job.crashes > 0 for job in jobs),
        failed_alive=sum(job.status == "failed" for job in jobs),
        lost_job_back_after=back_after,
        finished=sum(job.status == "succeeded" for job in jobs),
    )


async def _time_until_back(clock: FakeClock, store: MemoryStore, key: JobKey, jump: float, *, is_frozen: bool) -> float:
    """Jump, let four leases pass, and return when the lost job was queued again."""
    await _pass(clock, 2, is_frozen=is_frozen)
    clock.jump(jump)
    back_after = float("inf")
    for second in range(round(4 * LEASE)):
        await _pass(clock, 1, is_frozen=is_frozen)
        (job,) = await store.get([key])
        if job is None or job.status != "running":
            back_after = min(back_after, float(second + 3))
    return back_after


async def _pass(clock: FakeClock, seconds: int, *, is_frozen: bool) -> None:
    for _ in range(seconds):
        await clock.advance(1)
        if is_frozen:
            clock.jump(-1)
