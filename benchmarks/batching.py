"""What batching brings: length buckets against first come first served, and going at once against waiting for more.

The model's cost is simulated by a sleep in the one thread of its executor: so much a call, so much for each token of
the batch padded to its longest item, as on a device whose kernels are full. All else is real: a manager and a memory
store.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from asyncinfer import Batch, JobHandle, JobManager, Model, model
from benchmarks.goals import P50, RATE
from benchmarks.records import Measures, Metrics
from benchmarks.subjects import LIMITS
from benchmarks.workloads import WrongResult

CALL_SECONDS = 0.004
TOKEN_SECONDS = 5e-6
MAX_SIZE = 16
LONGEST = 512
BUCKETS = (32, 64, 96, 128, 192, 256, 384)
"""Seven bounds make eight buckets."""
LOADS = {"low load": 50, "high load": 450}
"""Jobs a second, as they come from many users: by chance, whatever is still unanswered."""
WARM_UP = 32


class Padded:
    """A model that takes as long as its batch padded to the longest item; an item is a length in tokens."""

    calls = items = tokens = computed = 0

    def predict_batch(self, items: list[int]) -> list[int]:
        cls, computed = type(self), len(items) * max(items)
        cls.calls += 1
        cls.items += len(items)
        cls.tokens += sum(items)
        cls.computed += computed
        time.sleep(CALL_SECONDS + TOKEN_SECONDS * computed)
        return items


def length(item: int) -> int:
    return item


GREEDY = Batch(max_size=MAX_SIZE)
ONE_BY_ONE = Batch(max_size=1)
BUCKETED = Batch(max_size=MAX_SIZE, cost=length, buckets=BUCKETS)
BUCKETED_50 = Batch(max_size=MAX_SIZE, cost=length, buckets=BUCKETS, max_wait=0.05)


async def backlog(batch: Batch, jobs: int) -> Metrics:
    """Run jobs that all wait before the first begins."""
    async with _opened(batch) as (manager, padded):
        await manager.pause("default")
        asked = _lengths(jobs)
        handles = await manager.submit_many([padded.bind(item) for item in asked])
        begun = time.perf_counter()
        await manager.resume("default")
        _check(asked, [await handle for handle in handles])
        return {RATE: jobs / (time.perf_counter() - begun), **_shape()}


async def load(batch: Batch, per_second: float, seconds: float) -> Metrics:
    """Submit jobs at random instants; a latency counts from the instant at which its job was to be submitted."""
    source = random.Random(7)
    asked = _lengths(max(20, round(per_second * seconds)))
    took: list[float] = []

    async def collect(handle: JobHandle[int], item: int, due: float) -> None:
        _check([item], [await handle])
        took.append(time.perf_counter() - due)

    async with _opened(batch) as (manager, padded), asyncio.TaskGroup() as collecting:
        due = begun = time.perf_counter()
        for item in asked:
            due += source.expovariate(per_second)
            await asyncio.sleep(max(0, due - time.perf_counter()))
            collecting.create_task(collect(await manager.submit(padded, item), item, due))
        while len(took) < len(asked):  # noqa: ASYNC110  a look every 5 ms, outside of what is timed
            await asyncio.sleep(0.005)
        elapsed = time.perf_counter() - begun
        cuts = statistics.quantiles(took, n=100, method="inclusive")
        return {RATE: len(asked) / elapsed, **_shape(), P50: cuts[49] * 1000, "p95_ms": cuts[94] * 1000}


def contests(jobs: int, seconds: float) -> dict[str, Measures]:
    """Return what is measured, by workload and subject."""
    return {
        "batching/backlog": {
            "one by one": partial(backlog, ONE_BY_ONE, jobs),
            "first come, 16 a call": partial(backlog, GREEDY, jobs),
            "8 length buckets": partial(backlog, BUCKETED, jobs),
            "8 buckets, max_wait 50 ms": partial(backlog, BUCKETED_50, jobs),
        },
        **{
            f"batching/{name}": {
                f"max_wait {wait} ms": partial(
                    load, Batch(max_size=MAX_SIZE, max_wait=wait / 1000), per_second, seconds
                )
                for wait in (0, 10, 50)
            }
            for name, per_second in LOADS.items()
        },
    }


@asynccontextmanager
async def _opened(batch: Batch) -> AsyncGenerator[tuple[JobManager, Model[[int], int, object]]]:
    padded = model(Padded, batch=batch)
    async with JobManager("memory://", models=[padded], limits=LIMITS, concurrency={"thread": 1}) as manager:
        await asyncio.gather(*await manager.submit_many([padded.bind(8)] * WARM_UP))
        Padded.calls = Padded.items = Padded.tokens = Padded.computed = 0
        yield manager, padded


def _lengths(count: int) -> list[int]:
    """Return lengths as those of texts are: many short ones, a few long."""
    source = random.Random(11)
    return [min(LONGEST, max(8, round(source.lognormvariate(4, 0.9)))) for _ in range(count)]


def _shape() -> Metrics:
    return {
        "padding_percent": 100 * (1 - Padded.tokens / Padded.computed),
        "batch_size": Padded.items / Padded.calls,
    }


def _check(asked: Sequence[int], answers: Sequence[int]) -> None:
    if list(asked) != list(answers):
        raise WrongResult("a batch mixed up its answers")
