"""Jobs that are timed: how long each waits for its start, its ending and its cancel."""

from __future__ import annotations

import asyncio
import time

import pytest

from asyncinfer import JobHandle, JobManager, Model, Subscription, current_job, model
from asyncinfer.errors import JobCanceled

Webhook = str | Subscription | tuple[str | Subscription, ...]


class Turns:
    """Runs jobs and notes, in milliseconds, how long they waited. Those of one that is `telling` have live events."""

    def __init__(self, manager: JobManager, *, is_telling: bool = False) -> None:
        self._manager = manager
        self._is_telling = is_telling
        self.starts: list[float] = []
        """From submit to the model's first line."""
        self.finishes: list[float] = []
        """From the model's last line to the result in hand."""
        self.cancels: list[float] = []
        """From `cancel` of a running job to its ending in hand."""
        self.ended: dict[str, float] = {}
        """By `time.perf_counter`, of every job of either kind."""

    async def take(self, webhook: Webhook | None) -> None:
        began = time.perf_counter()
        handle = await self._submit(quick, webhook)
        started, returned = await handle
        ended = self.ended[handle.id] = time.perf_counter()
        self.starts.append((started - began) * 1e3)
        self.finishes.append((ended - returned) * 1e3)
        await self._cancel(webhook)

    async def _cancel(self, webhook: Webhook | None) -> None:
        Running.begun = asyncio.Event()
        handle = await self._submit(sleepy, webhook)
        await Running.begun.wait()
        began = time.perf_counter()
        await handle.cancel()
        with pytest.raises(JobCanceled):
            await handle
        ended = self.ended[handle.id] = time.perf_counter()
        self.cancels.append((ended - began) * 1e3)

    async def _submit(
        self, job: Model[[bool], tuple[float, float], object], webhook: Webhook | None
    ) -> JobHandle[tuple[float, float]]:
        wanted = job if webhook is None else job.options(webhook=webhook)
        return await self._manager.submit(wanted, self._is_telling)


@model
async def quick(is_telling: bool) -> tuple[float, float]:
    started = time.perf_counter()
    tell(is_telling=is_telling)
    return started, time.perf_counter()


class Running:
    """Told by the model that it runs: a loop's own, since each test has another."""

    begun: asyncio.Event


@model
async def sleepy(is_telling: bool) -> tuple[float, float]:
    tell(is_telling=is_telling)
    Running.begun.set()
    await asyncio.sleep(3_600)
    return 0.0, 0.0


def tell(*, is_telling: bool) -> None:
    if is_telling:
        current_job().progress(0.5)
        current_job().emit("a value")


MODELS = [quick, sleepy]
