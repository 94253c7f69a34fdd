"""What an executor adds to a call that does nothing, in microseconds, beside the standard ways and the floors.

`python -m benchmarks.executors` prints one JSON line a run and a table. Under backlog 1,000 calls are in flight, with
4 threads for whoever has threads.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue

import msgspec

from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, ModelState, Outcome, Progress, RunnerSpec, SetupContext
from asyncinfer_thread import LoopExecutor, ThreadExecutor
from benchmarks.records import Figure, Measures, Metrics, Run, Runs

CALLS = 20_000
ROUNDS = 5
THREADS = 4
BACKLOG = 1_000
OUTCOMES = [Outcome("returned", result=b"\xc0")]

CallOnce = Callable[[], Awaitable[object]]


class Unheard:
    """A reporter for models that say nothing."""

    def report(self, progress: Progress) -> None: ...

    def emit(self, data: bytes) -> None: ...

    def save_checkpoint(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class NoopRunner:
    """A runner that costs nothing, so that what is measured is the executor's own."""

    model = "noop"
    state: ModelState = "warm"
    spec = RunnerSpec(model="noop", executor="", code=len, target=None)
    is_async = False

    def setup(self, context: SetupContext) -> None: ...

    def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        return OUTCOMES

    def teardown(self) -> None: ...

    async def run_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        return OUTCOMES


RUNNER = NoopRunner()
ITEMS = [CallItem(b"\x80", MSGPACK, JobContext(Unheard(), job_id="job_1", owner="", model="noop", attempt=1))]


def nothing() -> None: ...


async def thread_executor(in_flight: int) -> Metrics:
    executor = ThreadExecutor(THREADS)
    await executor.start(nothing)
    metrics = await time_calls(lambda: executor.run(Call(RUNNER, ITEMS)), in_flight)
    await executor.close(1)
    return metrics


async def thread_pool(in_flight: int) -> Metrics:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as pool:
        return await time_calls(lambda: loop.run_in_executor(pool, RUNNER.run, ITEMS), in_flight)


async def to_thread(in_flight: int) -> Metrics:
    return await time_calls(lambda: asyncio.to_thread(RUNNER.run, ITEMS), in_flight)


async def queue_floor(in_flight: int) -> Metrics:
    """Move items to one thread and back over two SimpleQueues, with no loop and no wake-up."""
    there: SimpleQueue[int | None] = SimpleQueue()
    back: SimpleQueue[int] = SimpleQueue()

    def echo() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    thread = threading.Thread(target=echo)
    thread.start()
    begun = time.perf_counter()
    for _ in range(CALLS // in_flight):
        for item in range(in_flight):
            there.put(item)
        for _ in range(in_flight):
            back.get()
    seconds = time.perf_counter() - begun
    there.put(None)
    thread.join()
    return {"us": seconds / (CALLS // in_flight * in_flight) * 1e6}


async def loop_executor() -> Metrics:
    executor = LoopExecutor()
    await executor.start(nothing)
    metrics = await time_calls(lambda: executor.run(Call(RUNNER, ITEMS)), 1)
    await executor.close(1)
    return metrics


async def loop_floor() -> Metrics:
    """Await the runner itself."""
    return await time_calls(lambda: Call(RUNNER, ITEMS).runner.run_async(ITEMS), 1)


def _thread_measures(in_flight: int) -> Measures:
    return {
        "thread executor": partial(thread_executor, in_flight),
        "floor: SimpleQueue": partial(queue_floor, in_flight),
        "ThreadPoolExecutor": partial(thread_pool, in_flight),
        "asyncio.to_thread": partial(to_thread, in_flight),
    }


CONTESTS: dict[str, Measures] = {
    **{f"executors/thread/{in_flight}": _thread_measures(in_flight) for in_flight in (BACKLOG, THREADS, 1)},
    "executors/loop": {"loop executor": loop_executor, "floor: await": loop_floor},
}
"""By workload (how many calls are in flight at its end), then by subject."""


async def time_calls(call: CallOnce, in_flight: int, calls: int = CALLS) -> Metrics:
    """Make so many calls from `in_flight` tasks that each take the next."""
    turns = iter(range(calls))

    async def lane() -> None:
        for _ in turns:
            await call()

    await asyncio.gather(*(call() for _ in range(min(in_flight, 100))))
    begun = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(in_flight)))
    return {"us": (time.perf_counter() - begun) / calls * 1e6}


async def _play() -> Runs:
    runs = Runs()
    for round_number in range(ROUNDS):
        for workload, subjects in CONTESTS.items():
            for subject, measure in subjects.items():
                run = Run(workload=workload, subject=subject, round=round_number, metrics=await measure())
                runs.add(run)
                print(msgspec.json.encode(run).decode(), flush=True)
    return runs


def main() -> None:
    runs = asyncio.run(_play())
    for workload in runs.workloads():
        for subject in runs.subjects(workload):
            spread = runs.spread(Figure(workload, subject, "us"))
            assert spread is not None
            print(f"{workload:24} {subject:20} {spread.median:8.2f} us  ({spread.low:.2f}-{spread.high:.2f})")


if __name__ == "__main__":
    main()
