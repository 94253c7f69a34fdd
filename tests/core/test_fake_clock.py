"""FakeClock: time that moves only when a test says so."""

import asyncio

import pytest

from asyncinfer.testing import FakeClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = FakeClock(now=1_000)

    assert (clock.now(), clock.monotonic()) == (1_000, 0.0)


async def test_advancing_moves_wall_and_monotonic_time_alike() -> None:
    clock = FakeClock(now=1_000)

    await clock.advance(2.5)

    assert (clock.now(), clock.monotonic()) == (3_500, 2.5)


async def test_ten_tenths_of_a_second_are_exactly_one() -> None:
    clock = FakeClock(now=0)

    for _ in range(10):
        await clock.advance(0.1)

    assert (clock.now(), clock.monotonic()) == (1_000, 1.0)


async def test_timers_fire_in_the_order_of_their_instants() -> None:
    clock = FakeClock()
    fired: list[str] = []
    clock.call_later(3, lambda: fired.append("third"))
    clock.call_later(1, lambda: fired.append("first"))
    clock.call_later(1, lambda: fired.append("second"))

    await clock.advance(3)

    assert fired == ["first", "second", "third"]


async def test_a_timer_fires_at_its_own_instant_and_not_before() -> None:
    clock = FakeClock()
    seen: list[float] = []
    clock.call_later(2, lambda: seen.append(clock.monotonic()))

    await clock.advance(1.999)
    assert seen == []
    await clock.advance(5)

    assert seen == [2.0]


async def test_a_timer_set_by_a_timer_fires_within_the_same_advance() -> None:
    clock = FakeClock()
    seen: list[float] = []

    def tick() -> None:
        seen.append(clock.monotonic())
        clock.call_later(1, tick)

    clock.call_later(1, tick)
    await clock.advance(3)

    assert seen == [1.0, 2.0, 3.0]


async def test_a_canceled_timer_does_not_fire() -> None:
    clock = FakeClock()
    fired: list[str] = []
    clock.call_later(1, lambda: fired.append("canceled")).cancel()

    await clock.advance(2)

    assert fired == []
    assert clock.pending == 0


async def test_a_timer_of_no_seconds_fires_without_an_advance() -> None:
    clock = FakeClock()

    async with asyncio.timeout(1):
        await clock.sleep(0)


async def test_a_sleeper_wakes_and_runs_on_inside_advance() -> None:
    clock = FakeClock()
    seen: list[float] = []

    async def sleep_twice() -> None:
        await clock.sleep(1)
        seen.append(clock.monotonic())
        await clock.sleep(1)
        seen.append(clock.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep_twice())
        await clock.advance(5)

    assert seen == [1.0, 2.0]


async def test_a_canceled_sleeper_leaves_no_timer() -> None:
    clock = FakeClock()
    sleeper = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    assert clock.pending == 1

    sleeper.cancel()
    await asyncio.wait([sleeper])

    assert clock.pending == 0


async def test_a_jump_moves_wall_time_only() -> None:
    clock = FakeClock(now=10_000_000)
    fired: list[str] = []
    clock.call_later(1, lambda: fired.append("fired"))

    clock.jump(3_600)
    await asyncio.sleep(0)

    assert (clock.now(), clock.monotonic()) == (13_600_000, 0.0)
    assert fired == []


async def test_wall_time_can_jump_back() -> None:
    clock = FakeClock(now=10_000)

    clock.jump(-4.5)

    assert clock.now() == 5_500


async def test_monotonic_time_refuses_to_run_back() -> None:
    with pytest.raises(ValueError, match="jump"):
        await FakeClock().advance(-1)
