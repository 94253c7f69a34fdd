"""Who takes part in which workload, and how large the workloads are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from asyncinfer import Model, model
from benchmarks import batching, binding, executors, imports, jobs, kills, lag, process_calls, workloads
from benchmarks.backlog import backlog
from benchmarks.delivering import delivering
from benchmarks.floors import AsyncioFloor, ProcessFloor, ThreadFloor, blocking_copied_echo, copied_echo
from benchmarks.records import Metrics
from benchmarks.serving import serving
from benchmarks.sqlite_floor import SQLiteFloor
from benchmarks.subjects import Asyncinfer, StoreName
from benchmarks.workloads import Subject

T = TypeVar("T")


class Sizes(Struct, frozen=True, kw_only=True):
    """How many jobs each workload has."""

    stream: int = 20_000
    processes: int = 5_000
    """W1 by processes, which take ten times as long."""
    turns: int = 500
    naps: int = 1_000
    payload: int = 200
    requests: int = 10_000
    webhooks: int = 5_000
    batched: int = 1_000
    arrival_seconds: float = 4.0
    """How long jobs come in for a model with batches."""
    waiting: tuple[int, ...] = (1_000, 100_000, 1_000_000)


FULL = Sizes()
QUICK = Sizes(
    stream=5_000,
    processes=1_000,
    turns=200,
    naps=500,
    payload=50,
    requests=2_000,
    webhooks=1_000,
    batched=200,
    arrival_seconds=1.0,
    waiting=(1_000, 20_000),
)


class Bout(Struct, frozen=True):
    """One subject in one workload."""

    workload: str
    subject: str
    measure: Callable[[], Awaitable[Metrics]]


Contest = AbstractAsyncContextManager[Sequence[Bout]]
"""Opens what its bouts share. They take turns, round by round, so that drift of the machine meets all of them."""


class Plan:
    """Makes the contests for some stores, at some sizes, with files under `directory`."""

    def __init__(self, stores: Sequence[StoreName], sizes: Sizes, directory: Path) -> None:
        self._stores = stores
        self._sizes = sizes
        self._directory = directory
        self._sqlite_floor = SQLiteFloor(directory)

    def contests(self) -> dict[str, list[Contest]]:
        """Return them by the name under which a caller asks for them."""
        return {
            "W1": [_ready(self._w1())],
            "W1b": [_ready(self._w1b())],
            "W2": [_ready(self._w2())],
            "W3": [_ready(self._w3())],
            "W5": [_ready(self._w5())],
            "W6": [self._w6(store) for store in self._stores],
            "W7": [
                _ready(bouts)
                for bouts in (self._w7_stream(), self._w7_processes(), self._w7_payload(), self._w7_payload_processes())
            ],
            "W8": [self._w8(store) for store in self._stores],
            "W9": [self._w9(store) for store in self._stores],
            "executors": [
                _ready(_bouts(workload, measures))
                for workload, measures in (executors.CONTESTS | process_calls.CONTESTS).items()
            ],
            "batching": [
                _ready(_bouts(workload, measures))
                for workload, measures in batching.contests(self._sizes.batched, self._sizes.arrival_seconds).items()
            ],
            "kill": [_ready(_bouts("kill", kills.MEASURES))],
            "lag": [_ready(_bouts("lag", lag.MEASURES))],
            "bind": [_ready([Bout("bind", "bind", binding.bind), Bout("bind", "encode", binding.encode)])],
            "import": [
                _ready([Bout("import", "asyncinfer", imports.library), Bout("import", imports.PARTS, imports.parts)])
            ],
        }

    def _w1(self) -> list[Bout]:
        size = self._sizes.stream
        return [
            *self._ours("W1", workloads.stream, model(jobs.noop), size),
            Bout("W1", "floor-asyncio", partial(workloads.stream, AsyncioFloor(jobs.noop), size)),
            *self._files(Bout("W1", "floor-sqlite", partial(self._sqlite_floor.stream, size))),
        ]

    def _w1b(self) -> list[Bout]:
        size = self._sizes.stream
        return [
            *self._ours("W1b", workloads.bulk, model(jobs.noop), size),
            Bout("W1b", "floor-asyncio", partial(workloads.bulk, AsyncioFloor(jobs.noop), size)),
            *self._files(Bout("W1b", "floor-sqlite", partial(self._sqlite_floor.stream, size))),
        ]

    def _w2(self) -> list[Bout]:
        size = self._sizes.turns
        return [
            *self._ours("W2", workloads.turns, model(jobs.noop), size),
            Bout("W2", "floor-asyncio", partial(workloads.turns, AsyncioFloor(jobs.noop), size)),
            *self._files(Bout("W2", "floor-sqlite", partial(self._sqlite_floor.turns, size))),
        ]

    def _w3(self) -> list[Bout]:
        size = self._sizes.naps
        return [
            *self._ours("W3", workloads.naps, model(jobs.nap), size),
            Bout("W3", "floor-asyncio", partial(workloads.naps, AsyncioFloor(jobs.nap), size)),
        ]

    def _w5(self) -> list[Bout]:
        size = self._sizes.payload
        return [
            *self._ours("W5", workloads.payload, model(jobs.echo), size),
            Bout("W5", "floor-asyncio", partial(workloads.payload, AsyncioFloor(copied_echo), size)),
            *self._files(Bout("W5", "floor-sqlite", partial(self._sqlite_floor.payload, size))),
        ]

    @asynccontextmanager
    async def _w6(self, store: StoreName) -> AsyncGenerator[list[Bout]]:
        async with AsyncExitStack() as stack:
            bouts: list[Bout] = []
            for waiting in self._sizes.waiting:
                directory = self._directory / f"backlog-{waiting}"
                measure = await stack.enter_async_context(backlog(store, directory, waiting))
                bouts.append(Bout(f"W6/{waiting}", f"asyncinfer-{store}", measure))
            yield bouts

    @asynccontextmanager
    async def _w8(self, store: StoreName) -> AsyncGenerator[list[Bout]]:
        async with serving(store, self._directory, self._sizes.requests) as measures:
            yield _bouts("W8", measures)

    @asynccontextmanager
    async def _w9(self, store: StoreName) -> AsyncGenerator[list[Bout]]:
        async with delivering(store, self._directory, self._sizes.webhooks) as measures:
            yield _bouts("W9", measures)

    def _w7_stream(self) -> list[Bout]:
        size = self._sizes.stream
        return [
            *self._ours("W7/W1", workloads.stream, model(jobs.blocking_noop), size, "-thread"),
            Bout("W7/W1", "floor-threads", partial(workloads.stream, ThreadFloor(jobs.blocking_noop), size)),
        ]

    def _w7_payload(self) -> list[Bout]:
        size = self._sizes.payload
        return [
            *self._ours("W7/W5", workloads.payload, model(jobs.blocking_echo), size, "-thread"),
            Bout("W7/W5", "floor-threads", partial(workloads.payload, ThreadFloor(blocking_copied_echo), size)),
        ]

    def _w7_processes(self) -> list[Bout]:
        size = self._sizes.processes
        noop = model(jobs.blocking_noop, executor="process")
        return [
            *self._ours("W7/W1", workloads.stream, noop, size, "-process"),
            Bout("W7/W1", "floor-processes", partial(workloads.stream, ProcessFloor(jobs.blocking_noop), size)),
        ]

    def _w7_payload_processes(self) -> list[Bout]:
        size = self._sizes.payload
        echo = model(jobs.blocking_echo, executor="process")
        return [
            *self._ours("W7/W5", workloads.payload, echo, size, "-process"),
            Bout("W7/W5", "floor-processes", partial(workloads.payload, ProcessFloor(jobs.blocking_echo), size)),
        ]

    def _ours(
        self,
        workload: str,
        measure: Callable[[Subject[T], int], Awaitable[Metrics]],
        model: Model[[T], T, object],
        size: int,
        suffix: str = "",
    ) -> list[Bout]:
        return [
            Bout(
                workload,
                f"asyncinfer-{store}{suffix}",
                partial(measure, Asyncinfer(store, self._directory, model), size),
            )
            for store in self._stores
        ]

    def _files(self, bout: Bout) -> list[Bout]:
        return [bout] if "sqlite" in self._stores else []


def _bouts(workload: str, measures: Mapping[str, Callable[[], Awaitable[Metrics]]]) -> list[Bout]:
    return [Bout(workload, subject, measure) for subject, measure in measures.items()]


@asynccontextmanager
async def _ready(bouts: list[Bout]) -> AsyncGenerator[list[Bout]]:
    yield bouts
