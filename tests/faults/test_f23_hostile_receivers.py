"""F23: whatever a receiver of webhooks does, the attempt ends in time, with one outcome, and costs no memory."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import trustme
from msgspec import Struct

from asyncinfer.adapters.webhook import _transport
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._transport import Transport
from tests.faults.harness import hostile_receivers
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.hostile_receivers import BEHAVIOURS, Certificates, Ports
from tests.faults.harness.processes import nursery
from tests.faults.harness.serving import resident_bytes
from tests.faults.harness.waiting import until
from tests.faults.harness.webhook_network import ToldResolver

pytestmark = pytest.mark.fault

CONNECT_SECONDS = 2.0
TOTAL_SECONDS = 2.5
GRACE = 1.0
"""Beyond the total: what the promise allows."""
MIB = 1024 * 1024
AT_ONCE = 4
ROUNDS = {"pr": 1, "rel": 50}
"""Of each flood, for what they leave behind."""
KEPT_MIB = 4.0
"""Of however many floods: the allocator's room for them levels off at 1.7 MiB, where 1,400 answers would be 90."""
HARMLESS = "early-close-in-the-body"
WARM_UP = 10
LOOK_SECONDS = 0.002
"""Between looks at how large the process is."""
BODY = b'{"type":"job.succeeded"}'
LARGE_BODY = bytes(8 * MIB)
"""More than kernels keep for a receiver that does not read."""
OUTCOMES: Mapping[str, str] = {
    **dict.fromkeys(BEHAVIOURS, "status"),
    **dict.fromkeys([name for name in BEHAVIOURS if name.startswith("redirect")], "redirect"),
    **dict.fromkeys([name for name in BEHAVIOURS if name.startswith(("drip", "silence"))], "timeout"),
    **dict.fromkeys([name for name in BEHAVIOURS if name.startswith("huge")], "delivered"),
    **dict.fromkeys(["early-close", "early-close-in-the-head", "reset"], "connect"),
    # The head was whole, and said 200: the receiver has it.
    **dict.fromkeys(["drip-body", "drip-chunks", "early-close-in-the-body", "gzip-bomb", "two-answers"], "delivered"),
    **dict.fromkeys(["length-and-chunks", "wrong-chunk", "wrong-version"], "delivered"),
    "huge-body-of-an-error": "status",
    "reset-in-the-body": "delivered connect",
}
"""What may be said of each receiver."""
FLOODS = [name for name in BEHAVIOURS if name.startswith(("huge", "gzip", "endless"))]
SLOW = ("drip", "silen", "deaf", "dripping")


class Case(Struct, frozen=True):
    """One attempt at one receiver."""

    url: str
    outcomes: str
    body: bytes = BODY

    @property
    def takes_its_time(self) -> bool:
        return self.url.partition("://")[2].startswith(SLOW)


