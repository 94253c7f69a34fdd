"""How the commands of webhooks get an answer, and print it as JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from asyncinfer.cli._job_json import text_of
from asyncinfer.cli._running import run
from asyncinfer.cli._seen_webhooks import Webhooks

T = TypeVar("T")


def asked_at(place: AbstractAsyncContextManager[Webhooks], do: Callable[[Webhooks], Awaitable[T]]) -> T:
    """Return what `do` makes of the opened place."""

    async def work() -> T:
        async with place as there:
            return await do(there)

    return run(work())


def now() -> datetime:
    return datetime.now(UTC)


def print_json(told: object) -> None:
    print(text_of(msgspec.to_builtins(told)))
