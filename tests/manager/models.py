"""Models that the manager's tests run, and the gates by which a test holds them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import msgspec

from asyncinfer import RetryLater, RetryPolicy, current_job, model


class Point(msgspec.Struct):
    x: int
    y: int


@model
async def echo(text: str) -> str:
    return text


@model
def double(number: int) -> int:
    return 2 * number


@model
async def mirror(point: Point) -> Point:
    return Point(x=point.y, y=point.x)


@model
async def fails(message: str) -> None:
    raise ValueError(message)


@model(retry=RetryPolicy(max_attempts=3, initial_delay=0, max_delay=0))
async def fails_twice(text: str) -> str:
    if current_job().attempt < 3:
        raise ConnectionError("not yet")
    return text


@model(retry=RetryPolicy(max_attempts=2))
async def asks_for_later(text: str) -> str:
    if current_job().attempt == 1:
        raise RetryLater(0.01)
    return text


@model
async def waits_for_ever() -> None:
    await asyncio.Event().wait()


@model
def polls_for_cancel() -> str:
    """A thread that stops when it is asked to."""
    ctx = current_job()
    ctx.progress(0.5, "polling")
    ticks = threading.Event()
    while True:
        ctx.raise_if_canceled()
        ticks.wait(0.002)  # what a step of a real model takes


@model
def counts_down(start: int) -> Iterator[int]:
    yield from range(start, 0, -1)


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def resumes(steps: int) -> list[int]:
    """Fails after its first checkpoint, and goes on from there."""
    ctx = current_job()
    done = ctx.load_checkpoint(list[int]) or []
    first = not done
    done = [*done, len(done)]
    ctx.save_checkpoint(done)
    if first:
        raise ConnectionError("lost after the first step")
    return [*done, *range(len(done), steps)]


@model
async def reports(steps: int) -> None:
    ctx = current_job()
    for step in range(steps):
        ctx.progress(step / steps, f"step {step}")
        ctx.emit(step)


@model
async def unserializable() -> object:
    return object()


ALL = [
    echo, double, mirror, fails, fails_twice, asks_for_later, waits_for_ever, polls_for_cancel, counts_down, resumes,
    reports,
]  # fmt: skip
