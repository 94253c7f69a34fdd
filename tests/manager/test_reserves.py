"""Slots that are kept for a queue; and what a manager refuses when it opens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from asyncinfer import JobManager, Limits, QueueLimits, model
from asyncinfer.abc import Runner
from asyncinfer.errors import InvalidModel, InvalidOption
from asyncinfer_thread import ThreadExecutor
from tests.manager.models import double, echo

OpenManager = Callable[..., JobManager]

gate = threading.Event()
begun: list[int] = []


@model(queue="long")
def long(number: int) -> int:
    begun.append(number)
    assert gate.wait(20)
    return number


@model(queue="short")
def short(number: int) -> int:
    return number


RESERVED = Limits(queues={"short": QueueLimits(reserve=1)})


async def test_long_jobs_of_another_queue_do_not_take_a_reserved_slot(open_manager: OpenManager) -> None:
    gate.clear()
    begun.clear()
    try:
        async with open_manager(long, short, limits=RESERVED, concurrency={"thread": 4}) as manager:
            heavy = await manager.submit_many([long.bind(number) for number in range(50)])
            while len(begun) < 3:  # noqa: ASYNC110  it counts in threads
                await asyncio.sleep(0.001)
            light = await manager.submit_many([short.bind(number) for number in range(20)])
            async with asyncio.timeout(10):
                assert await asyncio.gather(*light) == list(range(20))
            assert len(begun) == 3
            gate.set()
            assert await asyncio.gather(*heavy) == list(range(50))
    finally:
        gate.set()


@pytest.mark.parametrize(
    ("reserve", "options", "message"),
    [
        (5, {"concurrency": {"thread": 4}}, "reserve 5 slots, it has 4"),
        (4, {"concurrency": {"thread": 4}}, "none is left for model 'long'"),
        (3, {"concurrency": 3}, "concurrency=3 leaves too few"),
        (-1, {}, "reserve of queue 'short': expected an int from 0"),
        (True, {}, "reserve of queue 'short': expected an int from 0"),
    ],
)
async def test_reserves_that_cannot_be_kept_are_refused(
    open_manager: OpenManager, reserve: Any, options: dict[str, Any], message: str
) -> None:
    limits = Limits(queues={"short": QueueLimits(reserve=reserve)})
    with pytest.raises(InvalidOption, match=message):
        await open_manager(long, short, limits=limits, **options).__aenter__()


async def test_a_queue_may_reserve_all_slots_where_it_is_alone(open_manager: OpenManager) -> None:
    limits = Limits(queues={"short": QueueLimits(reserve=4)})
    async with open_manager(short, echo, limits=limits, concurrency={"thread": 4}) as manager:
        assert await (await manager.submit(short, 1)) == 1


async def test_a_queue_cannot_reserve_more_than_it_may_run(open_manager: OpenManager) -> None:
    limits = Limits(queues={"short": QueueLimits(reserve=2, concurrency=1)})
    with pytest.raises(InvalidOption, match="expected an int from 0 to 1, got 2"):
        await open_manager(short, limits=limits).__aenter__()


async def test_a_memory_limit_is_refused_where_the_code_shares_the_process(open_manager: OpenManager) -> None:
    def limited(number: int) -> int:
        return number

    with pytest.raises(InvalidModel, match="executor='process'"):
        await open_manager(model(limited, memory_limit=2**30)).__aenter__()


async def test_an_executor_may_refuse_a_model(open_manager: OpenManager) -> None:
    class Picky(ThreadExecutor):
        def check(self, runner: Runner) -> None:
            raise InvalidModel(f"model {runner.model!r}: not here")

    with pytest.raises(InvalidModel, match="model 'double': not here"):
        await open_manager(double, executors={"thread": Picky()}).__aenter__()
