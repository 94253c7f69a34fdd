"""Closing: whatever goes on, nothing is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from asyncinfer.abc import Outcome
from tests.backends import process_models as models
from tests.backends.process_stage import Stage, stage


def descriptors() -> set[str]:
    """Return what the open descriptors of this process lead to."""
    found: set[str] = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(link.readlink()))
        except FileNotFoundError:  # the one of this look
            continue
    return found


def children() -> set[str]:
    """Return this process's children, zombies too."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def left() -> tuple[set[str], set[str], set[threading.Thread]]:
    return descriptors(), children(), set(threading.enumerate())


@pytest.fixture
def leaves_nothing() -> Iterator[None]:
    before = left()
    yield
    assert left() == before


pytestmark = pytest.mark.usefixtures("leaves_nothing")


async def begin(one: Stage, name: str) -> asyncio.Task[Sequence[Outcome]]:
    running = one.begin(one.call(models.pass_gate, {"gate": one.gate.address, "name": name}))
    await one.gate.entered(name)
    return running


def test_an_idle_executor() -> None:
    async def play() -> None:
        async with stage(2, spares=1) as one:
            await asyncio.gather(one.result(models.double, number=1), one.result(models.doubled, number=1))
            await one.executor.close(5)
            await one.executor.close(5)
            with pytest.raises(RuntimeError, match="not running"):
                await one.result(models.double, number=1)

    asyncio.run(play())


def test_busy_with_a_call_that_waits_and_one_that_loads() -> None:
    async def play() -> None:
        async with stage(2) as one:
            busy = await begin(one, "a")
            loading = one.begin(one.call(models.Gated, {}, name=f"gated-{one.gate.address}"))
            await one.gate.entered("setup")
            waiting = one.begin(one.call(models.double, {"number": 1}))
            await asyncio.sleep(0)
            await one.executor.close(0)

            await asyncio.wait([busy, loading, waiting])
            assert [task.cancelled() for task in (busy, loading, waiting)] == [True] * 3
            assert (one.executor.free, one.executor.pids) == (2, [])

    asyncio.run(play())


def test_what_runs_may_end_and_what_waits_does_not_begin() -> None:
    async def play() -> None:
        async with stage() as one:
            busy = await begin(one, "a")
            waiting = one.begin(one.call(models.pass_gate, {"gate": one.gate.address, "name": "a"}))
            await asyncio.sleep(0)
            closing = asyncio.create_task(one.executor.close(30))
            await asyncio.sleep(0)
            one.gate.open("a")
            await closing

            assert not busy.cancelled()
            assert waiting.cancelled()
            assert one.gate.visits["a"] == 1

    asyncio.run(play())


def test_a_close_that_is_canceled_still_ends_every_process() -> None:
    async def play() -> None:
        async with stage() as one:
            busy = await begin(one, "a")
            closing = asyncio.create_task(one.executor.close(30))
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.wait([closing, busy])
            await one.gate.left("a")
            await one.until_free(1)

            assert busy.cancelled()

    asyncio.run(play())


def test_started_again_after_a_close() -> None:
    async def play() -> None:
        async with stage() as one:
            await one.result(models.double, number=1)
            await one.executor.close(5)
            await one.start()
            assert await one.result(models.double, number=4) == 8

    asyncio.run(play())


def test_killed_again_and_again(size: str) -> None:
    each = 50 if size == "rel" else 5

    async def play() -> None:
        async with stage(4) as one:

            async def kill() -> None:
                for _ in range(each):
                    assert (await one.outcome(models.die, how="SIGKILL")).kind == "worker_lost"

            await asyncio.gather(*(kill() for _ in range(4)))
            assert len(children()) <= 4

    asyncio.run(play())
