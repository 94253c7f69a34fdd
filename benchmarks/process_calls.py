"""What a worker process adds to a call that does nothing, and to one that moves 16 MiB in and out.

Beside it stand the standard process pool, and a bare socket to a child process that echoes as many bytes.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np

from asyncinfer import Limits, Model, SetupContext, model
from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, Outcome, Runner
from asyncinfer_process import ProcessExecutor
from benchmarks import jobs
from benchmarks.array_jobs import echo_array
from benchmarks.bare_child import BareChild
from benchmarks.executors import Unheard, nothing, time_calls
from benchmarks.floors import warm_pool
from benchmarks.records import Measures, Metrics
from benchmarks.workloads import PROCESSES, WrongResult

CALLS = 2_000
LARGE_CALLS = 10
NOOP_BYTES = 80
"""A call of a small input is 65 to 95 bytes on its way, its answer 45."""
LARGE = random.Random(0).randbytes(jobs.LARGE_BYTES)
LARGE_ARRAY = np.frombuffer(LARGE, np.uint8)
LIMITS = Limits(result_bytes=2 * jobs.LARGE_BYTES)


@asynccontextmanager
async def started(runner: Runner, executor: ProcessExecutor) -> AsyncGenerator[ProcessExecutor]:
    """Yield the executor with the model loaded in one process."""
    await executor.start(nothing)
    await executor.prepare(runner, SetupContext(model=runner.model, executor="process"))
    try:
        yield executor
    finally:
        await executor.close(1)


def call(runner: Runner, data: bytes) -> Call:
    """Return a call of one job with this input."""
    context = JobContext(Unheard(), job_id="job_1", owner="", model=runner.model, attempt=1)
    return Call(runner, [CallItem(data, MSGPACK, context)])


def result_of(outcomes: Sequence[Outcome]) -> bytes:
    (outcome,) = outcomes
    if outcome.kind != "returned":
        raise WrongResult(f"A call ended as {outcome.kind}: {outcome.error}")
    return outcome.result


async def noop_by_executor(in_flight: int) -> Metrics:
    noop = model(jobs.blocking_noop, executor="process")
    runner = noop.runner(LIMITS)
    data = noop.bind(1).input
    async with started(runner, ProcessExecutor(in_flight)) as executor:
        return await time_calls(lambda: executor.run(call(runner, data)), in_flight, CALLS)


async def noop_by_pool(in_flight: int) -> Metrics:
    loop = asyncio.get_running_loop()
    async with warm_pool(in_flight) as pool:
        return await time_calls(lambda: loop.run_in_executor(pool, jobs.blocking_noop, 1), in_flight, CALLS)


async def noop_by_socket(in_flight: int) -> Metrics:
    """A child for each call in flight: send to all, then receive from all, with no loop and no thread."""
    children = [BareChild(NOOP_BYTES) for _ in range(in_flight)]
    data = bytes(NOOP_BYTES)

    def turn() -> None:
        for child in children:
            child.send(data)
        for child in children:
            child.receive()

    turn()
    begun = time.perf_counter()
    for _ in range(CALLS // in_flight):
        turn()
    seconds = time.perf_counter() - begun
    for child in children:
        child.close()
    return {"us": seconds / (CALLS // in_flight * in_flight) * 1e6}


async def large_by_executor() -> Metrics:
    """Stored bytes in, stored bytes out: decoded and encoded in the worker process."""
    echo = model(jobs.blocking_echo, executor="process")
    return await _stored(echo, LARGE)


async def array_by_executor() -> Metrics:
    return await _stored(model(echo_array, executor="process"), LARGE_ARRAY)


async def large_from_value_to_value() -> Metrics:
    """The same with what submitter and handle do: encode the input, decode the result."""
    return await _values(model(jobs.blocking_echo, executor="process"), LARGE)


async def array_from_value_to_value() -> Metrics:
    return await _values(model(echo_array, executor="process"), LARGE_ARRAY)


# Any, from here on: a value is what the job takes and gives, bytes or an array.
async def large_by_pool(job: Callable[[Any], Any], value: Any) -> Metrics:
    loop = asyncio.get_running_loop()
    async with warm_pool(1) as pool:
        return await _larges(lambda: loop.run_in_executor(pool, job, value))


async def large_by_socket() -> Metrics:
    child = BareChild(jobs.LARGE_BYTES)

    async def turn() -> None:
        child.send(LARGE)
        child.receive()

    metrics = await _larges(turn)
    child.close()
    return metrics


def _noop_measures(in_flight: int) -> Measures:
    return {
        "process executor": partial(noop_by_executor, in_flight),
        "floor: socket": partial(noop_by_socket, in_flight),
        "ProcessPoolExecutor": partial(noop_by_pool, in_flight),
    }


CONTESTS: dict[str, Measures] = {
    **{f"executors/process/{in_flight}": _noop_measures(in_flight) for in_flight in (PROCESSES, 1)},
    "executors/process/16MiB-bytes": {
        "process executor": large_by_executor,
        "with encode, decode": large_from_value_to_value,
        "floor: socket": large_by_socket,
        "ProcessPoolExecutor": partial(large_by_pool, jobs.blocking_echo, LARGE),
    },
    "executors/process/16MiB-array": {
        "process executor": array_by_executor,
        "with encode, decode": array_from_value_to_value,
        "floor: socket": large_by_socket,
        "ProcessPoolExecutor": partial(large_by_pool, echo_array, LARGE_ARRAY),
    },
}
"""By workload, then by subject."""


async def _stored(echo: Model[[Any], Any, Any], value: Any) -> Metrics:
    runner = echo.runner(LIMITS)
    data = echo.bind(value).input
    async with started(runner, ProcessExecutor(1)) as executor:

        async def turn() -> None:
            result_of(await executor.run(call(runner, data)))

        return await _larges(turn)


async def _values(echo: Model[[Any], Any, Any], value: Any) -> Metrics:
    runner = echo.runner(LIMITS)
    async with started(runner, ProcessExecutor(1)) as executor:

        async def turn() -> None:
            result = result_of(await executor.run(call(runner, echo.bind(value).input)))
            echo.definition.decode_result(result)

        return await _larges(turn)


async def _larges(once: Callable[[], Awaitable[object]]) -> Metrics:
    """Return the median of LARGE_CALLS calls, one after the other."""
    laps: list[float] = []
    await once()
    for _ in range(LARGE_CALLS):
        begun = time.perf_counter()
        await once()
        laps.append((time.perf_counter() - begun) * 1e3)
    return {"ms": statistics.median(laps)}
