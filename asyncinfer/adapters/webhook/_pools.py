"""Keep connections for the next webhook to the same host, at the same checked addresses, and for nobody else.

A pool belongs to one (scheme, host, port, set of addresses). So a connection is used again only while the host's latest
look-up, all of whose answers passed, names exactly the addresses that it may have been opened to; and never for another
host, which would get a TLS connection whose certificate nobody has checked for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from httpcore import AsyncConnectionPool

from asyncinfer.adapters.webhook._addresses import Address
from asyncinfer.adapters.webhook._network import CheckedNetwork
from asyncinfer.adapters.webhook._targets import Target

KEPT_SECONDS = 15.0
KEPT_HOSTS = 64
KEPT_PER_HOST = 4

_Key = tuple[str, str, int, frozenset[Address]]


class _Entry:
    def __init__(self, pool: AsyncConnectionPool, network: CheckedNetwork) -> None:
        self.pool = pool
        self.network = network
        self.users = 0
        self.used_at = 0.0
        self.is_retired = False


class Pools:
    """Lends connection pools; at most `KEPT_HOSTS` of those that nobody uses stay, for `KEPT_SECONDS`."""

    def __init__(
        self,
        new_network: Callable[[Sequence[Address]], CheckedNetwork],
        new_pool: Callable[[CheckedNetwork], AsyncConnectionPool],
    ) -> None:
        self._new_network = new_network
        self._new_pool = new_pool
        self._entries: dict[_Key, _Entry] = {}
        """The longest unused first."""

    @asynccontextmanager
    async def lend(self, target: Target, addresses: Sequence[Address]) -> AsyncGenerator[AsyncConnectionPool]:
        """Lend the pool of this host at these addresses."""
        key = (target.scheme, target.host, target.port, frozenset(addresses))
        entry = self._entries.pop(key, None) or self._new(addresses)
        entry.network.addresses = addresses  # the same ones, in the order of the latest answer
        entry.users += 1
        self._entries[key] = entry
        try:
            yield entry.pool
        except asyncio.CancelledError:
            # A connection canceled just before its first request stays in httpcore's pool for ever: so the pool ends.
            if self._entries.get(key) is entry:
                del self._entries[key]
            entry.is_retired = True
            raise
        finally:
            entry.users -= 1
            entry.used_at = time.monotonic()
            if entry.is_retired and not entry.users:
                await entry.pool.aclose()
            await self.close_idle()

    async def close_idle(self, *, kept_seconds: float = KEPT_SECONDS) -> None:
        """Close what nobody has used for so long, and the longest unused of too many."""
        now = time.monotonic()
        idle = [key for key, entry in self._entries.items() if not entry.users]
        surplus = len(idle) - KEPT_HOSTS
        old = [key for number, key in enumerate(idle) if number < surplus or self._is_old(key, now - kept_seconds)]
        for key in old:
            entry = self._entries.get(key)
            if entry is not None and not entry.users:  # while another was closed it may have been lent, or closed
                del self._entries[key]
                await entry.pool.aclose()

    def _is_old(self, key: _Key, used_before: float) -> bool:
        return self._entries[key].used_at <= used_before

    def _new(self, addresses: Sequence[Address]) -> _Entry:
        network = self._new_network(addresses)
        return _Entry(self._new_pool(network), network)
