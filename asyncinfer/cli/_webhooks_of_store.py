"""The endpoints and deliveries of a store, through a manager that runs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import msgspec

from asyncinfer import JobManager
from asyncinfer.cli._client import client_of
from asyncinfer.cli._job_json import text_of
from asyncinfer.cli._running import errors_told, run

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import Endpoints, Guard

T = TypeVar("T")


def with_store(store: str, do: Callable[[JobManager], Awaitable[T]]) -> T:
    """Return what `do` makes of the opened store."""

    async def work() -> T:
        async with client_of(store) as manager:
            return await do(manager)

    return run(work())


def with_endpoints(
    store: str, do: Callable[[Endpoints], Awaitable[T]], guard: Guard | None = None, public_base_url: str = ""
) -> T:
    """Return what `do` makes of the store's endpoints; the guard says which of them may be called."""
    with errors_told():
        from asyncinfer.adapters.webhook import Endpoints, Guard, Transport

        allows = guard or Guard()

    async def work(manager: JobManager) -> T:
        async with Transport(allows) as transport:
            return await do(Endpoints(manager, allows, transport, public_base_url=public_base_url))

    return with_store(store, work)


def now() -> datetime:
    return datetime.now(UTC)


def print_json(told: object) -> None:
    print(text_of(msgspec.to_builtins(told)))
