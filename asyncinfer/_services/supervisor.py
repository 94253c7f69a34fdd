"""Run a manager's services in one task of their own, and keep them running.

One task owns the task group: a group entered in one task and left in another breaks, as in an async fixture. A service
that fails is logged, shown, started again, and never cancels the host application. One that the store failed is only
started again: an outage is no defect of ours, and `health()` asks the store by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

import anyio

from asyncinfer.errors import StoreError

RESTART_SECONDS = 1.0
logger = logging.getLogger("asyncinfer.services")

Service = Callable[[], Awaitable[None]]


class Supervisor:
    """The services of one manager, by name."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._stop = asyncio.Event()
        self.failures: dict[str, Exception] = {}
        """The last unexpected error of each service that ever failed."""
        self.failing: set[str] = set()
        """Services that wait to be started again."""

    def start(self, services: Mapping[str, Service]) -> None:
        """Start the services; they run until `stop`."""
        self._task = asyncio.create_task(self._run(dict(services)), name="asyncinfer services")

    def end(self, name: str) -> None:
        """End one service before the others."""
        if name in self._scopes:
            self._scopes[name].cancel()

    async def stop(self) -> None:
        """End what still runs and wait for it."""
        self._stop.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self, services: Mapping[str, Service]) -> None:
        async with anyio.create_task_group() as group:
            for name, service in services.items():
                self._scopes[name] = anyio.CancelScope()
                group.start_soon(self._keep, name, service, self._scopes[name])
            await self._stop.wait()
            group.cancel_scope.cancel()

    async def _keep(self, name: str, service: Service, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                try:
                    await service()
                    return
                except StoreError as error:
                    logger.warning("service %s: %s; starting it again", name, error)
                except Exception as error:
                    logger.exception("service %s failed, starting it again", name)
                    self.failures[name] = error
                    self.failing.add(name)
                await asyncio.sleep(RESTART_SECONDS)
                self.failing.discard(name)
