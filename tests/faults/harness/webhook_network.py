"""Names and sockets of a webhook test: a resolver that says what it is told to, and a network that counts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from httpcore import SOCKET_OPTION, AnyIOBackend, AsyncNetworkBackend, AsyncNetworkStream, ConnectError

Answer = Sequence[str] | Exception | None
"""Addresses, an error, or None for no answer ever."""


class ToldResolver:
    """Gives each look-up of a host its next answer; the last one again and again."""

    def __init__(self, answers: Mapping[str, Sequence[Answer]], *, others: Answer = ()) -> None:
        self._answers = answers
        self._others = others
        self.look_ups: Counter[str] = Counter()

    async def resolve(self, host: str) -> Sequence[IPv4Address | IPv6Address]:
        answers = self._answers.get(host, [self._others])
        answer = answers[min(self.look_ups[host], len(answers) - 1)]
        self.look_ups[host] += 1
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return [ip_address(address) for address in answer or ()]


class CountingNetwork(AsyncNetworkBackend):
    """Writes down where sockets were asked for, and opens them to a loopback port in their stead, or to nowhere."""

    def __init__(self, instead: int | None = None, *, unreachable: Iterable[str] = ()) -> None:
        self._instead = instead
        self._unreachable = frozenset(unreachable)
        self._inner = AnyIOBackend()
        self.opened: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        self.opened.append((host, port))
        if self._instead is None or host in self._unreachable:
            raise ConnectError("nobody is there")
        return await self._inner.connect_tcp("127.0.0.1", self._instead, timeout)
