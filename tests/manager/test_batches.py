"""Jobs of a batch model run together, and each is answered by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncinfer import Batch, JobFailed, JobManager, current_batch, model

OpenManager = Callable[..., JobManager]


class Squares:
    """Answers with how many came together; refuses negative numbers."""

    async def predict_batch(self, items: list[int]) -> list[tuple[int, int] | Exception]:
        return [ValueError("negative") if item < 0 else (item**2, len(current_batch())) for item in items]


squares = model(Squares, name="squares", batch=Batch(max_size=8))


async def test_waiting_jobs_run_in_full_batches(open_manager: OpenManager) -> None:
    async with open_manager(squares) as manager:
        await manager.pause("default")
        handles = await manager.submit_many([squares.bind(number) for number in range(20)])
        await manager.resume("default")
        answers = await asyncio.gather(*handles)

    assert [square for square, _ in answers] == [number**2 for number in range(20)]
    assert [size for _, size in answers] == [8] * 16 + [4] * 4


async def test_a_batch_takes_one_slot(open_manager: OpenManager) -> None:
    async with open_manager(squares, concurrency={"loop": 2}) as manager:
        await manager.pause("default")
        handles = await manager.submit_many([squares.bind(number) for number in range(40)])
        await manager.resume("default")
        sizes = [size for _, size in await asyncio.gather(*handles)]

    assert sizes == [8] * 40


async def test_a_bad_item_fails_alone(open_manager: OpenManager) -> None:
    async with open_manager(squares) as manager:
        await manager.pause("default")
        good, bad, last = await manager.submit_many([squares.bind(number) for number in (2, -1, 3)])
        await manager.resume("default")

        assert [await good, await last] == [(4, 3), (9, 3)]
        with pytest.raises(JobFailed, match="negative"):
            await bad
