"""Jobs of a batch model run together, and each is answered by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from asyncinfer import (
    Batch,
    JobCanceled,
    JobFailed,
    JobHandle,
    JobManager,
    Model,
    ProgressEvent,
    current_batch,
    model,
)
from asyncinfer.errors import InvalidInput
from tests.manager.steps import running

OpenManager = Callable[..., JobManager]


class Squares:
    """Answers with how many came together; refuses negative numbers."""

    async def predict_batch(self, items: list[int]) -> list[tuple[int, int] | Exception]:
        return [ValueError("negative") if item < 0 else (item**2, len(current_batch())) for item in items]


class Together:
    """Shows each item's progress, and answers once any of them is asked to stop."""

    async def predict_batch(self, items: list[int]) -> list[int]:
        contexts = show(items)
        while not any(context.is_canceled for context in contexts):  # noqa: ASYNC110
            await asyncio.sleep(0.002)  # what a step of a real model takes
        return items


class TogetherInThread:
    def predict_batch(self, items: list[int]) -> list[int]:
        contexts = show(items)
        while not any(context.is_canceled for context in contexts):
            time.sleep(0.002)  # as above
        return items


class Obeys:
    """Ends with the first item that should: the others are run again."""

    async def predict_batch(self, items: list[int]) -> list[int]:
        contexts = show(items)
        for _ in range(100 if len(items) > 1 else 0):
            await asyncio.sleep(0.002)  # as above
            for context in contexts:
                context.raise_if_canceled()
        return items


class ObeysInThread:
    def predict_batch(self, items: list[int]) -> list[int]:
        contexts = show(items)
        for _ in range(100 if len(items) > 1 else 0):
            time.sleep(0.002)  # as above
            for context in contexts:
                context.raise_if_canceled()
        return items


class Ignores:
    """Looks at nobody's wishes."""

    async def predict_batch(self, items: list[int]) -> list[int]:
        show(items)
        await asyncio.sleep(0.5)  # a step that cannot be cut short
        return items


class IgnoresInThread:
    def predict_batch(self, items: list[int]) -> list[int]:
        show(items)
        time.sleep(0.5)  # as above
        return items


class Unlucky:
    """Raises when a 13 is among its items."""

    async def predict_batch(self, items: list[int]) -> list[int]:
        return lucky(items)


class UnluckyInThread:
    def predict_batch(self, items: list[int]) -> list[int]:
        return lucky(items)


class ForEver:
    """Goes on until it is canceled as a coroutine is."""

    async def predict_batch(self, items: list[int]) -> list[int]:
        await asyncio.Event().wait()
        return items


def show(items: Sequence[int]) -> Sequence[Any]:  # Any: the contexts, whose class a model need not name
    contexts = current_batch()
    for context, item in zip(contexts, items, strict=True):
        context.progress(item / 10, f"item {item}")
    return contexts


def lucky(items: list[int]) -> list[int]:
    if 13 in items:
        raise ValueError("unlucky")
    return items


squares = model(Squares, name="squares", batch=Batch(max_size=8))
together = [
    model(Together, name="together", batch=Batch()),
    model(TogetherInThread, name="together-in-thread", batch=Batch()),
]
obeys = [model(Obeys, name="obeys", batch=Batch()), model(ObeysInThread, name="obeys-in-thread", batch=Batch())]
ignores = [
    model(Ignores, name="ignores", batch=Batch()),
    model(IgnoresInThread, name="ignores-in-thread", batch=Batch()),
]
unlucky = [
    model(Unlucky, name="unlucky", batch=Batch()),
    model(UnluckyInThread, name="unlucky-in-thread", batch=Batch()),
]
failing = [
    model(Unlucky, name="failing", batch=Batch(on_error="fail")),
    model(UnluckyInThread, name="failing-in-thread", batch=Batch(on_error="fail")),
]
on_both = pytest.mark.parametrize("at", [0, 1], ids=["loop", "thread"])


async def run_together(manager: JobManager, asked: Model[[int], Any, Any], *items: int) -> Sequence[JobHandle[Any]]:
    """Submit items that are claimed as one batch."""
    await manager.pause("default")
    handles = await manager.submit_many([asked.bind(item) for item in items])
    await manager.resume("default")
    return handles


async def test_waiting_jobs_run_in_full_batches(open_manager: OpenManager) -> None:
    async with open_manager(squares) as manager:
        handles = await run_together(manager, squares, *range(20))
        answers = await asyncio.gather(*handles)

    assert [square for square, _ in answers] == [number**2 for number in range(20)]
    assert [size for _, size in answers] == [8] * 16 + [4] * 4


async def test_a_batch_takes_one_slot(open_manager: OpenManager) -> None:
    async with open_manager(squares, concurrency={"loop": 2}) as manager:
        handles = await run_together(manager, squares, *range(40))
        sizes = [size for _, size in await asyncio.gather(*handles)]

    assert sizes == [8] * 40


async def test_a_bad_item_fails_alone(open_manager: OpenManager) -> None:
    async with open_manager(squares) as manager:
        good, bad, last = await run_together(manager, squares, 2, -1, 3)

        assert [await good, await last] == [(4, 3), (9, 3)]
        with pytest.raises(JobFailed, match="negative"):
            await bad


