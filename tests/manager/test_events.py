"""What a job tells while it lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from asyncinfer import (
    JobFailed,
    JobManager,
    Limits,
    OutputEvent,
    ProgressEvent,
    ResetEvent,
    RetryPolicy,
    StatusEvent,
    UnknownJob,
    current_job,
    model,
)
from asyncinfer.errors import StreamReset
from tests.manager.models import counts_down, echo, reports

OpenManager = Callable[..., JobManager]


async def test_the_events_of_a_job_begin_queued_and_end_with_its_ending(manager: JobManager) -> None:
    handle = await manager.submit(echo, "hi")
    events = [event async for event in handle.events()]
    assert [event.status for event in events if isinstance(event, StatusEvent)] == ["queued", "running", "succeeded"]
    assert [event.id for event in events] == sorted({event.id for event in events})


async def test_every_emitted_value_is_kept_in_order(manager: JobManager) -> None:
    handle = await manager.submit(reports, 300)
    await handle
    events = [event async for event in handle.events()]
    assert [event.value for event in events if isinstance(event, OutputEvent)] == list(range(300))


async def test_only_the_latest_progress_is_kept(manager: JobManager) -> None:
    handle = await manager.submit(reports, 300)
    await handle
    reported = [event async for event in handle.events() if isinstance(event, ProgressEvent)]
    assert [event.progress.message for event in reported] == ["step 299"]
    progress = (await manager.get(handle.id)).progress
    assert progress is not None
    assert progress.fraction == 299 / 300


async def test_events_resume_behind_the_last_one_seen(manager: JobManager) -> None:
    handle = await manager.submit(reports, 50)
    await handle
    everything = [event async for event in handle.events()]
    for seen in everything[:-1]:
        rest = [event.id async for event in handle.events(after=seen.id)]
        assert rest == [event.id for event in everything if event.id > seen.id]


async def test_a_generator_streams_what_it_yields(manager: JobManager) -> None:
    handle = await manager.submit(counts_down, 3)
    assert [number async for number in handle.stream()] == [3, 2, 1]
    assert await handle == [3, 2, 1]


async def test_values_arrive_while_the_model_runs(open_manager: OpenManager) -> None:
    go_on = asyncio.Event()

    @model
    async def halts(text: str) -> None:
        current_job().emit(text)
        await go_on.wait()

    async with open_manager(halts) as manager:
        handle = await manager.submit(halts, "early")
        async for event in handle.events():
            if isinstance(event, OutputEvent):
                assert event.value == "early"
                assert await handle.status() == "running"
                go_on.set()
        await handle


async def test_a_retry_resets_the_events(open_manager: OpenManager) -> None:
    @model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
    async def stumbles() -> None:
        current_job().emit(current_job().attempt)
        if current_job().attempt == 1:
            raise ConnectionError("first")

    async with open_manager(stumbles) as manager:
        handle = await manager.submit(stumbles)
        await handle
        events = [event async for event in handle.events()]
        kinds = [type(event) for event in events]
        reset = kinds.index(ResetEvent)
        assert [event.value for event in events[:reset] if isinstance(event, OutputEvent)] == [1]
        assert [event.value for event in events[reset:] if isinstance(event, OutputEvent)] == [2]
        (requeued,) = [event for event in events if isinstance(event, StatusEvent) and event.error]
        assert (requeued.status, requeued.error and requeued.error.message) == ("queued", "first")


async def test_a_typed_stream_says_when_it_begins_again(open_manager: OpenManager) -> None:
    @model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
    async def stumbles() -> AsyncIterator[int]:
        yield current_job().attempt
        if current_job().attempt == 1:
            raise ConnectionError("first")

    async with open_manager(stumbles) as manager:
        handle = await manager.submit(stumbles)
        await handle
        stream = handle.stream()
        assert await anext(stream) == 1
        with pytest.raises(StreamReset) as caught:
            await anext(stream)
        assert caught.value.attempt == 2


async def test_the_stream_of_a_failed_job_raises_why(manager: JobManager) -> None:
    from tests.manager.models import fails

    handle = await manager.submit(fails, "no")
    with pytest.raises(JobFailed, match="no"):
        async for _ in manager.handle(handle.id).stream():
            pass


async def test_the_events_of_an_unknown_job_raise(manager: JobManager) -> None:
    with pytest.raises(UnknownJob):
        async for _ in manager.handle("job_nope").events():
            pass


async def test_a_stream_that_is_dropped_leaves_the_job_alone(manager: JobManager) -> None:
    handle = await manager.submit(echo, "hi")
    async for _ in handle.events():
        break
    assert await handle == "hi"


async def test_a_thread_reports_and_emits_in_order(open_manager: OpenManager) -> None:
    @model
    def talks(count: int) -> None:
        for number in range(count):
            current_job().progress(number / count)
            current_job().emit(number)

    async with open_manager(talks) as manager:
        handle = await manager.submit(talks, 5_000)
        await handle
        values = [event.value async for event in handle.events() if isinstance(event, OutputEvent)]
        assert values == list(range(5_000))


async def test_an_output_over_the_limit_fails_the_model_and_names_both_numbers(open_manager: OpenManager) -> None:
    @model
    async def shouts() -> None:
        current_job().emit("x" * 2_000)

    async with open_manager(shouts, limits=Limits(result_bytes=1_000)) as manager:
        with pytest.raises(JobFailed, match=r"output: 2003 bytes, the limit is 1000"):
            await (await manager.submit(shouts))


async def test_a_long_async_stream_is_stored_as_it_goes(open_manager: OpenManager) -> None:
    @model
    async def talks(count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    async with open_manager(talks) as manager:
        handle = await manager.submit(talks, 3_000)
        assert [number async for number in handle.stream()] == list(range(3_000))


async def test_a_wait_returns_the_record_once_the_job_has_ended(manager: JobManager) -> None:
    job = await manager.submit(echo, "hi")

    assert (await job.wait()).status == "succeeded"
    assert (await job.wait(after=0)).status == "succeeded"


async def test_a_wait_that_runs_out_returns_the_record_as_it_stands(open_manager: OpenManager) -> None:
    gate = asyncio.Event()

    @model
    async def waits() -> None:
        await gate.wait()

    async with open_manager(waits) as manager:
        job = await manager.submit(waits)
        running = await job.wait(30, after=1)
        still = await job.wait(0.01, after=running.revision)
        gate.set()
        await job

    assert (running.status, still.status) == ("running", "running")


async def test_a_stream_resumed_between_two_attempts_tells_of_the_reset(open_manager: OpenManager) -> None:
    @model(retry=RetryPolicy(max_attempts=2, initial_delay=0))
    async def fails_once() -> None:
        if current_job().attempt == 1:
            raise ValueError

    async with open_manager(fails_once) as manager:
        job = await manager.submit(fails_once)
        await job
        every = [event async for event in job.events()]
        requeued = next(one for one in every if isinstance(one, StatusEvent) and one.error is not None)
        resumed = [event async for event in job.events(requeued.id)]

    assert isinstance(resumed[0], ResetEvent)
    assert resumed[0].attempt == 2


async def test_a_job_of_a_busy_model_gets_an_estimate(manager: JobManager) -> None:
    for _ in range(3):
        await (await manager.submit(echo, "hi"))

    before = manager.eta("echo", 4)
    await (await manager.submit(echo, "hi"))
    after = manager.eta("echo", 4)

    assert before is None  # nothing had been watched yet
    assert after is not None
    assert after > 0


async def test_a_queue_says_whether_it_has_room(open_manager: OpenManager) -> None:
    async with open_manager(echo, limits=Limits(queued_jobs=1), concurrency=1) as manager:
        had_room = await manager.has_room("default")
        await manager.pause("default")
        await manager.submit(echo, "hi")

        assert (had_room, await manager.has_room("default")) == (True, False)


async def test_a_scoped_purge_leaves_the_jobs_of_others(manager: JobManager) -> None:
    await manager.pause("default")
    ann = await manager.scoped("ann").submit(echo, "hi")
    bob = await manager.scoped("bob").submit(echo, "hi")

    assert await manager.scoped("ann").purge("default") == [ann.id]
    assert await bob.status() == "queued"
