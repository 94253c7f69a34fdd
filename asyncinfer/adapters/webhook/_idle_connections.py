"""Close connections to receivers that nobody uses any more. Every request does so too; but there may come none."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol, runtime_checkable

LOOK_SECONDS = 5.0
"""A connection is closed so long after its time at most."""
logger = logging.getLogger("asyncinfer.webhook")


@runtime_checkable
class KeepsConnections(Protocol):
    """A transport that may have idle ones; one of somebody's own may have none."""

    async def close_idle(self) -> None: ...


async def close_idle_connections(transport: object) -> None:
    """Look again and again, until cancelled; by real time, in which connections age."""
    if not isinstance(transport, KeepsConnections):
        return
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await transport.close_idle()
        except Exception as error:  # noqa: BLE001  no delivery depends on it
            logger.warning("idle connections could not be closed: %s", type(error).__qualname__)
