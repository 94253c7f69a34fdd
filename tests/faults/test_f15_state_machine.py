"""F15: the same random history gets the same answers from every store, and no store ever breaks a rule of a job's life.

The memory store is the model. Durability is not what is tried here, so SQLite does not wait for the disk.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer.abc import Clock, Finish, JobKey, JobStore, WriteAnswer
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer.testing.histories import Command, Difference, Player, first_difference, history_of, shortest
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish

pytestmark = pytest.mark.fault

HISTORIES: dict[Size, int] = {"pr": 500, "rel": 10_000}
LANES = 4
MakeStore = Callable[[Clock, Path], JobStore]


class Figures(Struct, frozen=True, kw_only=True):
    """What was played. `difference` is the shortest history that shows one, and where; empty when there is none."""

    histories: int
    commands: int
    seconds: float
    difference: str


class FencedByStatusOnly(FaultyStore):
    """What a store must not be: whoever ends a running job ends it, whichever attempt was theirs."""

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        jobs = await self.get([JobKey(item.owner, item.id) for item in items])
        pairs = zip(items, jobs, strict=True)
        return await super().finish(
            [replace(item, attempt=job.attempt if job else item.attempt, ref=None) for item, job in pairs]
        )


def sqlite(clock: Clock, place: Path) -> JobStore:
    return SQLiteStore(place / "jobs.db", clock=clock, synchronous="OFF")


def fenced_by_status_only(clock: Clock, place: Path) -> JobStore:
    return FencedByStatusOnly(MemoryStore(clock))


def length_of(seed: int) -> int:
    """Most histories are short; every tenth is long, for what only builds up slowly."""
    return 200 if seed % 10 == 9 else 60


async def play(history: Sequence[Command], make_store: MakeStore, place: Path) -> Difference | None:
    """Play a history on a fresh memory store and on a fresh store of the kind that is tried."""
    clock = FakeClock()
    model, tried = MemoryStore(clock), make_store(clock, place)
    await model.open()
    await tried.open()
    try:
        return await first_difference(history, Player(model, clock), Player(tried, clock), clock)
    finally:
        await tried.close()
        await model.close()


async def scenario(make_store: MakeStore, histories: int, tmp_path: Path) -> Figures:
    """Play histories until one differs, then cut that one short."""
    began = time.monotonic()
    places = (tmp_path / str(number) for number in itertools.count())
    seeds = iter(range(histories))
    played: list[int] = []
    found: list[int] = []

    async def on_a_new_place(history: Sequence[Command]) -> Difference | None:
        place = next(places)
        place.mkdir()
        return await play(history, make_store, place)

    async def play_on() -> None:
        for seed in seeds:
            if found:
                return
            played.append(seed)
            if await on_a_new_place(history_of(seed, length_of(seed))) is not None:
                found.append(seed)

    # Several at once: while one waits for its store's threads, another uses the loop.
    async with asyncio.TaskGroup() as lanes:
        for _ in range(LANES):
            lanes.create_task(play_on())
    difference = ""
    if found:
        short = await shortest(history_of(found[0], length_of(found[0])), on_a_new_place)
        difference = f"seed {found[0]}: {short}\n{await on_a_new_place(short)}"
    return Figures(
        histories=len(played),
        commands=sum(length_of(seed) for seed in played),
        seconds=round(time.monotonic() - began, 1),
        difference=difference,
    )


def verdict(figures: Figures, histories: int) -> list[str]:
    """Say what does not hold."""
    broken = [figures.difference] if figures.difference else []
    return broken if figures.histories == histories else [*broken, f"only {figures.histories} histories were played"]


async def test_sqlite_answers_every_history_as_memory_does(tmp_path: Path, size: Size) -> None:
    figures = await scenario(sqlite, HISTORIES[size], tmp_path)
    publish("F15", size, figures)
    assert verdict(figures, HISTORIES[size]) == []


async def test_canary_a_store_without_the_attempt_check_is_caught(tmp_path: Path, size: Size) -> None:
    figures = await scenario(fenced_by_status_only, HISTORIES[size], tmp_path)
    assert "finish" in figures.difference
