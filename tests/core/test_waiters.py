"""What a manager remembers of the jobs that it submitted."""

from __future__ import annotations

from asyncinfer._job import JobKey
from asyncinfer._services import waiters
from asyncinfer._services.waiters import Ending, Waiters
from asyncinfer.testing import FakeClock
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
