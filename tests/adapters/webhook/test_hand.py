"""The hand: which of the leased deliveries is sent now."""

from __future__ import annotations

import itertools
import random
from typing import get_args

from asyncinfer.abc import Delivery
from asyncinfer.adapters.webhook._hand import (
    AT_ONCE,
    FAILURES,
    HELD,
    HELD_OF_LANE,
    LANES_KEPT,
    PACE_SECONDS,
    Hand,
    Went,
)

_numbers = itertools.count()


def to(url: str, count: int = 1, owner: str = "alice") -> list[Delivery]:
    return [
        Delivery(
            id=f"msg_{next(_numbers)}",
            owner=owner,
            job_id="job_1",
            target=url,
            event="job.succeeded",
            body=b"",
            status="pending",
            attempts=0,
            due_at=0,
            created_at=0,
        )
        for _ in range(count)
    ]


def fail(hand: Hand, url: str, times: int, now: float = 0.0, owner: str = "alice") -> None:
    for number in range(times):
        hand.take(to(url, owner=owner), 1e9)
        (begun,) = hand.begin(now + number * PACE_SECONDS)
        hand.end(begun, now + number * PACE_SECONDS, "failed")


def test_a_target_has_a_few_at_once_and_the_next_when_one_ends() -> None:
    hand = Hand(64)
    hand.take(to("https://a.example/", 10), 1e9)

    begun = hand.begin(0)
    assert len(begun) == AT_ONCE
    hand.end(begun[0], 0, "delivered")
    assert len(hand.begin(0)) == 1


def test_targets_take_turns() -> None:
    hand = Hand(4)
    for url in ("https://a.example/", "https://b.example/"):
        hand.take(to(url, 10), 1e9)

    assert [one.target[8] for one in hand.begin(0)] == ["a", "b", "a", "b"]


def test_a_target_of_which_enough_is_in_hand_is_skipped_and_asked_for_when_it_is_empty() -> None:
    hand = Hand(64)
    hand.take(to("https://a.example/", AT_ONCE + 1), 1e9)
    begun = [*hand.begin(0)]
    assert list(hand.skip()) == ["https://a.example/"]

    assert not hand.end(begun.pop(), 0, "delivered")
    begun += hand.begin(0)
    assert list(hand.skip()) == ["https://a.example/"]
    assert hand.end(begun.pop(), 0, "delivered")
    assert list(hand.skip()) == []


def test_one_lane_has_half_of_the_slots_whatever_its_urls() -> None:
    hand = Hand(20)
    for number in range(30):
        hand.take(to(f"https://a.example/cb?job={number}"), 1e9)
    assert len(hand.begin(0)) == 10

    hand.take(to("https://b.example/"), 1e9)
    assert [one.target for one in hand.begin(0)] == ["https://b.example/"]


def test_the_failing_have_a_quarter_all_together() -> None:
    hand = Hand(20)
    for number in range(10):
        fail(hand, f"https://dead{number}.example/", 1)
    for number in range(10):
        hand.take(to(f"https://dead{number}.example/", 4), 1e9)
    assert len(hand.begin(100)) == 5

    hand.take(to("https://well.example/", 4), 1e9)
    assert len(hand.begin(100)) == 4


def test_one_that_fails_again_and_again_is_left_alone_for_a_moment_each_time() -> None:
    hand = Hand(64)
    fail(hand, "https://dead.example/", FAILURES)
    hand.take(to("https://dead.example/", 3), 1e9)
    now = (FAILURES - 1) * PACE_SECONDS

    assert not hand.begin(now)
    assert hand.next_at(now) == now + PACE_SECONDS
    assert len(hand.begin(now + PACE_SECONDS)) == 1
    assert not hand.begin(now + PACE_SECONDS)


def test_a_success_forgives_all_failures() -> None:
    hand = Hand(64)
    fail(hand, "https://a.example/", FAILURES)
    hand.take(to("https://a.example/"), 1e9)
    (begun,) = hand.begin(100)
    hand.end(begun, 100, "delivered")

    hand.take(to("https://a.example/", 8), 1e9)
    assert len(hand.begin(100)) == AT_ONCE


