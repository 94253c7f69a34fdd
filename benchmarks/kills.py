"""How soon a hard cancel has ended a call, freed its slot, and let the next call answer."""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial

from asyncinfer import model
from asyncinfer.abc import Runner
from asyncinfer_process import ProcessExecutor
from benchmarks import jobs
from benchmarks.bare_child import BareChild
from benchmarks.process_calls import LIMITS, call, result_of, started
from benchmarks.records import Measures, Metrics

RUNNING_SECONDS = 0.1
"""By then the code of the call that is to be ended runs."""
SPARE_SECONDS = 0.7
"""By then a process has started, on top of its model's setup."""

_plain = model(jobs.hold, name="plain", executor="process")
_slow = model(jobs.LoadedInASecond, name="slow", executor="process")
_now, _long = _plain.bind(0.0).input, _plain.bind(600.0).input


async def kill(runner: Runner, setup_seconds: float, *, spares: int, times: int) -> Metrics:
    """End the call of a process with one slot; return the medians of so many kills."""
    laps: list[Metrics] = []
    async with started(runner, ProcessExecutor(1, spares=spares)) as executor:
        for _ in range(times):
            result_of(await executor.run(call(runner, _now)))
            if spares:
                await asyncio.sleep(SPARE_SECONDS + setup_seconds)
            laps.append(await _kill(executor, runner))
    return {name: statistics.median(lap[name] for lap in laps) for name in laps[0]}


async def floor() -> Metrics:
    """SIGTERM and wait; then start a Python that imports nothing, and hear from it."""
    doomed = BareChild(1)
    doomed.send(b".")
    doomed.receive()
    begun = time.perf_counter()
    doomed.process.terminate()
    doomed.process.wait()
    ended = time.perf_counter()
    successor = BareChild(1)
    successor.send(b".")
    successor.receive()
    answered = time.perf_counter()
    doomed.close()
    successor.close()
    return {"outcome_ms": (ended - begun) * 1e3, "next_ms": (answered - begun) * 1e3}


MEASURES: Measures = {
    "a spare": partial(kill, _plain.runner(LIMITS), 0.0, spares=1, times=2),
    "a spare, setup 1 s": partial(kill, _slow.runner(LIMITS), 1.0, spares=1, times=1),
    "no spare": partial(kill, _plain.runner(LIMITS), 0.0, spares=0, times=2),
    "no spare, setup 1 s": partial(kill, _slow.runner(LIMITS), 1.0, spares=0, times=1),
    "floor: bare process": floor,
}
"""By subject."""


async def _kill(executor: ProcessExecutor, runner: Runner) -> Metrics:
    doomed = call(runner, _long)
    running = asyncio.create_task(executor.run(doomed))
    await asyncio.sleep(RUNNING_SECONDS)
    begun = time.perf_counter()
    executor.cancel(doomed, hard=True)
    (outcome,) = await running
    assert outcome.kind == "canceled"
    ended = time.perf_counter()
    while executor.free < 1:  # noqa: ASYNC110  it is free already, or on the loop's next turn
        await asyncio.sleep(0)
    freed = time.perf_counter()
    result_of(await executor.run(call(runner, _now)))
    answered = time.perf_counter()
    laps = {"outcome_ms": ended, "free_ms": freed, "next_ms": answered}
    return {name: (at - begun) * 1e3 for name, at in laps.items()}
