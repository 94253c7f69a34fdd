"""W9: webhooks to a local receiver, beside bare httpcore posts of the same bytes over as many connections.

The receiver is a process of its own (`delivering_process.py`). A webhook counts from its owed event to its settlement:
expanded, signed, guarded, posted, and written down. The jobs have ended before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import httpcore

from asyncinfer import JobManager, model
from asyncinfer.abc import DeliveryFilter
from asyncinfer.adapters.webhook import Guard, HmacSigner, Secret, WebhookSender, signed_headers
from benchmarks import jobs
from benchmarks.records import Metrics
from benchmarks.subjects import LIMITS, StoreName, fresh_directory, store_url
from benchmarks.workloads import CONCURRENCY, Stopwatch, WrongResult

RECEIVERS = 16
"""URLs of the one receiver, each of which gets four webhooks at once at most: 32 attempts in all, half of the slots."""
CONNECTIONS = 32
WARM_UP = 200
BODY = b"x" * 700
"""As long as the event of a small job."""
POLL_SECONDS = 0.005

Measure = Callable[[], Awaitable[Metrics]]


@asynccontextmanager
async def delivering(store: StoreName, directory: Path, webhooks: int) -> AsyncGenerator[Mapping[str, Measure]]:
    """Start a receiver; give the measures by subject."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.delivering_process"), stdin=PIPE, stdout=PIPE
    )
    try:
        port = int(await _line(process))
        place = directory / f"delivering-{store}"
        yield {
            f"floor-httpcore-{store}": partial(_bare, port, webhooks),
            f"asyncinfer-{store}": partial(_webhooks, process, store, place, port, webhooks),
        }
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _bare(port: int, webhooks: int) -> Metrics:
    """Post the same bytes, signed once, with as many requests at once."""
    url = f"http://127.0.0.1:{port}/cb"
    headers = await signed_headers("msg_1", int(time.time()), BODY, [HmacSigner(Secret.new())])
    async with AsyncExitStack() as stack:
        # A pool for each connection: with 32 in one, httpcore spends most of its time on choosing.
        pools = [await stack.enter_async_context(httpcore.AsyncConnectionPool()) for _ in range(CONNECTIONS)]

        async def post(count: int) -> None:
            turns = iter(range(count))

            async def lane(pool: httpcore.AsyncConnectionPool) -> None:
                for _ in turns:
                    answer = await pool.request("POST", url, headers=list(headers.items()), content=BODY)
                    if answer.status != 200:
                        raise WrongResult(f"The receiver answered {answer.status}")

            await asyncio.gather(*map(lane, pools))

        await post(WARM_UP)
        with Stopwatch() as watch:
            await post(webhooks)
    return _metrics(webhooks, watch)


async def _webhooks(process: Process, store: StoreName, place: Path, port: int, webhooks: int) -> Metrics:
    fresh_directory(place)
    noop = model(jobs.noop)
    guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port])
    concurrency = {"loop": CONCURRENCY}
    async with JobManager(store_url(store, place), models=[noop], limits=LIMITS, concurrency=concurrency) as manager:

        async def deliver(count: int) -> Stopwatch:
            """Owe webhooks while nobody sends, then time the sending of all of them."""
            hooked = [noop.options(webhook=f"http://127.0.0.1:{port}/{number}") for number in range(RECEIVERS)]
            handles = await manager.submit_many([hooked[n % RECEIVERS].bind(n) for n in range(count)])
            for handle in handles:
                await handle
            before = await _answered(process)
            with Stopwatch() as watch:
                async with WebhookSender(manager, secret=Secret.new(), guard=guard):
                    while await manager.outbox.next_due_at() is not None:  # noqa: ASYNC110  the store has no event for it
                        await asyncio.sleep(POLL_SECONDS)
            if await _answered(process) - before != count:
                raise WrongResult("Not every webhook has arrived once")
            return watch

        await deliver(WARM_UP)
        watch = await deliver(webhooks)
        failed = await manager.outbox.deliveries(None, DeliveryFilter(status="exhausted"), limit=1)
        if failed:
            raise WrongResult("A webhook was not delivered")
    return _metrics(webhooks, watch)


def _metrics(webhooks: int, watch: Stopwatch) -> Metrics:
    return {
        "webhooks_per_second": webhooks / watch.seconds,
        "cpu_seconds_per_1000": watch.cpu_seconds / webhooks * 1e3,
    }


async def _answered(process: Process) -> int:
    assert process.stdin is not None
    process.stdin.write(b"\n")
    return int(await _line(process))


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ConnectionError("The receiver of the benchmark has ended")
    return line
