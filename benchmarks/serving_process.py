"""The server of W8: a bare Starlette route and the HTTP contract, side by side in one uvicorn.

Run as `python -m benchmarks.serving_process STORE_URL`. It prints its port; for each line on standard input it prints
its CPU seconds so far and how late its loop was since the last line; it ends with standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from asyncinfer import JobManager, model
from asyncinfer.adapters.http import create_app
from benchmarks import jobs
from benchmarks.lag import LagMeter
from benchmarks.subjects import LIMITS
from benchmarks.workloads import CONCURRENCY, percentiles


async def bare(request: Request) -> JSONResponse:
    """Read JSON and answer JSON: what any handler does."""
    asked = await request.json()
    return JSONResponse({"object": "job", "model": asked["model"], "status": "queued"}, status_code=202)


async def serve(url: str) -> None:
    manager = JobManager(url, models=[model(jobs.noop)], limits=LIMITS, concurrency={"loop": CONCURRENCY})
    contract = create_app(manager, public_base_url="http://127.0.0.1/inference", allow_anonymous=True)
    app = Starlette(routes=[Route("/bare", bare, methods=["POST"]), Mount("/inference", contract)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
    async with manager:
        # The protocol written out: asyncio sets TCP_NODELAY only on what says that it is TCP.
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1_024)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        print(listening.getsockname()[1], flush=True)
        await _answer_until_end()
        server.should_exit = True
        await serving


async def _answer_until_end() -> None:
    meter = LagMeter()
    measuring = asyncio.create_task(meter.run())
    ended = asyncio.Event()
    stdin = sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 64):
            ended.set()
            return
        print(
            json.dumps({"cpu_seconds": time.process_time(), "lag_p99_ms": percentiles(meter.take())["p99_ms"]}),
            flush=True,
        )

    loop = asyncio.get_running_loop()
    loop.add_reader(stdin, read)
    await ended.wait()
    loop.remove_reader(stdin)
    measuring.cancel()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
