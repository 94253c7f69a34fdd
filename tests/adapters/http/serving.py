"""The application behind a real server, on a free port of the loopback."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals to pytest."""
        yield


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncGenerator[str]:
    """Serve in the test's own loop, without the application's lifespan; yield the URL."""
    with _listening() as (listener, url):
        server = _server(app, lifespan="off")
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve([listener]))
            try:
                yield url
            finally:
                server.should_exit = True


@contextmanager
def served_in_thread(make_app: Callable[[str], ASGIApp]) -> Generator[str]:
    """Serve in a thread, with the lifespan, what `make_app` makes of its own URL; for clients that block."""
    with _listening() as (listener, url):
        server = _server(make_app(url), lifespan="on")
        failures: list[BaseException] = []

        def serve() -> None:
            try:
                asyncio.run(server.serve([listener]))
            except BaseException as error:  # noqa: BLE001  it is raised to the test
                failures.append(error)

        thread = threading.Thread(target=serve, name="uvicorn")
        thread.start()
        try:
            yield url
        finally:
            server.should_exit = True
            thread.join(30)
        for failure in failures:
            raise failure
        assert not thread.is_alive()


def _server(app: ASGIApp, *, lifespan: str) -> uvicorn.Server:
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=5)
    config.lifespan = "on" if lifespan == "on" else "off"
    return _Server(config)


@contextmanager
def _listening() -> Generator[tuple[socket.socket, str]]:
    """A socket that listens before the server runs: a client that comes early waits."""
    # With the protocol named, asyncio switches Nagle's algorithm off; else each answer waits 40 ms for an ACK.
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}"
