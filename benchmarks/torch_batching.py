"""What batching gives a real model: 500 sentences of mixed length embedded on the CPU, one worker process.

`python -m benchmarks.torch_batching`; needs `pip install -r requirements/embedding.txt`. It prints one JSON line a run
and a table. All sentences are there at once; a sentence's latency runs from then to its result. torch has one thread
everywhere: where other work shares the cores, threads of OpenMP that wait for each other stop whoever has several.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from asyncinfer import Batch, JobManager, SetupContext, model
from asyncinfer_process import ProcessExecutor
from benchmarks.embedder import MAX_BATCH, Embedder, tokens
from benchmarks.goals import CPU
from benchmarks.records import Figure, Measures, Metrics, Run, Runs
from benchmarks.report import show
from benchmarks.workloads import Stopwatch, WrongResult, percentiles

SENTENCES = 500
TEXT = (
    "the model reads a sentence and answers with numbers that lie near those of sentences which mean the same so one"
    " can search rank or group them by meaning rather than by letters even when no word of the question stands in the"
    " answer and this is what every queue of work is full of short titles long paragraphs and whole pages"
)
BUCKETS = (8, 16, 32, 64, 128)
TOLERANCE = 1e-4
RATE = "sentences_per_second"
ONE_BY_ONE = "loop, one by one"
WORKLOAD = "torch"
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
HEAD = ("", "sentences/s", "of the loop, one by one", "CPU s per 1,000", "p50 ms", "p95 ms")

Vectors = Sequence[Sequence[float]]
Embed = Callable[[Sequence[str]], Vectors]


def sentences() -> list[str]:
    """Return texts of 2 to 180 words, most of them short, no two alike."""
    chance, words = random.Random(7), TEXT.split()
    lengths = [min(180, max(2, round(chance.lognormvariate(2.7, 0.9)))) for _ in range(SENTENCES)]
    return [f"{n} {' '.join(chance.choices(words, k=length))}" for n, length in enumerate(lengths)]


async def loop(embedder: Embedder, size: int, asked: Sequence[str], expected: Vectors) -> Metrics:
    """Call the model in this process, `size` sentences at a time as they come."""
    laps: list[float] = []
    vectors: list[Sequence[float]] = []
    with Stopwatch() as watch:
        begun = time.perf_counter()
        for start in range(0, len(asked), size):
            part = embedder.predict_batch(list(asked[start : start + size]))
            laps += [(time.perf_counter() - begun) * 1e3] * len(part)
            vectors += part
    return _metrics(watch, laps, vectors, expected)


async def jobs(manager: JobManager, workers: ProcessExecutor, asked: Sequence[str], expected: Vectors) -> Metrics:
    """Submit all as jobs, then collect them. CPU is that of both processes."""
    embed = manager.model("embed")
    laps: list[float] = []

    async def collect(handle: Awaitable[list[float]], begun: float) -> list[float]:
        vector = await handle
        laps.append((time.perf_counter() - begun) * 1e3)
        return vector

    before = _cpu_seconds(workers)
    with Stopwatch() as watch:
        begun = time.perf_counter()
        handles = await manager.submit_many([embed.bind(sentence) for sentence in asked])
        vectors = await asyncio.gather(*(collect(handle, begun) for handle in handles))
    watch.cpu_seconds += _cpu_seconds(workers) - before
    return _metrics(watch, laps, vectors, expected)


@asynccontextmanager
async def subjects() -> AsyncGenerator[Measures]:
    """Yield the measures, every model loaded and warm."""
    asked = sentences()
    embedder = Embedder()
    embedder.setup(SetupContext(model="embed", executor=""))
    expected = [embedder.predict_batch([sentence])[0] for sentence in asked]
    batches = {
        "asyncinfer, no batch": None,
        "asyncinfer, batch": Batch(max_size=MAX_BATCH),
        "asyncinfer, batch and buckets": Batch(max_size=MAX_BATCH, cost=tokens, buckets=BUCKETS),
    }
    measures: Measures = {
        ONE_BY_ONE: partial(loop, embedder, 1, asked, expected),
        f"loop, {MAX_BATCH} as they come": partial(loop, embedder, MAX_BATCH, asked, expected),
        "loop, all at once, sorted": partial(loop, embedder, SENTENCES, asked, expected),
    }
    async with AsyncExitStack() as stack:
        for subject, batch in batches.items():
            embed = model(Embedder, name="embed", executor="process", batch=batch)
            workers = ProcessExecutor(1)
            manager = JobManager("memory://", models=[embed], executors={"process": workers})
            await stack.enter_async_context(manager)
            await jobs(manager, workers, asked[:MAX_BATCH], expected[:MAX_BATCH])
            measures[subject] = partial(jobs, manager, workers, asked, expected)
        yield measures


def _metrics(watch: Stopwatch, laps: Sequence[float], vectors: Vectors, expected: Vectors) -> Metrics:
    off = max(abs(a - b) for one, other in zip(vectors, expected, strict=True) for a, b in zip(one, other, strict=True))
    if off > TOLERANCE:
        raise WrongResult(f"A vector is {off} off that of the plain loop")
    cpu = {CPU: watch.cpu_seconds / len(laps) * 1e3}
    return {RATE: len(laps) / watch.seconds} | cpu | percentiles(laps)


def _cpu_seconds(workers: ProcessExecutor) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in workers.pids]
    return sum(int(user) + int(system) for *_, user, system in (each[:13] for each in fields)) / CLOCK_TICKS


async def _play(rounds: int) -> Runs:
    runs = Runs()
    async with subjects() as measures:
        turns = list(measures.items())
        for number in range(rounds):
            start = number % len(turns)  # nobody is always first
            for subject, measure in (*turns[start:], *turns[:start]):
                run = Run(workload=WORKLOAD, subject=subject, round=number, metrics=await measure())
                runs.add(run)
                print(msgspec.json.encode(run).decode(), flush=True)
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_batching", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch, here and in the worker process (1)")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read when torch is imported, there too
    print(f"load before: {os.getloadavg()[0]:.2f}")
    runs = asyncio.run(_play(options.rounds))
    print(f"| {' | '.join(HEAD)} |", "| -- " * len(HEAD) + "|", sep="\n")
    for subject in runs.subjects(WORKLOAD):
        rate, *others = (Figure(WORKLOAD, subject, metric) for metric in (RATE, CPU, "p50_ms", "p95_ms"))
        ratio = runs.ratio(rate, Figure(WORKLOAD, ONE_BY_ONE, RATE))
        cells = [runs.spread(rate), ratio, *(runs.spread(figure) for figure in others)]
        print(f"| {subject} | " + " | ".join(map(show, cells)) + " |")
    print(f"load after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
