"""An ASGI application on a socket, for as long as its manager, if it has one, takes jobs.

Needs uvicorn, of the extra `http`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeAlias

from asyncinfer import JobManager
from asyncinfer.errors import AsyncinferError, InvalidOption, MissingExtra

try:
    import uvicorn
except ModuleNotFoundError as error:
    if error.name != "uvicorn":
        raise
    raise MissingExtra("serving over HTTP needs uvicorn: pip install 'asyncinfer[cli,http]'") from error
from asyncinfer.cli._bounded_head import MAX_HEAD_BYTES, http_protocol

ASGI: TypeAlias = Any  # Any: uvicorn's and starlette's names of the same protocol are not one type

BACKLOG = 2_048
"""Connections that the kernel keeps until they are accepted."""
MAX_CONNECTIONS = 1_000
"""Open at once; whoever comes then is answered 503. As many files are what one process may often have open."""
ENDING_SECONDS = 5
"""How long answers may still take once the manager drains; streams and long polls end at once."""


class Address:
    """A socket that is bound, and does not listen yet: the port is known before models are loaded."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.host, self.port = sock.getsockname()[:2]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if self.socket.family == socket.AF_INET6 else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_any(self) -> bool:
        """It is every address of the machine, and so none that a client could call."""
        return ipaddress.ip_address(self.host).is_unspecified


@contextlib.contextmanager
def bound(host: str, port: int) -> Generator[Address]:
    """Give the first address that `host` means, with a free port for port 0; close it in the end.

    Raises InvalidOption for a host that is none of this machine, AsyncinferError for a port that is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidOption(f"host: {host!r} has no address here: {error.strerror}") from error
    with sock:
        # Else the port of a server that has just ended could not be had for a minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
        except OSError as error:
            raise _taken(host, port, error) from error
        yield Address(sock)


@contextlib.asynccontextmanager
async def served(app: ASGI, address: Address, manager: JobManager | None = None) -> AsyncGenerator[None]:
    """Serve `app` at `address` until the manager, if there is one, drains or this is left; end its answers then.

    Once entered it listens. Raises AsyncinferError when the port has been taken meanwhile.
    """
    try:
        address.socket.listen(BACKLOG)
    except OSError as error:
        raise _taken(address.host, address.port, error) from error
    server = _Server(_config(app))
    async with asyncio.TaskGroup() as tasks:  # a server that fails ends what runs beside it
        serving = tasks.create_task(server.serve(sockets=[address.socket]))
        stopping = None if manager is None else tasks.create_task(_stop_when_draining(server, manager))
        try:
            yield
        finally:
            if stopping is not None:
                stopping.cancel()
            server.should_exit = True
            await asyncio.wait([serving])


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(app: ASGI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=http_protocol(),
        ws="none",
        lifespan="off",  # the manager is opened by who owns the process
        log_config=None,
        log_level="warning",
        access_log=False,  # it would print query strings
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=ENDING_SECONDS,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )


async def _stop_when_draining(server: uvicorn.Server, manager: JobManager) -> None:
    await manager.wait_draining()
    server.should_exit = True


def _taken(host: str, port: int, error: OSError) -> AsyncinferError:
    return AsyncinferError(f"cannot listen on {host} port {port}: {error.strerror}")
