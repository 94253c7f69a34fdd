"""F33: one of 100 webhook receivers is dead for a day: the others wait for nothing, and it is tried by the schedule.

The clock is a fake one; a dead receiver takes 15 s to fail, as one behind a firewall does.
"""

from __future__ import annotations

import itertools
import random
from collections import defaultdict

import pytest
from msgspec import Struct

from asyncinfer.abc import Delivery
from asyncinfer.adapters.webhook import WebhookSender, _hand
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._schedule import SCHEDULE
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import ANYWHERE, SECRET, Receivers, Sent, status
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.still_manager import StillManager

pytestmark = pytest.mark.fault

RECEIVERS = 100
HOURS = {"pr": 24, "rel": 24}
EVENTS_AN_HOUR = {"pr": 2, "rel": 6}
"""For each receiver, at random moments."""
DEAD = "https://dead.example.com/cb"
TIMEOUT_SECONDS = 15.0
ANSWER_SECONDS = 0.05
OTHERS_SECONDS = 2.0
WITHIN = 0.2
SLACK_SECONDS = 2.0
"""A second lies between any two attempts at what fails again and again: or 10,000 of them would be a flood."""


class Figures(Struct, frozen=True, kw_only=True):
    seed: int
    receivers: int
    hours: int
    delivered: int
    undelivered: int
    """To receivers that are well."""
    others_delay_p99_seconds: float
    others_delay_max_seconds: float
    dead_attempts: int
    dead_gaps: int
    dead_gaps_off_schedule: int
    """Between attempts of one delivery, farther from the schedule than a fifth of it (and 2 s)."""
    dead_latest_part_of_schedule: float
    """How late the latest attempt came, since the first of its delivery, as a part of what the schedule says."""


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "the others' p99 delay is at most 2 s": figures.others_delay_p99_seconds <= OTHERS_SECONDS,
        "every webhook to a receiver that is well is delivered": figures.undelivered == 0,
        "the dead one is tried by the schedule, within 20 %": figures.dead_gaps_off_schedule == 0
        and figures.dead_latest_part_of_schedule <= WITHIN,
        "the dead one is tried all day": figures.dead_gaps > 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_one_dead_receiver_of_a_hundred(size: Size, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = await scenario(monkeypatch, hours=HOURS[size], rate=EVENTS_AN_HOUR[size])
    publish("F33", size, figures)
    assert verdict(figures) == []


async def test_canary_one_shared_queue_holds_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_hand, "_key", one_for_all)
    monkeypatch.setattr(_hand, "_lane_key", one_for_all)
    monkeypatch.setattr(_hand, "AT_ONCE", 1)
    figures = await scenario(monkeypatch, hours=1, rate=30)
    assert "the others' p99 delay is at most 2 s" in verdict(figures)


def one_for_all(delivery: Delivery) -> tuple[str, str]:
    return "", "everything"


async def scenario(monkeypatch: pytest.MonkeyPatch, *, hours: int, rate: int) -> Figures:
    for module in ("_sender", "_dispatcher"):  # all endings are of here: looks every second find nothing, slowly
        monkeypatch.setattr(f"asyncinfer.adapters.webhook.{module}.POLL_SECONDS", 600.0)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    clock = FakeClock()
    receivers = Receivers(clock)

    async def answer(sent: Sent) -> Response:
        if sent.target == DEAD:
            await clock.sleep(TIMEOUT_SECONDS)
            return Response(kind="timeout", detail="no answer in time", latency=15_000)
        await clock.sleep(ANSWER_SECONDS)
        return status(200)

    receivers.answer = answer
    targets = [DEAD, *(f"https://host{number}.example.com/cb" for number in range(RECEIVERS - 1))]
    events = sorted((chance.uniform(0, hours * 3_600), target) for target in targets for _ in range(hours * rate))
    ended: dict[str, int] = {}
    async with MemoryStore(clock=clock) as store:
        manager = StillManager(store, clock)
        async with WebhookSender(manager.as_manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            began = clock.monotonic()
            for at, target in events:
                await clock.advance(began + at - clock.monotonic())
                ended[await manager.end_one(target)] = clock.now()
            await clock.advance(60)
    return figures_of(seed, hours, ended, receivers.sent)


def figures_of(seed: int, hours: int, ended: dict[str, int], sent: list[Sent]) -> Figures:
    delays: list[float] = []
    dead: dict[str, list[float]] = defaultdict(list)
    told: set[str] = set()
    for one in sent:
        job = one.told["data"]["id"]
        if one.target == DEAD:
            dead[one.id].append(one.at / 1000)
        else:
            told.add(job)
            delays.append((one.at - ended[job]) / 1000)
    delays.sort()
    gaps = [
        (after - before - TIMEOUT_SECONDS, planned)
        for times in dead.values()
        for (before, after), planned in zip(itertools.pairwise(times), SCHEDULE[1:], strict=False)
    ]
    lates = [
        (times[-1] - times[0] - TIMEOUT_SECONDS * (len(times) - 1)) / sum(SCHEDULE[: len(times)]) - 1
        for times in dead.values()
        if len(times) > 2
    ]
    of_others = len(ended) - len(dead)
    return Figures(
        seed=seed,
        receivers=RECEIVERS,
        hours=hours,
        delivered=len(told),
        undelivered=of_others - len(told),
        others_delay_p99_seconds=delays[round(0.99 * (len(delays) - 1))],
        others_delay_max_seconds=delays[-1],
        dead_attempts=sum(map(len, dead.values())),
        dead_gaps=len(gaps),
        dead_gaps_off_schedule=sum(
            not (1 - WITHIN) * planned <= gap <= (1 + WITHIN) * planned + SLACK_SECONDS for gap, planned in gaps
        ),
        dead_latest_part_of_schedule=max(lates, default=0.0),
    )
