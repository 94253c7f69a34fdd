"""Ask where a host is: one look-up, whose every answer the guard will judge."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import Future
from ipaddress import ip_address
from threading import Thread
from typing import Protocol, final

from asyncinfer.adapters.webhook._addresses import Address

LOOK_UP_SECONDS = 5.0
LOOK_UPS_AT_ONCE = 32
"""A look-up that hangs keeps its thread until libc gives up, half a minute or so; no more threads than these."""


class Resolver(Protocol):
    """Says where a host is."""

    async def resolve(self, host: str) -> Sequence[Address]:
        """Return every address of a host name, in the order to try them; none when there is no such name.

        Raises OSError or TimeoutError when it cannot be found out.
        """
        ...


@final
class SystemResolver:
    """Asks the system, by `getaddrinfo`, in threads of its own: a name server that is silent delays nobody else.

    Those who ask for one host at a time share one look-up. No answer is kept: the next attempt asks again.
    """

    def __init__(self, *, deadline: float = LOOK_UP_SECONDS) -> None:
        self._deadline = deadline
        self._running: dict[str, Future[Sequence[Address]]] = {}

    async def resolve(self, host: str) -> Sequence[Address]:
        look_up = self._running.get(host)
        if look_up is None:
            look_up = self._begin(host)
        async with asyncio.timeout(self._deadline):
            return await asyncio.wrap_future(look_up)

    def _begin(self, host: str) -> Future[Sequence[Address]]:
        if len(self._running) >= LOOK_UPS_AT_ONCE:
            raise OSError("too many look-ups are without an answer")
        look_up: Future[Sequence[Address]] = Future()
        look_up.set_running_or_notify_cancel()  # from here on whoever stops waiting cannot cancel it for the others
        self._running[host] = look_up
        Thread(target=self._ask, args=(host, look_up), name="asyncinfer-look-up", daemon=True).start()
        return look_up

    def _ask(self, host: str, look_up: Future[Sequence[Address]]) -> None:
        """In the thread: whoever asks from the answer on asks anew."""
        try:
            found = _addresses_of(host)
        except Exception as error:  # noqa: BLE001  raised again where it is awaited
            del self._running[host]
            look_up.set_exception(error)
        else:
            del self._running[host]
            look_up.set_result(found)


def _addresses_of(host: str) -> Sequence[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            return ()
        raise
    return tuple(dict.fromkeys(ip_address(where[0]) for *_, where in found))
