"""A store that keeps its deadlines whatever happens behind it, as every backend must (R14)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from asyncinfer.abc import JobStore
from asyncinfer.errors import OutcomeUnknown, StoreUnavailable
from asyncinfer.testing import FaultyStore

P = ParamSpec("P")
R = TypeVar("R")

READS = frozenset({"get", "submissions", "is_tombstone", "find", "counts", "position", "events", "attempts", "leases"})


class LateStore(FaultyStore):
    """Answers each call within `call_timeout` seconds, `insert` within `insert_timeout`.

    A late write's outcome is unknown, a late read has failed.
    """

    def __init__(self, store: JobStore, *, call_timeout: float, insert_timeout: float) -> None:
        super().__init__(store)
        self._call_timeout = call_timeout
        self._insert_timeout = insert_timeout

    async def through(self, name: str, method: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        if name in ("open", "close"):
            return await super().through(name, method, *args, **kwargs)
        try:
            async with asyncio.timeout(self._insert_timeout if name == "insert" else self._call_timeout):
                return await super().through(name, method, *args, **kwargs)
        except TimeoutError:
            error = StoreUnavailable if name in READS else OutcomeUnknown
            raise error(f"the store did not answer this {name} in time") from None
