"""The table of moves, and the rules that pick the next status."""

import pytest

from asyncinfer.abc import JobError
from asyncinfer.lifecycle import (
    MOVES,
    STATUSES,
    TERMINAL,
    crash_budget_error,
    is_last_chance,
    is_legal,
    next_tag,
    status_after_finish,
    status_after_give_back,
    status_after_rescue,
    tag_step,
    worker_lost_error,
)


def test_nothing_leaves_a_terminal_status_but_the_prune() -> None:
    assert {move.name for move in MOVES for source in move.sources if source in TERMINAL} == {"prune"}


@pytest.mark.parametrize("source", sorted(TERMINAL))
@pytest.mark.parametrize("target", STATUSES)
def test_a_terminal_status_is_never_left_for_another(source: str, target: str) -> None:
    assert not is_legal(source, target)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  the table's own words


def test_every_status_is_reached_by_some_move() -> None:
    assert {target for move in MOVES for target in move.targets} - {None} == set(STATUSES)


def test_only_a_claim_begins_an_attempt() -> None:
    assert [move.name for move in MOVES if move.charges == "attempt"] == ["claim"]


def test_only_a_rescue_is_charged_to_the_crash_budget() -> None:
    assert [move.name for move in MOVES if move.charges == "crashes"] == ["rescue"]


def test_a_retry_of_a_job_with_a_wish_to_cancel_ends_it() -> None:
    assert status_after_finish("retry", cancel_requested=True) == "canceled"
    assert status_after_finish("retry", cancel_requested=False) == "queued"


def test_a_finished_result_is_kept_although_a_cancel_was_wished() -> None:
    assert status_after_finish("succeeded", cancel_requested=True) == "succeeded"


def test_a_give_back_of_a_job_with_a_wish_to_cancel_ends_it() -> None:
    assert status_after_give_back(cancel_requested=True) == "canceled"
    assert status_after_give_back(cancel_requested=False) == "queued"


@pytest.mark.parametrize(
    ("crashes", "budget", "cancel_requested", "status"),
    [
        (1, 3, False, "queued"),
        (2, 3, False, "queued"),
        (3, 3, False, "failed"),
        (1, 1, False, "failed"),
        (3, 3, True, "canceled"),
    ],
)
def test_a_rescue_fails_a_job_only_at_its_crash_budget(
    crashes: int, budget: int, cancel_requested: bool, status: str
) -> None:
    assert status_after_rescue(crashes=crashes, crash_budget=budget, cancel_requested=cancel_requested) == status


@pytest.mark.parametrize(
    ("crashes", "budget", "expected"), [(0, 3, False), (1, 3, False), (2, 3, True), (0, 1, False), (1, 2, True)]
)
def test_only_a_suspect_with_one_crash_left_is_on_its_last_chance(crashes: int, budget: int, expected: bool) -> None:
    assert is_last_chance(crashes=crashes, crash_budget=budget) is expected


def test_a_flow_alone_is_served_in_order() -> None:
    first, end = next_tag(0.0, 0.0, 5)
    second, _ = next_tag(0.0, end, 5)
    assert first < second


def test_a_newcomer_begins_at_the_virtual_time_and_not_behind_a_backlog() -> None:
    backlog_end = 0.0
    for _ in range(1_000):
        _, backlog_end = next_tag(0.0, backlog_end, 5)
    newcomer, _ = next_tag(3.0, 0.0, 5)
    assert newcomer == 3.0 < backlog_end


def test_steps_grow_from_the_most_urgent_to_the_least() -> None:
    steps = [tag_step(priority) for priority in range(10)]
    assert steps == sorted(steps)
    assert steps[5] == 1.0


SEGFAULT = JobError(
    code="worker_lost",
    message="its process was killed by SIGSEGV",
    traceback="Fatal Python error",
    details={"pid": "7"},
)


def test_a_lost_attempt_keeps_the_code_and_the_words_of_its_cause() -> None:
    error = worker_lost_error("w1", 2, SEGFAULT)

    assert (error.code, error.traceback, error.attempt, error.retryable) == (
        "worker_lost",
        "Fatal Python error",
        2,
        True,
    )
    assert error.message == "attempt 2 was lost with its worker w1: its process was killed by SIGSEGV"


def test_a_spent_crash_budget_ends_in_the_last_cause() -> None:
    error = crash_budget_error(3, 4, SEGFAULT)

    assert (error.code, error.traceback, error.attempt) == ("crash_budget", "Fatal Python error", 4)
    assert error.message.endswith("its crash budget is spent: its process was killed by SIGSEGV")
    assert error.details == {"pid": "7", "cause": "worker_lost"}
