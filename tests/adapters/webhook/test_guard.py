"""Where webhooks may go, at registration and at each attempt."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._resolver import LOOK_UPS_AT_ONCE, SystemResolver
from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from asyncinfer.errors import InvalidOption
from tests.faults.harness.webhook_network import Answer, ToldResolver

URL = "https://hooks.example.com/cb"


def guard_told(*answers: Answer, allowed_networks: Sequence[str] = ()) -> tuple[Guard, ToldResolver]:
    resolver = ToldResolver({"hooks.example.com": answers})
    return Guard(resolver=resolver, allowed_networks=allowed_networks), resolver


async def test_a_url_at_public_addresses_may_be_registered() -> None:
    guard, resolver = guard_told(["93.184.216.34", "2606:2800:220:1::1"])

    target = await guard.check(URL)

    assert target.host == "hooks.example.com"
    assert await guard.addresses(target) == [ip_address("93.184.216.34"), ip_address("2606:2800:220:1::1")]
    assert resolver.look_ups.total() == 2


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_refused_answer_refuses_all(place: int) -> None:
    answers = ["93.184.216.34", "93.184.216.35"]
    answers.insert(place, "10.0.0.7")
    guard, _ = guard_told(answers)

    with pytest.raises(UrlRejected) as caught:
        await guard.check(URL)

    assert caught.value.kind == "address"
    assert "10.0.0.7" not in str(caught.value)


@pytest.mark.parametrize("answer", [[], OSError("no"), TimeoutError(), socket.gaierror(socket.EAI_AGAIN, "later")])
async def test_a_host_without_an_answer_is_refused_as_such(answer: Answer) -> None:
    guard, _ = guard_told(answer)

    with pytest.raises(UrlRejected) as caught:
        await guard.check(URL)

    assert caught.value.kind == "dns"


async def test_an_address_in_the_url_is_not_looked_up() -> None:
    resolver = ToldResolver({}, others=OSError("asked"))
    guard = Guard(resolver=resolver)

    target = await guard.check("https://[2606:4700:4700::1111]/")

    assert await guard.addresses(target) == (ip_address("2606:4700:4700::1111"),)
    assert not resolver.look_ups


async def test_a_private_network_is_reached_where_it_is_allowed() -> None:
    guard, _ = guard_told(["10.1.0.7"], ["10.1.0.7", "10.2.0.7"], allowed_networks=["10.1.0.0/16"])
    target = await guard.check(URL)

    with pytest.raises(UrlRejected):
        await guard.addresses(target)


async def test_behind_an_egress_proxy_only_the_form_is_judged() -> None:
    resolver = ToldResolver({}, others=OSError("asked"))
    guard = Guard(resolver=resolver, egress_proxy="http://user:pass%20word@proxy.internal:3128")

    await guard.check(URL)

    assert not resolver.look_ups
    with pytest.raises(UrlRejected):
        await guard.check("https://10.0.0.7/")
    assert repr(guard.egress_proxy) == "<EgressProxy http://proxy.internal:3128>"
    assert guard.egress_proxy is not None
    assert guard.egress_proxy.auth == ("user", "pass word")


@pytest.mark.parametrize(
    "url",
    [
        3, "", "proxy:3128", "socks5://u:secret@proxy:1080", "http://u:secret@proxy", "http://u:secret@proxy:x",
        "http://u:secret@proxy:1/path", "http://u:secret@:3128", "http://u:sec ret@proxy:1", "http://[u:secret@proxy:1",
    ],
)  # fmt: skip
def test_an_egress_proxy_that_is_none_is_an_invalid_option_that_shows_nothing(url: str) -> None:
    with pytest.raises(InvalidOption, match="egress_proxy") as caught:
        Guard(egress_proxy=url)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


# The system's resolver


async def test_the_system_knows_loopback_by_its_name() -> None:
    assert ip_address("127.0.0.1") in await SystemResolver().resolve("localhost")


def _threads() -> int:
    return sum(thread.name == "asyncinfer-look-up" for thread in threading.enumerate())


@pytest.fixture
def silent_name_server(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Every look-up waits for this event, then finds one address."""
    answers = threading.Event()

    def getaddrinfo(host: str, port: None, *, type: int) -> object:  # noqa: A002  it is getaddrinfo's name
        answers.wait(30)
        return [(socket.AF_INET, type, 6, "", ("93.184.216.34", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers


async def test_a_silent_name_server_holds_nobody_longer_than_the_deadline(silent_name_server: threading.Event) -> None:
    resolver = SystemResolver(deadline=0.05)

    with pytest.raises(TimeoutError):
        await resolver.resolve("hooks.example.com")

    silent_name_server.set()


async def test_who_ask_for_one_host_share_a_look_up_that_none_of_them_can_cancel(
    silent_name_server: threading.Event,
) -> None:
    resolver = SystemResolver()
    first, second = (asyncio.ensure_future(resolver.resolve("hooks.example.com")) for _ in range(2))
    await asyncio.sleep(0)

    assert _threads() == 1
    first.cancel()
    silent_name_server.set()
    assert await second == (ip_address("93.184.216.34"),)
    assert first.cancelled()


async def test_look_ups_without_an_answer_take_a_bounded_number_of_threads(silent_name_server: threading.Event) -> None:
    resolver = SystemResolver(deadline=0.05)
    hosts = [f"h{number}.example.com" for number in range(LOOK_UPS_AT_ONCE + 8)]

    failures = await asyncio.gather(*map(resolver.resolve, hosts), return_exceptions=True)

    assert [type(failure) for failure in failures] == [TimeoutError] * LOOK_UPS_AT_ONCE + [OSError] * 8
    assert _threads() == LOOK_UPS_AT_ONCE
    silent_name_server.set()


@pytest.mark.parametrize(("errno", "is_none"), [(socket.EAI_NONAME, True), (socket.EAI_AGAIN, False)])
async def test_a_name_that_is_none_has_no_addresses(errno: int, is_none: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(host: str, port: None, *, type: int) -> object:  # noqa: A002  it is getaddrinfo's name
        raise socket.gaierror(errno, "so it is")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = SystemResolver()
    if is_none:
        assert await resolver.resolve("hooks.example.com") == ()
    else:
        with pytest.raises(socket.gaierror):
            await resolver.resolve("hooks.example.com")
