"""Where webhooks may go: asked when a URL is registered, and again at each attempt to send."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import final

from asyncinfer.adapters.webhook._addresses import Address, AllowedNetworks
from asyncinfer.adapters.webhook._egress_proxy import EgressProxy, read_proxy
from asyncinfer.adapters.webhook._host_names import read_address
from asyncinfer.adapters.webhook._resolver import Resolver, SystemResolver
from asyncinfer.adapters.webhook._targets import Target, UrlRules, read_target
from asyncinfer.adapters.webhook._url_rejected import UrlRejected


@final
class Guard:
    """Lets webhooks go to public https addresses, and to the private networks that are named.

    `allowed_networks` are private networks with receivers, in CIDR notation. `ports`: by default 443 and 8443, and 80
    where `allow_http` is. `resolver`: by default the system's.

    `egress_proxy`, as `http://user:password@proxy.internal:3128`, takes every webhook out, to https by CONNECT. Then
    **the proxy looks the hosts up**: here only the form of a URL is judged, an address written in it included, and
    where a name leads is for the proxy to guard. No environment variable sets one. Raises InvalidOption.
    """

    def __init__(
        self,
        *,
        allowed_networks: Iterable[str] = (),
        allow_http: bool = False,
        ports: Collection[int] | None = None,
        resolver: Resolver | None = None,
        egress_proxy: str | None = None,
    ) -> None:
        self._networks = AllowedNetworks(allowed_networks)
        self._rules = UrlRules(allow_http, None if ports is None else frozenset(ports), self._networks)
        self._resolver: Resolver = resolver or SystemResolver()
        self.egress_proxy: EgressProxy | None = None if egress_proxy is None else read_proxy(egress_proxy)

    def read(self, url: str) -> Target:
        """Judge the form of a URL. Raises UrlRejected."""
        return read_target(url, self._rules)

    async def check(self, url: str) -> Target:
        """Judge a URL that is to be registered: its form, and every address of its host. Raises UrlRejected.

        What it lets through today is judged again at each attempt: names move.
        """
        target = self.read(url)
        await self.addresses(target)
        return target

    async def addresses(self, target: Target) -> Sequence[Address]:
        """Look the host up, once, and return the addresses to connect to: these and no other. Raises UrlRejected.

        One refused address among the answers refuses them all: whoever answers so does not mean well. Behind an egress
        proxy nothing is looked up, and nothing returned.
        """
        if self.egress_proxy is not None:
            return ()
        literal = read_address(f"[{target.host}]" if ":" in target.host else target.host)
        found = await self._look_up(target.host) if literal is None else (literal,)
        if not all(self._networks.permits(address) for address in found):
            raise UrlRejected("address")
        return found

    async def _look_up(self, host: str) -> Sequence[Address]:
        try:
            found = await self._resolver.resolve(host)
        except (OSError, TimeoutError, UnicodeError) as error:
            raise UrlRejected("dns") from error
        if not found:
            raise UrlRejected("dns")
        return found
