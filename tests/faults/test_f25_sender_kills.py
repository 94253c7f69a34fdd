"""F25: the sender is killed with SIGKILL around the receiver's 200; every webhook still arrives, with one id and body.

The receiver kills it: when a request has come and is not answered, right behind its answer, or a moment later.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct
from standardwebhooks import Webhook, WebhookVerificationError

from asyncinfer import JobManager, model
from asyncinfer.abc import Delivery, DeliveryAttempt, DeliveryFilter, Endpoint, Settlement
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender, _attempts, _dispatcher, _expander, _sender
from asyncinfer.adapters.webhook._attempts import Attempts
from asyncinfer.adapters.webhook._verdict import Answered
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import Child, Nursery, nursery
from tests.faults.harness.waiting import came_true
from tests.faults.harness.webhook_receiver import OK, Request, receiving
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

KILLS = {"pr": 50, "rel": 500}
JOBS_A_KILL = 4
Moment = Literal["unanswered", "answered", "later"]
MOMENTS: tuple[Moment, ...] = ("unanswered", "answered", "later")
SETTLE_SECONDS = 30.0
SHORT = {"hold": 0.3, "signing": 0.2, "attempt": 0.7}
"""Seconds: together a lease is one second, where the default is a minute."""


class Figures(Struct, frozen=True, kw_only=True):
    seed: int
    kills: int
    webhooks: int
    requests: int
    sent_again: int
    """Answered with 200 more than once."""
    not_delivered: int
    """Never answered with 200, or still not settled so."""
    other_ids: int
    """Webhooks that came with more than one id, or share one."""
    other_bodies: int
    not_verified: int
    """Requests that the library `standardwebhooks` refuses."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "every webhook is delivered at least once": figures.not_delivered == 0,
        "a webhook has one id": figures.other_ids == 0,
        "a webhook has one body": figures.other_bodies == 0,
        "every request verifies": figures.not_verified == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@model
async def square(number: int) -> int:
    return number * number


async def sender(database: Path, port: int, secret: str, *, marks_first: bool) -> None:
    """Send webhooks until killed."""
    patch = pytest.MonkeyPatch()
    patch.setattr(_dispatcher, "HOLD_SECONDS", SHORT["hold"])
    patch.setattr(_expander, "LEASE_SECONDS", 1)
    for module in (_attempts, _sender):
        patch.setattr(module, "SIGNING_SECONDS", SHORT["signing"])
    if marks_first:
        patch.setattr(_sender, "Attempts", MarksFirst)
    guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port])
    async with (
        opened(SQLiteStore(database)) as store,
        JobManager(store, models=[square], run_jobs=False) as manager,
        WebhookSender(manager, secret=secret, guard=guard, attempt_seconds=SHORT["attempt"]),
    ):
        await asyncio.Event().wait()


class MarksFirst(Attempts):
    """The protection removed: a delivery is settled as delivered before it is sent."""

    async def answered(self, delivery: Delivery, endpoint: Endpoint | None) -> Answered:
        attempt = DeliveryAttempt(at=self._clock.now(), kind="delivered")
        mark = Settlement(id=delivery.id, lease_token=delivery.lease_token, status="delivered", attempt=attempt)
        await self._outbox.settle([mark])
        return await super().answered(delivery, endpoint)


async def test_the_sender_is_killed_around_the_receivers_200(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kills=KILLS[size], moments=MOMENTS)
    publish("F25", size, figures)
    assert verdict(figures) == []


async def test_canary_marking_before_sending_loses_webhooks(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, kills=3, moments=("unanswered",), marks_first=True, settle=3.0)
    assert "every webhook is delivered at least once" in verdict(figures)


class Killer:
    """The receiver's side: answers, verifies, and kills the sender at the request and moment it was told."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._victim: tuple[Child, int, Moment] | None = None
        self.is_dead = asyncio.Event()
        self.requests = 0
        self.not_verified = 0
        self.answered: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = defaultdict(set)
        self.bodies: dict[str, set[bytes]] = defaultdict(set)

    def aim(self, child: Child, request: int, moment: Moment) -> None:
        self._victim = (child, request, moment)
        self.is_dead.clear()

    async def behave(self, request: Request) -> None:
        self.requests += 1
        self._note(request)
        moment = self._moment()
        if moment == "unanswered":
            self._kill()
            return
        self.answered[request.path] += 1
        await request.send(OK)
        if moment == "later":
            await asyncio.sleep(random.uniform(0, 0.02))
        if moment is not None:
            self._kill()

    def _moment(self) -> Moment | None:
        """Count this request; say when to kill if it is the one."""
        if self._victim is None:
            return None
        child, left, moment = self._victim
        self._victim = (child, left - 1, moment)
        return moment if left == 1 else None

    def _kill(self) -> None:
        if self._victim is not None:
            self._victim[0].kill()
            self._victim = None
            self.is_dead.set()

    def _note(self, request: Request) -> None:
        self.ids[request.path].add(request.headers["webhook-id"])
        self.bodies[request.path].add(request.body)
        try:
            self._webhook.verify(request.body, request.headers)
        except WebhookVerificationError:
            self.not_verified += 1


async def scenario(
    folder: Path, *, kills: int, moments: tuple[Moment, ...], marks_first: bool = False, settle: float = SETTLE_SECONDS
) -> Figures:
    """Run jobs with a webhook each, a URL each, while one sender after the other is killed; then let one finish."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    began = time.monotonic()
    database, secret = folder / "jobs.db", Secret.new().reveal()
    killer = Killer(secret)
    paths: list[str] = []
    with nursery(folder / "logs") as processes:
        async with (
            receiving(killer.behave) as receiver,
            opened(SQLiteStore(database)) as store,
            JobManager(store, models=[square]) as manager,
        ):

            async def submit(count: int) -> None:
                for _ in range(count):
                    paths.append(f"/cb/{len(paths)}")
                    url = f"http://127.0.0.1:{receiver.port}{paths[-1]}"
                    await manager.submit(square.options(webhook=url), len(paths))

            def start(nursery: Nursery) -> Child:
                return nursery.start(sender, database, receiver.port, secret, marks_first=marks_first)

            for number in range(kills):
                await submit(JOBS_A_KILL)
                child = start(processes)
                killer.aim(child, chance.randint(1, JOBS_A_KILL), moments[number % len(moments)])
                if not await came_true(killer.is_dead.is_set, 30):
                    raise AssertionError(f"no sender was killed for 30 s: {processes.logs()}")
            await submit(JOBS_A_KILL)
            start(processes)

            async def settled() -> int:
                found = await store.outbox.deliveries(None, DeliveryFilter(status="delivered"), limit=100_000)
                return len(found)

            async def are_done() -> bool:
                return await settled() == len(paths) and (await store.outbox.next_due_at()) is None

            await came_true(are_done, settle)
            return Figures(
                seed=seed,
                kills=kills,
                webhooks=len(paths),
                requests=killer.requests,
                sent_again=sum(count > 1 for count in killer.answered.values()),
                not_delivered=max(sum(not killer.answered[path] for path in paths), len(paths) - await settled()),
                other_ids=sum(len(killer.ids[path]) != 1 for path in paths)
                + len(paths)
                - len({id_ for ids in killer.ids.values() for id_ in ids}),
                other_bodies=sum(len(killer.bodies[path]) != 1 for path in paths),
                not_verified=killer.not_verified,
                seconds=time.monotonic() - began,
            )
