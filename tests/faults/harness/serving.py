"""An HTTP server of a test: a real one on a loopback socket, on the loop of whoever opens it."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from tests.faults.harness.waiting import until

BACKLOG = 4_096
GRACEFUL_SECONDS = 5
"""For requests that are in flight when the server stops; a test that leaves some has failed already."""


class Site:
    """A server that listens."""

    def __init__(self, port: int, server: uvicorn.Server) -> None:
        self.port = port
        self._server = server

    @property
    def connections(self) -> int:
        """How many the server has not seen the end of."""
        return len(self._server.server_state.connections)

    @property
    def requests(self) -> int:
        """How many it is answering."""
        return len(self._server.server_state.tasks)


@asynccontextmanager
async def served(app: Starlette) -> AsyncGenerator[Site]:
    """Serve the application, whose manager is open."""
    # With its protocol named, for asyncio sets TCP_NODELAY on no other: each answer on a kept connection would be late.
    line = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    line.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        lifespan="off",
        loop="asyncio",
        http="httptools",
        ws="none",
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[line]))
    try:
        await until(lambda: server.started or serving.done(), 10, what="the server listens")
        yield Site(line.getsockname()[1], server)
    finally:
        server.should_exit = True
        await serving


def resident_bytes() -> int:
    """Return how much memory this process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def allow_files(count: int) -> None:
    """Let this process have so many open files, where its hard limit does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
