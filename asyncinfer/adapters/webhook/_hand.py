"""What the sender holds under leases, and which of it may be sent now: no receiver holds up the others.

A *target* is one URL, a *lane* everything that one owner sends to one host. Plain rules: no clock, no store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Literal

import msgspec
from msgspec import Struct

from asyncinfer._shown_target import shown_target
from asyncinfer.abc import Delivery

AT_ONCE = 4
"""Attempts at one target at a time."""
FAILURES = 5
"""In a row, before a lane is left alone between one attempt and the next."""
PACE_SECONDS = 1.0
"""For so long: short beside the schedule, which goes on meanwhile, and long beside a refused connection."""
HELD = 1_024
"""Deliveries that wait in hand at most; a body has 20 kB at most."""
HELD_OF_LANE = 512
CROWD = 64
"""Of one lane waiting: enough, for the moment."""
TARGETS_KEPT = 1_024
"""Targets remembered, while others of their lane wait, to be skipped if it becomes crowded."""
LANES_KEPT = 1_024
"""Lanes remembered for their failures alone."""

Went = Literal["delivered", "failed", "neither"]
"""How an attempt went for its receiver: `neither` when it was not the receiver that failed."""


class _Lane(Struct, eq=False):
    running: int = 0
    waiting: int = 0
    failures: int = 0
    """In a row."""
    wants_more: bool = False
    """Some of it was left in the store because it is crowded."""
    next_at: float = 0.0
    """On the monotonic clock: from when on a failing one may be tried again."""

    @property
    def is_failing(self) -> bool:
        return self.failures >= FAILURES


class _Target(Struct, eq=False):
    lane: _Lane
    running: int = 0
    waiting: deque[tuple[float, Delivery]] = msgspec.field(default_factory=deque[tuple[float, Delivery]])
    """(instant by which it must begin, delivery)"""
    has_more: bool = False
    """The store may have more that is due for it."""


class Hand:
    """The leased deliveries of one sender that has `slots` for attempts.

    One lane has half of the slots at most. Lanes whose latest attempt failed have a quarter all together, so that dead
    receivers, however many, leave three quarters to the living.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._of_lane = max(1, slots // 2)
        self._of_suspects = max(1, slots // 4)
        self._running = 0
        self._waiting = 0
        self._lanes: dict[tuple[str, str], _Lane] = {}
        self._targets: dict[tuple[str, str], _Target] = {}
        """Those of which something runs or waits; who is served next comes first."""

    @property
    def room(self) -> int:
        """How many more may be taken."""
        return HELD - self._waiting

    def skip(self) -> Sequence[str]:
        """Return the targets of which enough is in hand."""
        self._forget_idle()
        skipped: list[str] = []
        for (_, url), target in self._targets.items():
            is_crowded = target.lane.waiting > CROWD
            if target.waiting or target.running >= AT_ONCE or is_crowded:
                skipped.append(url)
                target.has_more = target.has_more or target.running >= AT_ONCE or len(target.waiting) > 1
                target.lane.wants_more = target.lane.wants_more or is_crowded
        return skipped

    def take(self, deliveries: Sequence[Delivery], begin_by: float) -> bool:
        """Take leased deliveries; False when all are of crowded lanes, so that more of them should wait.

        What is too much of one lane is not kept: it is offered again when its lease ends, and others come first.
        """
        is_open = False
        for delivery in deliveries:
            lane = self._lane(delivery)
            if lane.waiting < (AT_ONCE if lane.is_failing else HELD_OF_LANE) and self._waiting < HELD:
                target = self._targets.setdefault(_key(delivery), _Target(lane))
                target.lane = lane  # an idle one may be older than its lane
                target.waiting.append((begin_by, delivery))
                lane.waiting += 1
                self._waiting += 1
            if lane.waiting <= CROWD or lane.is_failing:
                is_open = True
            else:
                lane.wants_more = True
        return is_open

    def begin(self, now: float) -> Sequence[Delivery]:
        """Return what is to be sent now, each target in its turn, and count it as running."""
        begun: list[Delivery] = []
        suspects = sum(lane.running for lane in self._lanes.values() if lane.failures)
        is_more = True
        while is_more and self._running < self._slots:
            is_more = False
            for key in [key for key, target in self._targets.items() if target.waiting]:
                if self._running >= self._slots:
                    break
                target = self._targets[key]
                self._drop_late(key, target, now)
                if not target.waiting or not self._may_begin(target, suspects, now):
                    continue
                begun.append(self._begin_one(key, target, now))
                suspects += target.lane.failures > 0
                is_more = True
        return begun

    def end(self, delivery: Delivery, now: float, went: Went) -> bool:
        """Count how an attempt went. Return whether it is time to look whether the store has more for this receiver."""
        target = self._targets[_key(delivery)]
        lane = target.lane
        self._running -= 1
        target.running -= 1
        lane.running -= 1
        if went != "neither":
            lane.failures = 0 if went == "delivered" else lane.failures + 1
        if lane.is_failing:
            lane.next_at = now + PACE_SECONDS
        is_wanted = target.has_more and not target.waiting and lane.waiting <= CROWD
        if is_wanted:
            target.has_more = False
        if lane.wants_more and lane.waiting <= CROWD // 2:
            lane.wants_more, is_wanted = False, True
        self._forget(_key(delivery), target)
        self._forget_lane(delivery, lane)
        return is_wanted

    def next_at(self, now: float) -> float | None:
        """Return when the first of those that are left alone may be tried again."""
        paused = (target.lane.next_at for target in self._targets.values() if target.waiting)
        return min((at for at in paused if at > now), default=None)

    def _may_begin(self, target: _Target, suspects: int, now: float) -> bool:
        lane = target.lane
        if self._running >= self._slots or target.running >= AT_ONCE or lane.running >= self._of_lane:
            return False
        if not lane.failures:
            return True
        return suspects < self._of_suspects and (not lane.is_failing or lane.next_at <= now)

    def _begin_one(self, key: tuple[str, str], target: _Target, now: float) -> Delivery:
        _, delivery = target.waiting.popleft()
        self._waiting -= 1
        self._running += 1
        target.running += 1
        target.lane.waiting -= 1
        target.lane.running += 1
        if target.lane.is_failing:
            target.lane.next_at = now + PACE_SECONDS
        self._targets[key] = self._targets.pop(key)
        return delivery

    def _drop_late(self, key: tuple[str, str], target: _Target, now: float) -> None:
        """Let go of what could not be sent within its lease."""
        while target.waiting and target.waiting[0][0] < now:
            target.waiting.popleft()
            target.lane.waiting -= 1
            self._waiting -= 1
        self._forget(key, target)

    def _lane(self, delivery: Delivery) -> _Lane:
        return self._lanes.setdefault(_lane_key(delivery), _Lane())

    def _forget(self, key: tuple[str, str], target: _Target) -> None:
        is_idle = not target.running and not target.waiting
        if is_idle and (not target.lane.waiting or len(self._targets) > TARGETS_KEPT):
            self._targets.pop(key, None)

    def _forget_idle(self) -> None:
        """Forget the targets that were kept only to be skipped while their lane is crowded."""
        for key in [key for key, one in self._targets.items() if not one.running and not one.waiting]:
            self._forget(key, self._targets[key])

    def _forget_lane(self, delivery: Delivery, lane: _Lane) -> None:
        if not lane.running and not lane.waiting and not lane.failures:
            self._lanes.pop(_lane_key(delivery), None)
        surplus = len(self._lanes) - LANES_KEPT
        if surplus > 0:
            idle = (key for key, one in self._lanes.items() if not one.running and not one.waiting)
            for key in list(islice(idle, surplus)):
                del self._lanes[key]


def _key(delivery: Delivery) -> tuple[str, str]:
    return delivery.owner, delivery.target


def _lane_key(delivery: Delivery) -> tuple[str, str]:
    return delivery.owner, shown_target(delivery.target)
