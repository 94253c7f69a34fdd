"""F24: URLs and look-ups that would lead where webhooks must not go are refused, and no socket is opened for them."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence

import msgspec
import pytest
from msgspec import Struct

from asyncinfer.adapters.webhook._addresses import Address, AllowedNetworks
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._network import TRIED_ADDRESSES
from asyncinfer.adapters.webhook._targets import Target
from asyncinfer.adapters.webhook._transport import Transport
from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.ssrf_corpus import PUBLIC, NameCase, UrlCase, name_cases, url_cases
from tests.faults.harness.webhook_network import CountingNetwork, ToldResolver

pytestmark = pytest.mark.fault

HOST = "hooks.example.com"
ATTEMPT_SECONDS = 0.2
"""Transport(total_seconds=): only the case of a silent name server takes it."""
AT_LEAST = 200
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Figures(Struct, frozen=True, kw_only=True):
    """What the guard said about the corpus, and where sockets were opened."""

    cases: int
    accepted: int
    refused_at_registration: int
    refused_at_the_attempt: int
    wrong_verdicts: int
    """Cases that were judged otherwise than the corpus says; the test prints them."""
    sockets_to_refused: int
    sockets_to_accepted: int
    sockets_elsewhere: int
    """To an address that no look-up of that attempt had named."""
    look_ups_of_an_attempt_max: int


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "the corpus is large": figures.cases >= AT_LEAST and figures.accepted > 0 < figures.refused_at_the_attempt,
        "every verdict is right": figures.wrong_verdicts == 0,
        "no socket is opened to a refused address": figures.sockets_to_refused == 0,
        "sockets are opened to checked addresses only": figures.sockets_elsewhere == 0,
        "what is accepted is reached": figures.sockets_to_accepted >= figures.accepted,
        "an attempt looks up once": figures.look_ups_of_an_attempt_max == 1,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_nothing_leads_where_webhooks_must_not_go(size: Size) -> None:
    figures = await scenario()
    publish("F24", size, figures)
    assert verdict(figures) == []


async def test_canary_is_global_lets_addresses_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def permits(networks: AllowedNetworks, address: Address) -> bool:
        return address.is_global

    monkeypatch.setattr(AllowedNetworks, "permits", permits)
    broken = verdict(await scenario())
    assert {"every verdict is right", "no socket is opened to a refused address"} <= set(broken)


async def test_canary_a_check_of_the_first_answer_lets_the_others_through(monkeypatch: pytest.MonkeyPatch) -> None:
    async def checks_one(guard: Guard, target: Target) -> Sequence[Address]:
        found = await guard._look_up(target.host)
        if not guard._networks.permits(found[0]):
            raise UrlRejected("address")
        return found

    monkeypatch.setattr(Guard, "addresses", checks_one)
    assert "no socket is opened to a refused address" in verdict(await scenario())


async def test_canary_a_second_look_up_is_where_rebinding_gets_in(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = Guard.addresses

    async def asks_again(guard: Guard, target: Target) -> Sequence[Address]:
        found = await checked(guard, target)
        return await guard._look_up(target.host) if target.host == HOST else found

    async def check(guard: Guard, url: str) -> Target:
        target = guard.read(url)
        await checked(guard, target)
        return target

    monkeypatch.setattr(Guard, "check", check)
    monkeypatch.setattr(Guard, "addresses", asks_again)
    broken = verdict(await scenario())
    assert {"no socket is opened to a refused address", "an attempt looks up once"} <= set(broken)


async def scenario() -> Figures:
    """Register every URL of the corpus, and whatever came of it make an attempt at it."""
    tally = Tally()
    for url in url_cases():
        await tally.try_url(url)
    for name in name_cases():
        await tally.try_name(name)
    return tally.figures()


class Tally:
    """Tries cases and counts."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._look_ups_max = 0

    async def try_url(self, case: UrlCase) -> None:
        resolver = ToldResolver({}, others=[PUBLIC])
        attempted = {None: "connect", "dns": "dns"}.get(case.kind, "blocked")
        await self._try(case.group, case.url, resolver, case.kind, attempted, {case.place} - {""})

    async def try_name(self, case: NameCase) -> None:
        answer = case.look_ups[min(1, len(case.look_ups) - 1)]
        named = set(answer) if isinstance(answer, Sequence) and case.attempted == "connect" else set[str]()
        resolver = ToldResolver({HOST: case.look_ups})
        await self._try(case.group, f"https://{HOST}/", resolver, case.registered, case.attempted, named)

    async def _try(
        self, group: str, url: str, resolver: ToldResolver, registered: str | None, attempted: str, places: set[str]
    ) -> None:
        """Register the URL and attempt it. `places` are the addresses to which that may connect."""
        network = CountingNetwork()
        guard = Guard(resolver=resolver)
        said = await _registration(guard, url)
        before = resolver.look_ups.total()
        async with Transport(guard, total_seconds=ATTEMPT_SECONDS, ssl_context=CONTEXT, network=network) as transport:
            response = await transport.post(url, {}, b"{}")
        self._look_ups_max = max(self._look_ups_max, resolver.look_ups.total() - before)
        is_right = (said, response.kind) == (registered, attempted)
        if not is_right:
            print(f"{group}: {url!r:.80} was {said} and {response.kind}, not {registered} and {attempted}")
        is_refused = attempted != "connect"
        elsewhere = [place for place, _ in network.opened if place not in places]
        self._counts += Counter(
            cases=1,
            wrong_verdicts=not is_right,
            accepted=not is_refused and registered is None,
            refused_at_registration=registered is not None,
            refused_at_the_attempt=registered is None and is_refused,
            sockets_to_refused=len(network.opened) if is_refused else len(elsewhere),
            sockets_to_accepted=0 if is_refused else len(network.opened),
            sockets_elsewhere=len(elsewhere) + max(0, len(network.opened) - TRIED_ADDRESSES),
        )

    def figures(self) -> Figures:
        counts = {**dict.fromkeys(Figures.__struct_fields__, 0), **self._counts}
        return msgspec.convert({**counts, "look_ups_of_an_attempt_max": self._look_ups_max}, Figures)


async def _registration(guard: Guard, url: str) -> str | None:
    """Return the kind with which the URL is refused, or None."""
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            await guard.check(url)
    except UrlRejected as error:
        return error.kind
    except TimeoutError:
        return "no answer"
    return None