@on_both
async def test_each_item_shows_its_own_progress(open_manager: OpenManager, at: int) -> None:
    async with open_manager(together[at]) as manager:
        handles = await run_together(manager, together[at], 1, 2, 3)
        told = [await first_progress(handle) for handle in handles]
        await handles[0].cancel()
        await asyncio.gather(*handles)

    assert [event.progress.message for event in told] == ["item 1", "item 2", "item 3"]
    assert [event.progress.fraction for event in told] == [0.1, 0.2, 0.3]


@on_both
async def test_a_canceled_item_that_does_not_obey_ends_after_its_grace_while_the_others_go_on(
    open_manager: OpenManager, at: int
) -> None:
    async with open_manager(ignores[at], cancel_grace=0.01) as manager:
        first, canceled, last = await run_together(manager, ignores[at], 1, 2, 3)
        await running(canceled)
        await canceled.cancel()

        with pytest.raises(JobCanceled):
            await canceled
        assert await first.status() == "running"
        assert [await first, await last] == [1, 3]


@on_both
async def test_a_canceled_item_that_obeys_leaves_the_others_to_be_run_again(open_manager: OpenManager, at: int) -> None:
    async with open_manager(obeys[at]) as manager:
        first, canceled, last = await run_together(manager, obeys[at], 1, 2, 3)
        await running(canceled)
        await canceled.cancel()

        with pytest.raises(JobCanceled):
            await canceled
        assert [await first, await last] == [1, 3]
        assert [(await manager.get(one.id)).attempt for one in (first, last)] == [1, 1]


@on_both
async def test_the_time_limit_of_one_item_ends_it_alone(open_manager: OpenManager, at: int) -> None:
    short, long = together[at].options(time_limit=0.05), together[at].options(time_limit=60)
    async with open_manager(together[at]) as manager:
        await manager.pause("default")
        first, limited, last = await manager.submit_many([long.bind(1), short.bind(2), long.bind(3)])
        await manager.resume("default")

        with pytest.raises(JobFailed) as caught:
            await limited
        assert caught.value.code == "time_limit"
        assert [await first, await last] == [1, 3]


@on_both
async def test_a_batch_that_raises_is_run_in_halves(open_manager: OpenManager, at: int) -> None:
    async with open_manager(unlucky[at]) as manager:
        *good, bad = await run_together(manager, unlucky[at], 1, 2, 3, 4, 13)

        assert await asyncio.gather(*good) == [1, 2, 3, 4]
        with pytest.raises(JobFailed, match="unlucky"):
            await bad


@on_both
async def test_a_batch_that_may_not_be_repeated_fails_whole(open_manager: OpenManager, at: int) -> None:
    async with open_manager(failing[at]) as manager:
        handles = await run_together(manager, failing[at], 1, 2, 13)
        answers = await asyncio.gather(*handles, return_exceptions=True)

    assert [type(answer) for answer in answers] == [JobFailed] * 3


async def test_a_coroutine_ends_when_none_of_its_items_is_wanted(open_manager: OpenManager) -> None:
    for_ever = model(ForEver, name="for-ever", batch=Batch())
    async with open_manager(for_ever, cancel_grace=60) as manager:
        handles = await run_together(manager, for_ever, 1, 2)
        await running(handles[1])
        for handle in handles:
            await handle.cancel()

        answers = await asyncio.gather(*handles, return_exceptions=True)
        assert [type(answer) for answer in answers] == [JobCanceled] * 2


async def test_a_batch_waits_until_it_is_full(open_manager: OpenManager) -> None:
    patient = model(Squares, name="patient", batch=Batch(max_size=4, max_wait=60))
    async with open_manager(patient) as manager:
        handles = [await manager.submit(patient, number) for number in range(4)]
        sizes = [size for _, size in await asyncio.gather(*handles)]

    assert sizes == [4] * 4


async def test_a_batch_that_is_never_full_waits_so_long_and_no_longer(open_manager: OpenManager) -> None:
    patient = model(Squares, name="patient", batch=Batch(max_size=4, max_wait=0.2))
    async with open_manager(patient) as manager:
        began = time.monotonic()
        handles = [await manager.submit(patient, number) for number in range(3)]
        sizes = [size for _, size in await asyncio.gather(*handles)]
        waited = time.monotonic() - began

    assert sizes == [3] * 3
    assert 0.19 <= waited < 5


async def test_buckets_keep_short_and_long_apart(open_manager: OpenManager) -> None:
    sized = model(Squares, name="sized", batch=Batch(max_size=8, cost=lambda item: item, buckets=(10, 100)))
    async with open_manager(sized) as manager:
        handles = await run_together(manager, sized, 5, 50, 6, 60, 7, 500)
        sizes = [size for _, size in await asyncio.gather(*handles)]

    assert sizes == [3, 2, 3, 2, 3, 1]


async def test_an_item_that_its_models_own_functions_refuse_is_refused_at_submit(open_manager: OpenManager) -> None:
    picky = model(Squares, name="picky", batch=Batch(cost=lambda item: 10 // item))
    async with open_manager(picky) as manager:
        with pytest.raises(InvalidInput, match=r"input: model picky: Batch\.cost\(item\): raised ZeroDivisionError"):
            await manager.submit(picky, 0)
        with pytest.raises(InvalidInput, match=r"input: model picky: Batch\.cost\(item\): expected an int from 1"):
            await manager.submit(picky, 11)


async def first_progress(handle: JobHandle[Any]) -> ProgressEvent:
    async for event in handle.events():
        if isinstance(event, ProgressEvent):
            return event
    raise AssertionError("it ended without a word")
