"""Models that the tests of the HTTP adapter ask for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import msgspec

from asyncinfer import Model, RetryPolicy, current_job, model


class Point(msgspec.Struct):
    x: int
    y: int


@model
async def echo(text: str) -> str:
    return text


@model
async def mirror(point: Point) -> Point:
    return Point(x=point.y, y=point.x)


@model
async def doubles(data: bytes) -> bytes:
    return data * 2


@model
async def paint(color: Literal["red", "green"]) -> str:
    return color


@model
async def fails(message: str) -> None:
    raise ValueError(message)


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def fails_once(text: str) -> str:
    current_job().emit(text)
    if current_job().attempt == 1:
        raise ConnectionError("not yet")
    return text


@model
async def counts(up_to: int) -> AsyncIterator[int]:
    for number in range(up_to):
        current_job().progress(number / up_to, f"step {number}")
        yield number


@model(queue="slow")
async def waits_for_ever(text: str = "") -> None:
    await asyncio.Event().wait()


# Any: each has its own types.
ALL: list[Model[..., Any, Any]] = [echo, mirror, doubles, paint, fails, fails_once, counts, waits_for_ever]