class Figures(Struct, frozen=True, kw_only=True):
    """How attempts at hostile receivers ended, and what they cost."""

    attempts: int
    not_ended: int
    """Within the total and a second."""
    raised: int
    """Instead of an outcome."""
    wrong_outcomes: int
    delivered: int
    status: int
    redirect: int
    connect: int
    tls: int
    timeout: int
    sent_twice: int
    """Requests that receivers got beyond one for each attempt."""
    slowest_seconds: float
    floods: int
    mib_max: float
    """By which the process was larger during a flood than before it."""
    mib_kept: float
    """By which it was larger after all of them."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "each attempt ends in time": figures.not_ended == 0 and figures.slowest_seconds <= TOTAL_SECONDS + GRACE,
        "each has one outcome": figures.raised == 0,
        "and the right one": figures.wrong_outcomes == 0,
        "a request is sent once": figures.sent_twice == 0,
        "memory is bounded": figures.mib_max <= 1.0 and figures.mib_kept <= KEPT_MIB,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_hostile_receiver_costs_its_time_and_no_more(size: Size, tmp_path: Path) -> None:
    async with hostile(tmp_path) as site:
        figures = await scenario(site, list(site.cases()), list(site.floods()) * ROUNDS[size])
    publish("F23", size, figures)
    assert verdict(figures) == []


async def test_canary_without_a_deadline_drips_go_on(tmp_path: Path) -> None:
    async with hostile(tmp_path, total_seconds=3_600) as site:
        figures = await scenario(site, [case for case in site.cases() if "://drip-" in case.url], [])
    assert "each attempt ends in time" in verdict(figures)


async def test_canary_without_a_limit_a_flood_fills_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_transport, "ANSWER_BYTES", 16 * MIB)
    async with hostile(tmp_path) as site:
        figures = await scenario(site, [], [url for url in site.floods() if url.endswith("/huge-body")])
    assert "memory is bounded" in verdict(figures)


class Site:
    """Hostile receivers, and a transport that may call them."""

    def __init__(self, transport: Transport, ports: Ports, requests: Path) -> None:
        self.transport = transport
        self._ports = ports
        self._requests = requests

    def cases(self) -> Iterator[Case]:
        """A host of its own for each case: kept connections would let one answer for another."""
        ports = self._ports
        for name, outcomes in OUTCOMES.items():
            yield Case(f"http://{name}.example.com:{ports.plain}/{name}", outcomes)
            yield Case(f"https://{name}.example.com:{ports.tls}/{name}", outcomes)
        yield Case(f"http://deaf.example.com:{ports.silent_handshake}/", "timeout", LARGE_BODY)
        yield Case(f"https://plain.example.com:{ports.plain}/", "tls timeout")
        yield Case(f"http://encrypted.example.com:{ports.tls}/", "status connect")
        yield Case(f"https://wrong.example.com:{ports.wrong_name}/", "tls")
        yield Case(f"https://self.example.com:{ports.self_signed}/", "tls")
        yield Case(f"https://expired.example.com:{ports.expired}/", "tls")
        yield Case(f"https://picky.example.com:{ports.wants_certificate}/", "tls connect")
        yield Case(f"https://silent.example.com:{ports.silent_handshake}/", "timeout")
        yield Case(f"https://dripping.example.com:{ports.dripping_handshake}/", "timeout")
        yield Case(f"https://broken.example.com:{ports.broken_handshake}/", "tls")
        yield Case(f"https://endless.example.com:{ports.endless_handshake}/", "tls timeout")

    def harmless(self) -> Iterator[str]:
        yield f"http://harmless.example.com:{self._ports.plain}/{HARMLESS}"
        yield f"https://harmless.example.com:{self._ports.tls}/{HARMLESS}"

    def floods(self) -> Iterator[str]:
        for name in FLOODS:
            yield f"http://{name}.example.com:{self._ports.plain}/{name}"
            yield f"https://{name}.example.com:{self._ports.tls}/{name}"

    def requests(self) -> Counter[str]:
        """Return how many requests came, by path."""
        return Counter(self._requests.read_text().split()) if self._requests.exists() else Counter()


@asynccontextmanager
async def hostile(folder: Path, *, total_seconds: float = TOTAL_SECONDS) -> AsyncGenerator[Site]:
    """Start the receivers, in a process of their own."""
    ca = trustme.CA()
    trusting = ssl.create_default_context()
    ca.configure_trust(trusting)  # pyright: ignore[reportUnknownMemberType]  or pyOpenSSL's context, absent here
    certificates = Certificates(
        right=_pem(ca.issue_cert("*.example.com")),
        wrong_name=_pem(ca.issue_cert("wrong.example.net")),
        self_signed=_pem(trustme.CA().issue_cert("*.example.com")),
        expired=_pem(ca.issue_cert("*.example.com", not_after=datetime(2020, 1, 1, tzinfo=UTC))),
    )
    with nursery(folder / "logs") as children:
        children.start(hostile_receivers.serve, folder, certificates)
        await until((folder / "ports").exists, 20, what="the receivers listen")
        ports = msgspec.json.decode((folder / "ports").read_bytes(), type=Ports)
        guard = Guard(
            allowed_networks=["127.0.0.0/8"],
            allow_http=True,
            ports=msgspec.structs.astuple(ports),
            resolver=ToldResolver({}, others=["127.0.0.1"]),
        )
        async with Transport(
            guard, connect_seconds=CONNECT_SECONDS, total_seconds=total_seconds, ssl_context=trusting
        ) as transport:
            yield Site(transport, ports, folder / "requests")


def _pem(certificate: trustme.LeafCert) -> bytes:
    return certificate.private_key_and_cert_chain_pem.bytes()


async def scenario(site: Site, cases: Sequence[Case], floods: Sequence[str]) -> Figures:
    """Measure what floods cost one after another, then attempt each case once."""
    largest, kept = await _growth(site, floods)
    before = site.requests()
    tally = Tally(site.transport)
    some = asyncio.Semaphore(AT_ONCE)
    slow = [asyncio.create_task(tally.attempt(case)) for case in cases if case.takes_its_time]
    quick = [asyncio.create_task(tally.attempt(case, some)) for case in cases if not case.takes_its_time]
    await asyncio.gather(*slow, *quick)
    sent_twice = sum(count - 2 for count in (site.requests() - before).values() if count > 2)
    return tally.figures(
        sent_twice=sent_twice, floods=len(floods), mib_max=round(largest / MIB, 3), mib_kept=round(kept / MIB, 3)
    )


async def _growth(site: Site, floods: Sequence[str]) -> tuple[int, int]:
    """Return by how many bytes one flood made this process larger at any time, at most, and all of them together."""
    for url in [*site.harmless()] * WARM_UP:
        await site.transport.post(url, {}, BODY)
    gc.collect()
    before_all = resident_bytes()
    largest = 0
    for url in floods:
        before = resident_bytes()
        posting = asyncio.create_task(site.transport.post(url, {}, BODY))
        while not posting.done():
            await asyncio.wait([posting], timeout=LOOK_SECONDS)
            largest = max(largest, resident_bytes() - before)
    return largest, resident_bytes() - before_all


class Tally:
    """Makes attempts and counts how they end."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._counts: Counter[str] = Counter()
        self._slowest = 0.0

    async def attempt(self, case: Case, some: asyncio.Semaphore | None = None) -> None:
        async with some or asyncio.Semaphore():
            began = time.monotonic()
            posting = asyncio.create_task(self._transport.post(case.url, {}, case.body))
            await asyncio.wait([posting], timeout=TOTAL_SECONDS + GRACE)
            self._slowest = max(self._slowest, time.monotonic() - began)
            self._counts["attempts"] += 1
            if posting.done():
                self._judge(case, posting)
            else:
                self._counts["not_ended"] += 1
                posting.cancel()
                await asyncio.wait([posting])

    def _judge(self, case: Case, posting: asyncio.Task[Response]) -> None:
        error = posting.exception()
        if error is not None:
            print(f"{case.url} raised {error!r}")
            self._counts["raised"] += 1
            return
        kind = posting.result().kind
        self._counts[kind] += 1
        if kind not in case.outcomes.split():
            print(f"{case.url} was {posting.result()}, not {case.outcomes}")
            self._counts["wrong_outcomes"] += 1

    def figures(self, **measured: float) -> Figures:
        counts = {name: self._counts[name] for name in Figures.__struct_fields__}
        return msgspec.convert({**counts, **measured, "slowest_seconds": round(self._slowest, 2)}, Figures)
