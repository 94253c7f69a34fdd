"""How late the event loop is while models compute and large results come in."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Literal

from asyncinfer import JobManager, Limits, model
from benchmarks import jobs
from benchmarks.records import Measures, Metrics
from benchmarks.workloads import PROCESSES, WrongResult, percentiles

TICK_SECONDS = 0.005
BUSY_SECONDS = 3.0
BURN_SECONDS = 0.1
LIMITS = Limits(result_bytes=2 * jobs.LARGE_BYTES)


class LagMeter:
    """Sleeps 5 ms again and again, and notes how much later it woke."""

    def __init__(self) -> None:
        self._lags: list[float] = []

    async def run(self) -> None:
        while True:
            begun = time.perf_counter()
            await asyncio.sleep(TICK_SECONDS)
            self._lags.append((time.perf_counter() - begun - TICK_SECONDS) * 1e3)

    def take(self) -> list[float]:
        """Return the milliseconds since the last time; one 0.0 where there are none."""
        lags, self._lags = self._lags or [0.0], []
        return lags


async def idle() -> Metrics:
    """The floor: nothing else runs."""
    meter = LagMeter()
    measuring = asyncio.create_task(meter.run())
    await asyncio.sleep(1.0)
    measuring.cancel()
    return _metrics(meter.take())


async def busy(executor: Literal["process", "thread"]) -> Metrics:
    """Two slots that burn a core each and return 16 MiB ten times a second, through a manager on the memory store."""
    burn = model(jobs.burn, executor=executor)
    meter = LagMeter()
    results = 0

    async with JobManager("memory://", models=[burn], limits=LIMITS, concurrency={executor: PROCESSES}) as manager:

        async def lane(seconds: float) -> None:
            nonlocal results
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                job = await manager.submit(burn, BURN_SECONDS)
                if len(await job.result()) != jobs.LARGE_BYTES:
                    raise WrongResult("A result is not 16 MiB")
                await manager.delete(job.id)
                results += 1

        async def lanes(seconds: float) -> None:
            await asyncio.gather(*(lane(seconds) for _ in range(PROCESSES)))

        await lanes(0.2)
        results = 0
        measuring = asyncio.create_task(meter.run())
        begun = time.perf_counter()
        await lanes(BUSY_SECONDS)
        seconds = time.perf_counter() - begun
        measuring.cancel()
    return _metrics(meter.take()) | {"results_per_second": results / seconds}


MEASURES: Measures = {
    "process": partial(busy, "process"),
    "thread": partial(busy, "thread"),
    "floor-idle": idle,
}
"""By subject."""


def _metrics(lags: list[float]) -> Metrics:
    return percentiles(lags) | {"max_ms": max(lags)}