def test_what_was_not_the_receivers_fault_changes_nothing() -> None:
    hand = Hand(64)
    for _ in range(2 * FAILURES):
        hand.take(to("https://a.example/"), 1e9)
        (begun,) = hand.begin(0)
        hand.end(begun, 0, "neither")

    hand.take(to("https://a.example/", 2), 1e9)
    assert len(hand.begin(0)) == 2


def test_owners_at_one_host_do_not_answer_for_each_other() -> None:
    hand = Hand(64)
    fail(hand, "https://hooks.example/dead", FAILURES, owner="mallory")
    hand.take(to("https://hooks.example/dead", 2, owner="alice"), 1e9)

    assert len(hand.begin(FAILURES - 1)) == 2


def test_what_waits_too_long_is_let_go_before_its_lease_ends() -> None:
    hand = Hand(64)
    hand.take(to("https://a.example/", AT_ONCE + 5), 30)
    begun = hand.begin(0)
    for one in begun:
        hand.end(one, 31, "delivered")

    assert not hand.begin(31)
    assert hand.room == HELD
    assert not hand.skip()


def test_a_crowd_of_one_lane_is_bounded_and_does_not_call_for_more() -> None:
    hand = Hand(8)
    answers = [
        hand.take([to(f"https://a.example/{batch}/{number}")[0] for number in range(100)], 1e9) for batch in range(7)
    ]

    assert answers == [True, *[False] * 6]
    assert hand.room == HELD - HELD_OF_LANE


def test_of_a_dead_lane_hardly_any_are_held() -> None:
    hand = Hand(64)
    fail(hand, "https://dead.example/", FAILURES)

    assert hand.take(to("https://dead.example/", 100), 1e9)
    assert hand.room == HELD - AT_ONCE


def test_all_that_is_held_is_bounded() -> None:
    hand = Hand(1)
    for number in range(3 * HELD):
        hand.take(to(f"https://host{number}.example/"), 1e9)
    assert hand.room == 0


def test_it_forgets_receivers_it_has_nothing_for() -> None:
    hand = Hand(64)
    for number in range(LANES_KEPT + 500):
        fail(hand, f"https://host{number}.example/", 1)
    assert len(hand._lanes) <= LANES_KEPT
    assert not hand._targets


def test_counts_hold_through_random_histories() -> None:
    chance = random.Random(7)
    for _ in range(200):
        hand, now = Hand(chance.randint(1, 12)), 0.0
        running: list[Delivery] = []
        for _ in range(200):
            now += chance.random()
            match chance.randrange(3):
                case 0:
                    url = f"https://{chance.randrange(4)}.example/{chance.randrange(3)}"
                    hand.take(to(url, chance.randrange(6), owner=chance.choice("ab")), now + 5)
                case 1:
                    running += hand.begin(now)
                case _ if running:
                    went = chance.choice(get_args(Went))
                    hand.end(running.pop(chance.randrange(len(running))), now, went)
                case _:
                    hand.skip()
            assert hand._running == len(running) <= hand._slots
            assert sum(target.running for target in hand._targets.values()) == len(running)
            assert sum(lane.running for lane in hand._lanes.values()) == len(running)
            waiting = sum(len(target.waiting) for target in hand._targets.values())
            assert waiting == hand._waiting == sum(lane.waiting for lane in hand._lanes.values())


def test_a_crowd_that_moves_loses_none() -> None:
    """Of 1,000 for 16 URLs of one host, three quarters were let go and came back after a minute."""
    hand, store, sent, running = Hand(64), to_many("https://a.example", 16, 1_000), 0, list[Delivery]()
    is_time = True
    for _ in range(5_000):
        if is_time:
            skip = set(hand.skip())
            due = [one for one in store if one.target not in skip][:100]
            taken = {one.id for one in due}
            store = [one for one in store if one.id not in taken]
            hand.take(due, 1e9)
        running += hand.begin(0)
        if not running:
            break
        is_time = hand.end(running.pop(0), 0, "delivered")
        sent += 1

    assert sent == 1_000


def to_many(host: str, urls: int, count: int) -> list[Delivery]:
    return [to(f"{host}/{number % urls}")[0] for number in range(count)]
