"""Models share the memory and the slots of one machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncinfer import JobManager, MemoryBudget, Model, Resources, SetupContext, model
from asyncinfer.errors import InvalidModel, InvalidOption
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore

OpenManager = Callable[..., JobManager]

told: list[str] = []
gate = threading.Event()
inside: list[int] = []
most: list[int] = []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    told.clear()
    inside.clear()
    most.clear()
    gate.set()
    yield
    gate.set()


class Weights:
    def setup(self, ctx: SetupContext) -> None:
        self.name = ctx.model
        told.append(f"+{ctx.model}")

    def teardown(self) -> None:
        told.append(f"-{self.name}")

    def predict(self, number: int) -> int:
        assert gate.wait(20)
        return 2 * number


def weights(name: str, memory: int, **options: Any) -> Model[[int], int, int]:
    pinned = options.pop("pinned", False)
    return model(Weights, name=name, resources=Resources(memory=memory, pinned=pinned), **options)


def states(manager: JobManager) -> dict[str, str | None]:
    return {one.name: one.state for one in manager.models()}


async def test_what_does_not_fit_at_the_opening_stays_unloaded(open_manager: OpenManager) -> None:
    models = weights("a", 60), weights("b", 60), weights("c", 40)
    async with open_manager(*models, memory=MemoryBudget(host=100)) as manager:
        assert states(manager) == {"a": "warm", "b": "unloaded", "c": "warm"}


async def test_an_idle_model_goes_for_one_whose_jobs_wait(open_manager: OpenManager) -> None:
    one, two = weights("one", 60), weights("two", 60)
    async with open_manager(one, two, memory=MemoryBudget(host=100, idle_seconds=0)) as manager:
        for number in range(3):
            assert await (await manager.submit(two, number)) == 2 * number
            assert await (await manager.submit(one, number)) == 2 * number
    assert told == ["+one", *["-one", "+two", "-two", "+one"] * 3, "-one"]


async def test_a_model_stays_until_it_was_idle_for_long_enough() -> None:
    clock = FakeClock()
    one, two = weights("one", 60), weights("two", 60)
    async with (
        MemoryStore(clock=clock) as store,
        JobManager(store, models=[one, two], memory=MemoryBudget(host=100)) as manager,
    ):
        handle = await manager.submit(two, 1)
        await clock.advance(29)
        await asyncio.sleep(0.05)
        assert states(manager)["one"] == "warm"
        await clock.advance(2)
        assert await handle == 2
        assert states(manager) == {"one": "unloaded", "two": "warm"}


async def test_a_model_that_runs_or_is_pinned_is_not_unloaded(open_manager: OpenManager) -> None:
    busy, pinned, waiting = weights("busy", 30), weights("pinned", 30, pinned=True), weights("waiting", 60)
    gate.clear()
    async with open_manager(busy, pinned, waiting, memory=MemoryBudget(host=100, idle_seconds=0)) as manager:
        running = await manager.submit(busy, 1)
        handle = await manager.submit(waiting, 2)
        await asyncio.sleep(0.3)
        before = list(told)
        gate.set()
        assert (await running, await handle) == (2, 4)
        assert before == ["+busy", "+pinned"]
        assert states(manager) == {"busy": "unloaded", "pinned": "warm", "waiting": "warm"}


async def test_models_without_jobs_do_not_keep_the_room_from_one_that_has(open_manager: OpenManager) -> None:
    models = [weights(f"model-{number}", 60, preload=False) for number in range(6)]
    async with open_manager(*models, memory=MemoryBudget(host=100, idle_seconds=0)) as manager:
        async with asyncio.timeout(10):
            for one in models:
                assert await (await manager.submit(one, 1)) == 2


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (
            [("huge", 101, False)],
            "model 'huge' can never be loaded: that is 1 bytes above the MemoryBudget of the host",
        ),
        ([("base", 60, True), ("big", 60, False)], "model 'big' can never be loaded beside base, which stay loaded"),
    ],
)
async def test_a_model_that_can_never_fit_is_refused(
    open_manager: OpenManager, models: list[tuple[str, int, bool]], message: str
) -> None:
    made = [weights(name, size, pinned=pinned) for name, size, pinned in models]
    with pytest.raises(InvalidModel, match=message):
        await open_manager(*made, memory=MemoryBudget(host=100)).__aenter__()


async def test_a_model_that_takes_more_slots_than_there_are_is_refused(open_manager: OpenManager) -> None:
    with pytest.raises(InvalidModel, match="takes 5 slots, concurrency=4 never has so many"):
        await open_manager(model(Weights, name="wide", resources=Resources(slots=5)), concurrency=4).__aenter__()


def test_the_budget_is_checked() -> None:
    wrong: Any = 100
    with pytest.raises(InvalidOption, match="memory: expected a MemoryBudget, got int"):
        JobManager("memory://", memory=wrong)


def counted(**options: Any) -> Model[[int], int, int]:
    def count(number: int) -> int:
        inside.append(number)
        most.append(len(inside))
        threading.Event().wait(0.01)
        inside.remove(number)
        return number

    return model(count, **options)


async def test_a_call_takes_the_slots_that_its_model_says(open_manager: OpenManager) -> None:
    wide = counted(resources=Resources(slots=3))
    async with open_manager(wide, concurrency=7, executors=None) as manager:
        handles = await manager.submit_many([wide.bind(number) for number in range(12)])
        assert await asyncio.gather(*handles) == list(range(12))
    assert max(most) == 2


async def test_calls_fill_a_device_and_no_more(open_manager: OpenManager) -> None:
    heavy = counted(resources=Resources(device_share=0.4))
    async with open_manager(heavy) as manager:
        handles = await manager.submit_many([heavy.bind(number) for number in range(12)])
        assert await asyncio.gather(*handles) == list(range(12))
    assert max(most) == 2


async def test_no_executor_starves_where_the_total_is_small(open_manager: OpenManager) -> None:
    @model
    async def soon(number: int) -> int:
        return number

    @model
    def later(number: int) -> int:
        return number

    async with open_manager(soon, later, concurrency=2) as manager, asyncio.timeout(10):
        handles = await manager.submit_many([one.bind(number) for number in range(20) for one in (soon, later)])
        assert len(await asyncio.gather(*handles)) == 40
