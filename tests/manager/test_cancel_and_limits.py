"""Cancel, time limits, full queues, pauses, and who may see what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from asyncinfer import (
    JobCanceled,
    JobFailed,
    JobFilter,
    JobManager,
    Limits,
    QueueFull,
    QueueLimits,
    UnknownJob,
)
from asyncinfer.errors import AsyncinferError, InvalidOption, JobExpired, QuotaExceeded
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from tests.manager.models import double, echo, polls_for_cancel, waits_for_ever
from tests.manager.steps import running

OpenManager = Callable[..., JobManager]


async def refusal(answer: Awaitable[object]) -> AsyncinferError:
    """Return what the answer raises."""
    with pytest.raises(AsyncinferError) as caught:
        await answer
    return caught.value


async def test_a_waiting_job_is_canceled_at_once(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(delay=60), "never")
    assert await handle.cancel() == "canceled"
    with pytest.raises(JobCanceled):
        await handle


async def test_a_running_coroutine_is_canceled(manager: JobManager) -> None:
    handle = await manager.submit(waits_for_ever)
    await running(handle)
    assert await handle.cancel() == "requested"
    with pytest.raises(JobCanceled):
        await handle
    assert await handle.status() == "canceled"


async def test_a_running_thread_is_canceled_when_it_looks(manager: JobManager) -> None:
    handle = await manager.submit(polls_for_cancel)
    await running(handle)
    assert await handle.cancel() == "requested"
    with pytest.raises(JobCanceled):
        await handle


async def test_an_ended_job_cannot_be_canceled(manager: JobManager) -> None:
    handle = await manager.submit(echo, "done")
    await handle
    assert await handle.cancel() == "terminal"


async def test_every_job_of_a_label_is_canceled(manager: JobManager) -> None:
    late = echo.options(delay=60, labels={"run": "a"})
    handles = await manager.submit_many([late.bind(str(number)) for number in range(5)])
    other = await manager.submit(echo.options(delay=60, labels={"run": "b"}), "other")
    canceled = await manager.cancel_all(JobFilter(labels={"run": "a"}))
    assert sorted(canceled) == sorted(handle.id for handle in handles)
    assert await other.status() == "queued"


async def test_an_empty_filter_changes_nothing(manager: JobManager) -> None:
    for change in (manager.cancel_all, manager.retry_all, manager.delete_all):
        with pytest.raises(InvalidOption, match="matching"):
            await change(JobFilter())


async def test_the_time_limit_ends_a_coroutine(manager: JobManager) -> None:
    handle = await manager.submit(waits_for_ever.options(time_limit=0.05))
    with pytest.raises(JobFailed, match=r"0\.05 s") as caught:
        await handle
    assert caught.value.code == "time_limit"


async def test_the_time_limit_ends_the_job_of_a_thread(manager: JobManager) -> None:
    handle = await manager.submit(polls_for_cancel.options(time_limit=0.05))
    with pytest.raises(JobFailed) as caught:
        await handle
    assert caught.value.code == "time_limit"


async def test_an_ended_job_can_be_run_again_as_a_new_one(manager: JobManager) -> None:
    handle = await manager.submit(double, 21)
    await handle
    again = await manager.retry(handle.id)
    assert await again == 42
    job = await manager.get(again.id)
    assert (job.retry_of, job.id != handle.id) == (handle.id, True)


async def test_a_job_forgotten_while_it_is_run_again_is_expired() -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo]) as manager, asyncio.TaskGroup() as group:
            handle = await manager.submit(echo, "done")
            await handle
            hang = faulty.hang("submissions")
            again = group.create_task(refusal(manager.retry(handle.id)))
            await hang.reached.wait()
            await manager.delete(handle.id)
            hang.release()
            assert isinstance(await again, JobExpired)


async def test_a_full_queue_refuses_and_says_when_to_try_again(open_manager: OpenManager) -> None:
    async with open_manager(echo, limits=Limits(queued_jobs=2), run_jobs=True) as manager:
        await manager.pause("default")
        await manager.submit(echo, "1")
        await manager.submit(echo, "2")
        with pytest.raises(QueueFull) as caught:
            await manager.submit(echo, "3")
        assert caught.value.limit == "queued_jobs"
        assert 1 <= caught.value.retry_after <= 60


async def test_a_submit_may_wait_for_room(open_manager: OpenManager) -> None:
    async with open_manager(echo, limits=Limits(queued_jobs=2)) as manager:
        await manager.pause("default")
        first = [await manager.submit(echo, str(number)) for number in range(2)]
        waiting = asyncio.create_task(manager.submit(echo.options(wait_for_room=True), "3"))
        await asyncio.sleep(0)
        assert not waiting.done()
        await manager.resume("default")
        assert await asyncio.gather(*first, await waiting) == ["0", "1", "3"]


async def test_what_submit_many_stored_is_not_lost_with_a_refusal(open_manager: OpenManager) -> None:
    async with open_manager(echo, limits=Limits(queued_jobs=2)) as manager:
        await manager.pause("default")
        with pytest.raises(QueueFull) as caught:
            await manager.submit_many([echo.bind(str(number)) for number in range(4)])
        assert sorted(caught.value.accepted) == [0, 1]
        await manager.resume("default")
        assert await asyncio.gather(*caught.value.accepted.values()) == ["0", "1"]


async def test_a_quota_refuses_one_owner_and_not_another(open_manager: OpenManager) -> None:
    async with open_manager(echo, limits=Limits(owner_queued_jobs=1)) as manager:
        await manager.pause("default")
        ann, bob = manager.scoped("ann"), manager.scoped("bob")
        await ann.submit(echo, "1")
        with pytest.raises(QuotaExceeded, match="ann"):
            await ann.submit(echo, "2")
        await bob.submit(echo, "1")


async def test_a_queue_has_limits_of_its_own(open_manager: OpenManager) -> None:
    from asyncinfer import model

    @model(queue="slow")
    async def slow(text: str) -> str:
        return text

    async with open_manager(echo, slow, limits=Limits(queues={"slow": QueueLimits(queued_jobs=0)})) as manager:
        with pytest.raises(QueueFull, match="slow"):
            await manager.submit(slow, "refused")
        assert await (await manager.submit(echo, "accepted")) == "accepted"


async def test_a_paused_queue_starts_nothing_until_it_is_resumed(manager: JobManager) -> None:
    await manager.pause("default")
    handle = await manager.submit(echo, "hi")
    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.05)
    await manager.resume("default")
    assert await handle == "hi"


async def test_an_owner_sees_only_its_own_jobs(manager: JobManager) -> None:
    ann, bob = manager.scoped("ann"), manager.scoped("bob")
    handle = await ann.submit(echo, "secret")
    assert await handle == "secret"
    with pytest.raises(UnknownJob):
        await bob.get(handle.id)
    with pytest.raises(UnknownJob):
        await bob.cancel(handle.id)
    assert [job.id for job in (await ann.find()).jobs] == [handle.id]
    assert not (await bob.find()).jobs
    assert [job.owner for job in (await manager.find()).jobs] == ["ann"]


async def test_jobs_are_found_newest_first_page_by_page(manager: JobManager) -> None:
    handles = await manager.submit_many([echo.options(delay=60).bind(str(number)) for number in range(25)])
    page = await manager.find(limit=10)
    rest = await manager.find(after=page.next_cursor, limit=100)
    found = [job.id for job in [*page.jobs, *rest.jobs]]
    assert found == sorted((handle.id for handle in handles), reverse=True)
    assert rest.next_cursor is None


async def test_counts_tell_where_jobs_stand(manager: JobManager) -> None:
    await (await manager.submit(echo, "done"))
    await manager.submit(echo.options(delay=60), "later")
    (counts,) = [count for count in await manager.counts() if count.model == "echo"]
    assert (counts.queued, counts.running, counts.succeeded) == (1, 0, 1)


async def test_purge_cancels_what_waits(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(delay=60), "never")
    assert await manager.purge("default") == [handle.id]
    assert await handle.status() == "canceled"


async def test_a_deleted_job_is_forgotten(manager: JobManager) -> None:
    handle = await manager.submit(echo, "done")
    await handle
    assert await manager.delete(handle.id) == "deleted"
    with pytest.raises(LookupError):
        await manager.get(handle.id)


async def test_concurrency_bounds_a_model(open_manager: OpenManager) -> None:
    from asyncinfer import model

    now = most = 0

    @model(concurrency=3)
    async def counted(step: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return step

    async with open_manager(counted) as manager:
        handles = await manager.submit_many([counted.bind(step) for step in range(50)])
        assert await asyncio.gather(*handles) == list(range(50))
    assert most == 3


async def test_concurrency_bounds_a_manager(open_manager: OpenManager) -> None:
    from asyncinfer import model

    now = most = 0

    @model
    async def counted(step: int) -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return step

    async with open_manager(counted, concurrency=2) as manager:
        handles = await manager.submit_many([counted.bind(step) for step in range(50)])
        await asyncio.gather(*handles)
    assert most == 2
