"""A typed stream gives every value, or says that it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from asyncinfer import GapEvent, JobExpired, JobManager, Limits, OutputEvent, current_job, model

OpenManager = Callable[..., JobManager]
KEPT = 5


@model
async def counts_to(end: int) -> AsyncIterator[int]:
    for number in range(end):
        yield number
    await current_job().drain()


async def test_a_stream_whose_history_is_whole_gives_every_value(open_manager: OpenManager) -> None:
    async with open_manager(counts_to, limits=Limits(events_per_job=KEPT)) as manager:
        job = await manager.submit(counts_to, KEPT)
        await job
        assert [number async for number in job.stream()] == list(range(KEPT))


async def test_a_stream_that_misses_values_raises_instead_of_skipping_them(open_manager: OpenManager) -> None:
    async with open_manager(counts_to, limits=Limits(events_per_job=KEPT)) as manager:
        job = await manager.submit(counts_to, 2 * KEPT)
        assert await job == list(range(2 * KEPT))
        with pytest.raises(JobExpired, match="events_per_job"):
            await anext(job.stream())


async def test_the_events_tell_of_the_gap_and_go_on(open_manager: OpenManager) -> None:
    async with open_manager(counts_to, limits=Limits(events_per_job=KEPT)) as manager:
        job = await manager.submit(counts_to, 2 * KEPT)
        await job
        events = [event async for event in job.events()]
        assert isinstance(events[0], GapEvent)
        assert [event.value for event in events if isinstance(event, OutputEvent)] == list(range(KEPT, 2 * KEPT))
