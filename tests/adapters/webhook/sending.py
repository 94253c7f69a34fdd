"""A sender beside a manager on a fake clock, and a transport that answers what its test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from standardwebhooks import Webhook

from asyncinfer import JobManager, Subscription, model
from asyncinfer.abc import Clock, Delivery, DeliveryAttempt, DeliveryFilter, JobStore
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender
from asyncinfer.adapters.webhook._response import Response, kind_of_status
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.still_manager import StillManager

Kind = Literal["memory", "sqlite"]
URL = "https://hooks.example.com/cb"
SECRET = Secret.new().reveal()


@model
async def echo(text: str) -> str:
    if text == "fail":
        raise ValueError(text)
    return text


@dataclass
class Sent:
    """One request as it was posted."""

    at: int
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def told(self) -> Any:  # Any: JSON
        return msgspec.json.decode(self.body)


Answer = Callable[[Sent], Response | Awaitable[Response]]


def status(code: int, *, retry_after: float | None = None) -> Response:
    return Response(kind=kind_of_status(code), status=code, retry_after=retry_after, latency=7)


@dataclass
class Receivers:
    """Stands for every receiver there is, and for the transport that reaches them."""

    clock: Clock
    answer: Answer = field(default=lambda sent: status(200))
    sent: list[Sent] = field(default_factory=list[Sent])
    closed: int = 0

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        sent = Sent(self.clock.now(), target, headers, body)
        self.sent.append(sent)
        answer = self.answer(sent)
        return answer if isinstance(answer, Response) else await answer

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        return await self.post(target, headers, b"")

    async def close(self) -> None:
        self.closed += 1

    def of(self, target: str) -> list[Sent]:
        return [one for one in self.sent if one.target == target]


@dataclass
class Bench:
    """What a test works with."""

    manager: JobManager
    sender: WebhookSender
    clock: FakeClock
    receivers: Receivers

    async def end(self, text: str = "hello", *, webhook: str | Subscription = URL, owner: str = "") -> str:
        """Run a job to its end; return its id."""
        handle = await self.manager.scoped(owner).submit(echo.options(webhook=webhook), text)
        await asyncio.gather(handle, return_exceptions=True)
        return handle.id

    async def until(self, condition: Callable[[], bool], *, step: float = 0.05, steps: int = 200) -> None:
        """Let the time pass in steps until the condition holds: the SQLite store works on threads of its own."""
        for _ in range(steps):
            if condition():
                return
            await self.clock.advance(step)
            await asyncio.sleep(0.005)
        raise AssertionError("the time has passed without it")

    async def until_they_are(self, *statuses: str, step: float = 0.05) -> None:
        """Let the time pass until the deliveries are these, and as many."""
        found: list[str] = []
        for _ in range(200):
            found = sorted(one.status for one in await self.deliveries())
            if found == sorted(statuses):
                return
            await self.pass_time(step, steps=1)
        raise AssertionError(f"expected {statuses}, found {found}")

    async def pass_time(self, seconds: float, *, steps: int = 10) -> None:
        for _ in range(steps):
            await self.clock.advance(seconds / steps)
            await asyncio.sleep(0.005)

    async def deliveries(self, **filters: Any) -> list[Delivery]:  # Any: the fields of a DeliveryFilter
        return list(await self.manager.outbox.deliveries(None, DeliveryFilter(**filters)))

    async def log(self, delivery: Delivery) -> list[DeliveryAttempt]:
        return list(await self.manager.outbox.log(delivery.owner, delivery.id))


def open_store(kind: Kind, folder: Path, clock: Clock | None) -> JobStore:
    return MemoryStore(clock=clock) if kind == "memory" else SQLiteStore(folder / "jobs.db", clock=clock)


@asynccontextmanager
async def bench(
    store: JobStore | None = None,
    *,
    clock: FakeClock | None = None,
    receivers: Receivers | None = None,
    **options: Any,  # Any: what a WebhookSender takes
) -> AsyncGenerator[Bench]:
    clock = clock or FakeClock()
    receivers = receivers or Receivers(clock)
    options = {"secret": SECRET, "guard": ANYWHERE, **options}
    async with (
        store or MemoryStore(clock=clock) as opened,
        JobManager(opened, models=[echo]) as manager,
        WebhookSender(manager, transport=receivers, **options) as sender,
    ):
        yield Bench(manager, sender, clock, receivers)


@asynccontextmanager
async def slow_days(monkeypatch: pytest.MonkeyPatch, **options: Any) -> AsyncGenerator[SlowDays]:
    """Open a sender for days of a fake clock: beside a manager that does nothing, and without looks every second."""
    for module in ("_sender", "_dispatcher"):
        monkeypatch.setattr(f"asyncinfer.adapters.webhook.{module}.POLL_SECONDS", 3_600.0)
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store:
        manager = StillManager(store, clock)
        receivers = Receivers(clock)
        options = {"secret": SECRET, "guard": ANYWHERE, **options}
        async with WebhookSender(manager.as_manager, transport=receivers, **options) as sender:
            yield SlowDays(manager, sender, clock, receivers)


@dataclass
class SlowDays:
    manager: StillManager
    sender: WebhookSender
    clock: FakeClock
    receivers: Receivers


class _Public:
    async def resolve(self, host: str) -> list[IPv4Address]:
        return [IPv4Address("93.184.216.34")]


ANYWHERE = Guard(resolver=_Public())


def verify(secret: str, sent: Sent) -> None:
    """Verify with the independent library, as if the request had arrived when it was sent."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Then:
            return cls.fromtimestamp(sent.at / 1000, tz)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("standardwebhooks.webhooks.datetime", Then)
        Webhook(secret).verify(sent.body, dict(sent.headers))
    assert abs(int(sent.headers["webhook-timestamp"]) - sent.at / 1000) <= 1, "the timestamp is of the attempt"
