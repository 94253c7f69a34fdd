"""W6: what a submit and a claim cost while few, many, very many jobs wait.

Each backlog lives in a process of its own, filled before anything is timed; then the rounds go from one to the next,
so that a slow moment of the machine meets all of them. Run as a module, this file is such a process: it says how many
bytes a waiting job takes, and measures one round for each line that it reads.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_bytes

import msgspec

from asyncinfer import JobManager, model
from asyncinfer.abc import ClaimRequest, Finish, JobKey, JobStore, ModelRoom, WorkerInfo
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from benchmarks.jobs import noop
from benchmarks.records import Metrics
from benchmarks.subjects import LIMITS, StoreName, fresh_directory, store_file, store_url
from benchmarks.workloads import WrongResult

SAMPLES = 100
"""Submits, and claims with their results, in one round. The backlog keeps its size."""
CHUNK = 1_000
MEASURABLE = 10_000
"""Fewer jobs than this do not show in the growth of a process."""
WORKER = "benchmark"
LEASE = 600_000

_noop = model(noop)


@asynccontextmanager
async def backlog(store: StoreName, directory: Path, waiting: int) -> AsyncGenerator[Callable[[], Awaitable[Metrics]]]:
    """Start a process, let it fill a store in `directory`, and yield what measures one round in it."""
    fresh_directory(directory)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.backlog", store, directory, str(waiting)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    to_process, from_process = process.stdin, process.stdout

    async def measure() -> Metrics:
        to_process.write(b"\n")
        return filled | await _hear(from_process)

    try:
        filled = await _hear(from_process)
        yield measure
    finally:
        to_process.close()  # at which it ends
        await process.wait()


async def _hear(process: asyncio.StreamReader) -> Metrics:
    line = await process.readline()
    if not line:
        raise RuntimeError("A process with a backlog has ended; what it said stands above")
    return msgspec.json.decode(line, type=Metrics)


async def _serve(name: StoreName, directory: Path, waiting: int) -> None:
    """Fill the store, say so, and measure a round for each line on standard input."""
    url = store_url(name, directory)
    store = MemoryStore.from_url(url) if name == "memory" else SQLiteStore.from_url(url)
    file = store_file(directory) if name == "sqlite" else None
    async with JobManager(store, models=[_noop], run_jobs=False, limits=LIMITS) as manager:
        await store.register(WorkerInfo(worker=WORKER), LEASE)
        empty = _size(file)
        for start in range(0, waiting, CHUNK):
            await manager.submit_many([_noop.bind(n) for n in range(start, min(start + CHUNK, waiting))])
        _say({"bytes_per_job": (_size(file) - empty) / waiting} if waiting >= MEASURABLE else {})
        while await asyncio.to_thread(sys.stdin.readline):
            _say({"submit_ms": await _submit(manager), "claim_ms": await _claim(store)})
    await store.close()


async def _submit(manager: JobManager) -> float:
    """Return the median of single submits, one after the other."""
    laps: list[float] = []
    for n in range(SAMPLES):
        begun = time.perf_counter()
        await manager.submit(_noop, n)
        laps.append(time.perf_counter() - begun)
    return statistics.median(laps) * 1e3


async def _claim(store: JobStore) -> float:
    """Return the median from the claim of the oldest job to its result, read back and checked.

    Straight at the store: a worker would add the same to every backlog, and claim the next job beside.
    """
    request = ClaimRequest(worker=WORKER, lease=LEASE, slots=1, models=(ModelRoom("noop", 1),))
    laps: list[float] = []
    for _ in range(SAMPLES):
        begun = time.perf_counter()
        (answer,) = await store.claim([request])
        (claim,) = answer.claims
        result = msgspec.msgpack.encode(msgspec.msgpack.decode(claim.input)["n"])
        finish = Finish(claim.owner, claim.id, claim.attempt, "succeeded", token_bytes(16), result, ref=claim.ref)
        await store.finish([finish])
        (job,) = await store.get([JobKey(claim.owner, claim.id)])
        laps.append(time.perf_counter() - begun)
        if job is None or job.status != "succeeded" or job.result != result:
            raise WrongResult(f"{claim.id} ended as {job and job.status} without the result that it was given")
    return statistics.median(laps) * 1e3


def _size(file: Path | None) -> int:
    """Return the bytes of the store's file and its log, or of this process's memory now."""
    if file is None:
        return _resident_bytes()
    return sum(part.stat().st_size for part in (file, file.with_name(file.name + "-wal")) if part.exists())


def _resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    # The peak, in bytes, as macOS says it; on Linux it would begin at the peak of the process that started this one.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _say(metrics: Metrics) -> None:
    print(msgspec.json.encode(metrics).decode(), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(msgspec.convert(sys.argv[1], StoreName), Path(sys.argv[2]), int(sys.argv[3])))
