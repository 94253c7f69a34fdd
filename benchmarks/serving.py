"""W8: submits over HTTP, beside a bare route of the same server.

The server is a process of its own (`serving_process.py`); this side drives 64 keep-alive connections with a protocol
that does nothing but count, since an HTTP client library costs more than the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.records import Metrics
from benchmarks.subjects import StoreName, fresh_directory, store_url
from benchmarks.workloads import Stopwatch, WrongResult

CONNECTIONS = 64
WARM_UP = 500
BODY = b'{"model":"noop","input":{"n":1}}'
RESULT_HEADERS = b"Prefer: wait=30\r\n"

Measure = Callable[[], Awaitable[Metrics]]


@asynccontextmanager
async def serving(store: StoreName, directory: Path, requests: int) -> AsyncGenerator[Mapping[str, Measure]]:
    """Start a server over a fresh store; give the measures of its routes by subject."""
    place = directory / f"serving-{store}"
    fresh_directory(place)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.serving_process", store_url(store, place)), stdin=PIPE, stdout=PIPE
    )
    try:
        port = int(await _line(process))
        yield {
            f"floor-starlette-{store}": partial(_measure, process, port, b"/bare", requests),
            f"asyncinfer-{store}": partial(_measure, process, port, b"/inference/v1/jobs", requests),
            f"asyncinfer-{store}-result": partial(
                _measure, process, port, b"/inference/v1/jobs", requests, headers=RESULT_HEADERS, is_ended=True
            ),
        }
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _measure(
    process: Process, port: int, path: bytes, requests: int, *, headers: bytes = b"", is_ended: bool = False
) -> Metrics:
    """Send the requests over all connections, each one's next when the last is answered."""
    request = b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (
        *(path, headers, len(BODY)),
        BODY,
    )
    # Without a wait too, a job may have ended (200) when it is looked at for the answer.
    expected = b"HTTP/1.1 200 " if is_ended else b"HTTP/1.1 20"
    await _drive(port, request, expected, WARM_UP)
    before = await _ask(process)
    with Stopwatch() as watch:
        await _drive(port, request, expected, requests)
    after = await _ask(process)
    return {
        "requests_per_second": requests / watch.seconds,
        "server_cpu_ms": (after["cpu_seconds"] - before["cpu_seconds"]) / requests * 1e3,
        "lag_p99_ms": after["lag_p99_ms"],
    }


async def _drive(port: int, request: bytes, expected: bytes, requests: int) -> None:
    turns = iter(range(requests))
    lanes = [Lane(request, expected, turns) for _ in range(CONNECTIONS)]
    for lane in lanes:
        await asyncio.get_running_loop().create_connection(partial(_same, lane), "127.0.0.1", port)
    await asyncio.gather(*(lane.is_done for lane in lanes))


def _same(lane: Lane) -> Lane:
    return lane


class Lane(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, request: bytes, expected: bytes, turns: Iterator[int]) -> None:
        self._request = request
        self._expected = expected
        self._turns = turns
        self._seen = b""
        self.is_done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._seen += data
        head, separator, body = self._seen.partition(b"\r\n\r\n")
        if not separator:
            return
        if not head.startswith(self._expected):
            self._end(WrongResult(f"The server answered {self._seen[:300]!r}"))
            return
        length = int(head.lower().rpartition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._seen = b""
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionError("The server hung up"))

    def _next(self) -> None:
        if next(self._turns, None) is None:
            self._end(None)
        else:
            self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if self.is_done.done():
            return
        if error is None:
            self.is_done.set_result(None)
        else:
            self.is_done.set_exception(error)
        self._transport.close()


async def _ask(process: Process) -> dict[str, float]:
    """Return what the server has used, and how late its loop was since it was last asked."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    answer: dict[str, Any] = json.loads(await _line(process))
    return answer


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ConnectionError("The server of the benchmark has ended")
    return line
