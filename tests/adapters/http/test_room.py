"""Bodies wait in line for room, and nobody who leaves takes any along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncinfer.adapters.http._room import Room


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Guests:
    """Who holds room, and may be let go of."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._leave: dict[str, asyncio.Event] = {}

    async def come(self, name: str, size: int) -> None:
        self._leave[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, size))
        await settle()

    async def go(self, name: str) -> None:
        self._leave[name].set()
        await settle()

    async def _stay(self, name: str, size: int) -> None:
        async with self._room.lent(size):
            self.inside.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)


@pytest.fixture
def guests() -> Guests:
    return Guests(Room(10))


async def test_what_goes_beyond_the_room_waits(guests: Guests) -> None:
    await guests.come("a", 6)
    await guests.come("b", 4)
    await guests.come("c", 1)
    assert guests.inside == ["a", "b"]
    await guests.go("b")
    assert guests.inside == ["a", "c"]


async def test_a_small_one_does_not_pass_a_large_one_in_the_line(guests: Guests) -> None:
    await guests.come("a", 6)
    await guests.come("large", 5)
    await guests.come("small", 1)
    assert guests.inside == ["a"]
    await guests.go("a")
    assert guests.inside == ["large", "small"]


async def test_one_that_is_larger_than_the_room_has_it_alone(guests: Guests) -> None:
    await guests.come("huge", 1_000)
    await guests.come("small", 1)
    assert guests.inside == ["huge"]
    await guests.go("huge")
    assert guests.inside == ["small"]


@pytest.mark.parametrize("leave_first", ["in line", "at the head"])
async def test_who_leaves_the_line_lets_the_others_in(guests: Guests, leave_first: str) -> None:
    await guests.come("a", 10)
    await guests.come("at the head", 10)
    await guests.come("in line", 10)
    guests.tasks[leave_first].cancel()
    await settle()
    await guests.go("a")
    assert guests.inside == [name for name in ("at the head", "in line") if name != leave_first]


async def test_who_leaves_as_its_turn_comes_gives_it_on(guests: Guests) -> None:
    await guests.come("a", 10)
    await guests.come("b", 10)
    await guests.come("c", 10)
    cancel_b: Callable[[], object] = guests.tasks["b"].cancel
    guests._leave["a"].set()
    await asyncio.sleep(0)  # a leaves, and b's turn is set
    cancel_b()
    await settle()
    assert guests.inside == ["c"]
