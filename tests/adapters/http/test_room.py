"""Bodies wait in line for room, and nobody who leaves takes any along."""

from __future__ import annotations

import asyncio

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
        self.leave(name)
        await settle()

    def leave(self, name: str) -> None:
        self._leave[name].set()

    async def _stay(self, name: str, size: int) -> None:
        with self._room.share() as share:
            await share.grow(size)
            self.inside.append(name)
            await self._leave[name].wait()
            self.inside.remove(name)


@pytest.fixture
def guests() -> Guests:
    return Guests(Room(10))


@pytest.fixture
async def full(guests: Guests) -> Guests:
    """One who holds all the room, and one who is ahead of the line, beyond it."""
    await guests.come("a", 10)
    await guests.come("ahead", 5)
    assert guests.inside == ["a", "ahead"]
    return guests


async def test_what_goes_beyond_the_room_waits_but_for_one(guests: Guests) -> None:
    await guests.come("a", 6)
    await guests.come("b", 4)
    await guests.come("ahead", 1)
    await guests.come("c", 1)
    assert guests.inside == ["a", "b", "ahead"]
    await guests.go("b")
    assert guests.inside == ["a", "ahead", "c"]


async def test_a_small_one_does_not_pass_a_large_one_in_the_line(full: Guests) -> None:
    await full.come("large", 9)
    await full.come("small", 1)
    await full.go("ahead")
    assert full.inside == ["a", "large"]


async def test_one_that_is_larger_than_the_room_goes_on_beyond_it(guests: Guests) -> None:
    await guests.come("huge", 1_000)
    await guests.come("small", 1)
    assert guests.inside == ["huge"]
    await guests.go("huge")
    assert guests.inside == ["small"]


async def test_bodies_that_are_half_read_do_not_wait_for_each_other(guests: Guests) -> None:
    room = Room(10)
    with room.share() as one, room.share() as other:
        await one.grow(5)
        await other.grow(5)
        await one.grow(8)  # ahead from now on
        waiting = asyncio.create_task(other.grow(8))
        await one.grow(20)
        await settle()
        assert not waiting.done()
        waiting.cancel()
        await settle()
    with room.share() as next_one:
        await next_one.grow(10)


async def test_who_leaves_the_line_lets_the_others_in(full: Guests) -> None:
    await full.come("b", 10)
    await full.come("c", 10)
    full.tasks["b"].cancel()
    await settle()
    await full.go("ahead")
    assert full.inside == ["a", "c"]


async def test_who_leaves_as_its_turn_comes_gives_it_on(full: Guests) -> None:
    await full.come("b", 5)
    await full.come("c", 5)
    full.leave("a")
    await asyncio.sleep(0)  # a leaves, and b's turn is set
    full.tasks["b"].cancel()
    await settle()
    assert full.inside == ["ahead", "c"]
