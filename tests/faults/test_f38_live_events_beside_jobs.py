"""F38: live events for receivers that hang or refuse delay no job's start, finish or cancel, nor news of its ending.

Two managers take turns, a sender beside each: every job tells a receiver that lives of its ending, and those of one
have live events for two that are dead besides. What counts is what that adds to the medians.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import statistics
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import JobManager, Subscription
from asyncinfer.abc import ClaimRequest, Claims, JobStore
from asyncinfer.adapters.webhook import Guard, Secret, Transport, WebhookSender
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import open_store
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.timed_turns import MODELS, Turns, Webhook
from tests.faults.harness.webhook_receiver import Request, answer_ok, receiving

pytestmark = pytest.mark.fault

TURNS = {"pr": 40, "rel": 1_000}
IN_A_ROW = 10
ADDED_MS = 10.0
"""To a median: some of the loop's time goes into sending, whoever receives. A live event may take 5,000 ms."""
ARRIVAL_SECONDS = 2.0
"""What has not arrived by then counts as if it had."""
LIVE = ("job.started", "job.progress", "job.output")
Kind = Literal["memory", "sqlite"]


class Figures(Struct, frozen=True, kw_only=True):
    turns: int
    live_events_without_an_answer: int
    live_events_refused: int
    start_ms: float
    """The median of jobs without live events, as in those that follow."""
    start_added_ms: float
    finish_ms: float
    finish_added_ms: float
    cancel_ms: float
    cancel_added_ms: float
    delivery_ms: float
    """From the ending in hand to its webhook at the receiver that lives."""
    delivery_added_ms: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    added = max(figures.start_added_ms, figures.finish_added_ms, figures.cancel_added_ms)
    promises = {
        "no start, finish or cancel is delayed": added <= ADDED_MS,
        "no ending is told later": figures.delivery_added_ms <= ADDED_MS,
        "one receiver is asked, and does not answer": figures.live_events_without_an_answer > 0,
        "one refuses": figures.live_events_refused > 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_live_events_for_the_dead_delay_nothing(kind: Kind, size: Size, tmp_path: Path) -> None:
    folders = [tmp_path / "plain", tmp_path / "telling"]
    for folder in folders:
        folder.mkdir()
    async with open_store(kind, folders[0], None) as plain, open_store(kind, folders[1], None) as telling:
        figures = await scenario(plain, telling, TURNS[size])
    publish(f"F38 live {kind}", size, figures)
    assert verdict(figures) == []


class TellsInTheClaim(FaultyStore):
    """The protection removed: a job that has live events begins once they were told, for a while."""

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        taken = await super().claim(requests)
        if any(claim.live_subscriptions for one in taken for claim in one.claims):
            await asyncio.sleep(0.05)
        return taken


async def test_canary_telling_in_the_claim_delays_jobs() -> None:
    async with MemoryStore() as plain, MemoryStore() as inner:
        figures = await scenario(plain, TellsInTheClaim(inner), 10)
    assert verdict(figures) == ["no start, finish or cancel is delayed"]


async def test_canary_slots_shared_with_live_events_delay_what_is_told_of_endings() -> None:
    async with MemoryStore() as plain, MemoryStore() as telling:
        figures = await scenario(plain, telling, 10, slots_of_all=2)
    assert "no ending is told later" in verdict(figures)


class Counting:
    """A transport that counts what is refused; with `slots` no more requests than that run at once, of either kind."""

    def __init__(self, guard: Guard, slots: int) -> None:
        self._transport = Transport(guard)
        self._slots = asyncio.Semaphore(slots)
        self.refused = 0

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        async with self._slots:
            response = await self._transport.post(target, headers, body)
        self.refused += response.kind == "connect"
        return response

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        return await self._transport.options(target, headers)

    async def close(self) -> None:
        await self._transport.close()


class Arrivals:
    """When the receiver that lives was told of each job's ending."""

    def __init__(self) -> None:
        self._at: dict[str, float] = {}
        self._more = asyncio.Event()

    async def hear(self, request: Request) -> None:
        self._at[json.loads(request.body)["data"]["id"]] = time.perf_counter()
        self._more.set()
        await answer_ok(request)

    async def delays(self, ended: Mapping[str, float]) -> list[float]:
        """Return how long each ending took to arrive, in milliseconds; those that have not yet are waited for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ARRIVAL_SECONDS):
                while not ended.keys() <= self._at.keys():
                    self._more.clear()
                    await self._more.wait()
        return [(self._at.get(job, at + ARRIVAL_SECONDS) - at) * 1e3 for job, at in ended.items()]


async def scenario(plain_store: JobStore, telling_store: JobStore, turns: int, *, slots_of_all: int = 1_000) -> Figures:
    async def never(request: Request) -> None:
        await asyncio.Event().wait()

    arrivals = Arrivals()
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))  # never listens
        async with receiving(arrivals.hear) as living, receiving(never) as hanging:
            ports = [living.port, hanging.port, refusing.getsockname()[1]]
            guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=ports)
            transport = Counting(guard, slots_of_all)
            urls = [f"http://127.0.0.1:{port}/" for port in ports]
            live = (urls[0], Subscription(urls[1], LIVE), Subscription(urls[2], LIVE))
            async with (
                sending(plain_store, guard, Counting(guard, 1_000)) as plain_manager,
                sending(telling_store, guard, transport) as telling_manager,
            ):
                plain, telling = Turns(plain_manager, is_telling=True), Turns(telling_manager, is_telling=True)
                before, beside = await played(plain, urls[0], telling, live, arrivals, turns)
    added = [after - ms for ms, after in zip(before, beside, strict=True)]
    return Figures(
        turns=turns,
        live_events_without_an_answer=len(hanging.requests),
        live_events_refused=transport.refused,
        start_ms=before[0],
        start_added_ms=added[0],
        finish_ms=before[1],
        finish_added_ms=added[1],
        cancel_ms=before[2],
        cancel_added_ms=added[2],
        delivery_ms=before[3],
        delivery_added_ms=added[3],
    )


@asynccontextmanager
async def sending(store: JobStore, guard: Guard, transport: Counting) -> AsyncGenerator[JobManager]:
    async with (
        JobManager(store, models=MODELS) as manager,
        WebhookSender(manager, secret=Secret.new(), guard=guard, transport=transport),
    ):
        yield manager


async def played(
    plain: Turns, living: str, telling: Turns, live: Webhook, arrivals: Arrivals, turns: int
) -> Sequence[list[float]]:
    """Return the medians of both, in milliseconds: start, finish, cancel, and the delivery of an ending."""
    deliveries: dict[Turns, list[float]] = {plain: [], telling: []}
    for _ in range(turns // IN_A_ROW):
        for one, webhook in ((telling, live), (plain, living)):
            for _ in range(IN_A_ROW):
                await one.take(webhook)
            deliveries[one] += await arrivals.delays(one.ended)
            one.ended.clear()
    return [
        [statistics.median(ms) for ms in (one.starts, one.finishes, one.cancels, deliveries[one])]
        for one in (plain, telling)
    ]
