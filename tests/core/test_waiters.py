"""What a manager remembers of the jobs that it submitted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from asyncinfer._job import JobKey
from asyncinfer._services import waiters
from asyncinfer._services.waiters import Ending, Waiters
from asyncinfer.abc import Limits
from asyncinfer.testing import FakeClock
from asyncinfer.testing.builders import new_jobs
from asyncinfer_memory import MemoryStore

SUCCEEDED = Ending("succeeded", b"\x2a", None)


def new_waiters(*, remembers: bool = True) -> Waiters:
    clock = FakeClock()
    return Waiters(MemoryStore(clock), clock, remembers=remembers)


async def test_an_ending_reaches_a_handle_before_anybody_waits() -> None:
    here = new_waiters()
    waiter = here.submitted("", "job_1")
    here.ended(JobKey("", "job_1"), SUCCEEDED)
    assert waiter.ending == SUCCEEDED


async def test_two_owners_with_one_id_get_their_own_endings() -> None:
    here = new_waiters()
    ours, theirs = here.submitted("us", "same"), here.submitted("them", "same")
    here.ended(JobKey("them", "same"), SUCCEEDED)
    assert ours.ending is None
    assert theirs is not ours


async def test_an_ended_job_is_not_remembered() -> None:
    here = new_waiters()
    waiter = here.submitted("", "job_1")
    here.ended(JobKey("", "job_1"), SUCCEEDED)
    assert here.waiter(JobKey("", "job_1")) is not waiter


async def test_a_refused_job_is_not_remembered() -> None:
    here = new_waiters()
    waiter = here.submitted("", "job_1")
    here.forget(waiter)
    assert here.waiter(JobKey("", "job_1")) is not waiter


async def test_who_runs_nothing_remembers_nothing() -> None:
    here = new_waiters(remembers=False)
    waiter = here.submitted("", "job_1")
    assert here.waiter(JobKey("", "job_1")) is not waiter


async def test_the_oldest_of_very_many_jobs_are_forgotten() -> None:
    here = new_waiters()
    first = here.submitted("", "first")
    for number in range(2 * waiters.SUBMITTED_KEPT):
        here.submitted("", f"job_{number}")
    assert here.waiter(JobKey("", "first")) is not first
    newest = here.submitted("", "newest")
    assert here.waiter(JobKey("", "newest")) is newest


async def test_large_results_of_live_handles_are_bounded() -> None:
    here = new_waiters()
    large = Ending("succeeded", bytes(waiters.KEPT_RESULT_BYTES // 2 + 1), None)
    one, other = here.submitted("", "one"), here.submitted("", "other")
    here.ended(JobKey("", "one"), large)
    here.ended(JobKey("", "other"), large)
    assert one.ending == large
    assert other.ending == Ending("succeeded", None, None)


async def test_a_dropped_handle_makes_room_for_another_result() -> None:
    here = new_waiters()
    large = Ending("succeeded", bytes(waiters.KEPT_RESULT_BYTES // 2 + 1), None)
    one = here.submitted("", "one")
    here.ended(JobKey("", "one"), large)
    del one
    other = here.submitted("", "other")
    here.ended(JobKey("", "other"), large)
    assert other.ending == large


class VagueStore(MemoryStore):
    """Hints that something has changed, as a store does whose other users are other processes."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.changed = asyncio.Event()

    async def changes(self) -> AsyncIterator[None]:
        while True:
            await self.changed.wait()
            self.changed.clear()
            yield None


async def test_a_hint_that_names_no_job_reaches_the_last_of_very_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiters, "LOOK_UP", 10)
    clock = FakeClock()
    async with VagueStore(clock) as store, asyncio.TaskGroup() as group:
        here = Waiters(store, clock, remembers=False)
        services = [group.create_task(here.poll()), group.create_task(here.follow(lambda keys: None))]
        jobs = new_jobs(35)
        await store.insert(jobs, Limits())
        waits = [group.create_task(here.wait(here.waiter(job.job_key))) for job in jobs]
        await clock.advance(0)
        await store.request_cancel([job.job_key for job in jobs])
        store.changed.set()
        await clock.advance(0)
        assert all(wait.done() for wait in waits)
        for service in services:
            service.cancel()


async def test_a_hint_that_comes_in_the_pause_after_a_look_is_looked_after_when_it_ends() -> None:
    clock = FakeClock()
    async with VagueStore(clock) as store, asyncio.TaskGroup() as group:
        here = Waiters(store, clock, remembers=False)
        here._rested_at = clock.monotonic() + 0.4
        services = [group.create_task(here.poll()), group.create_task(here.follow(lambda keys: None))]
        (job,) = new_jobs(1)
        await store.insert([job], Limits())
        wait = group.create_task(here.wait(here.waiter(job.job_key)))
        await clock.advance(0)
        await store.request_cancel([job.job_key])
        store.changed.set()
        await clock.advance(0.3)
        assert not wait.done()
        await clock.advance(0.2)
        assert wait.done()
        for service in services:
            service.cancel()
