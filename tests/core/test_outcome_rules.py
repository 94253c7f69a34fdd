"""What an attempt's outcome makes of its job."""

import random

import pytest

from asyncinfer._job import Backoff, JobError
from asyncinfer._services.attempt import MoveIds, finish_of
from asyncinfer._services.drain_rate import DrainRate
from asyncinfer.abc import Claim, Finish, Outcome

RETRYABLE = JobError(code="model_error", message="boom", retryable=True)


def decided(outcome: Outcome, *, failures: int = 0, max_attempts: int = 3) -> Finish:
    claim = Claim(
        owner="", id="job_1", attempt=4, model="m", queue="q", input=b"", content_type="", ref=7,
        failures=failures, max_attempts=max_attempts, backoff=Backoff(initial_delay=1_000, jitter=0.0),
    )  # fmt: skip
    return finish_of(claim, outcome, move_id=b"id", now=10_000, source=random.Random(1))


def test_what_returned_succeeded_with_its_result() -> None:
    finish = decided(Outcome("returned", b"result"))
    assert (finish.outcome, finish.result, finish.attempt, finish.ref) == ("succeeded", b"result", 4, 7)


def test_a_retryable_error_is_tried_again_after_its_backoff() -> None:
    finish = decided(Outcome("raised", error=RETRYABLE), failures=1)
    assert (finish.outcome, finish.not_before, finish.error) == ("retry", 12_000, RETRYABLE)


def test_the_last_attempt_fails_for_good() -> None:
    assert decided(Outcome("raised", error=RETRYABLE), failures=2).outcome == "failed"


def test_an_error_that_is_not_retryable_fails_at_once() -> None:
    error = JobError(code="model_error", message="boom")
    assert decided(Outcome("raised", error=error)).outcome == "failed"


def test_a_model_may_name_its_own_delay() -> None:
    finish = decided(Outcome("retry_later", error=RETRYABLE, delay=2.5))
    assert (finish.outcome, finish.not_before) == ("retry", 12_500)


def test_retry_later_is_charged_like_a_failure() -> None:
    assert decided(Outcome("retry_later", error=RETRYABLE, delay=2.5), max_attempts=1).outcome == "failed"


def test_what_obeyed_a_cancel_is_canceled() -> None:
    assert decided(Outcome("canceled")).outcome == "canceled"


def test_a_passed_time_limit_is_not_retried() -> None:
    error = JobError(code="time_limit", message="too long")
    assert decided(Outcome("time_limit", error=error)).outcome == "failed"


def test_move_ids_never_repeat() -> None:
    one, other = MoveIds(), MoveIds()
    assert len({*(one() for _ in range(1_000)), *(other() for _ in range(1_000))}) == 2_000


@pytest.mark.parametrize(("ended", "low", "high"), [(0, 48.0, 60.0), (100_000, 1.0, 1.0), (500, 16.0, 24.0)])
def test_a_refused_submit_is_told_when_a_tenth_of_the_queue_has_drained(ended: int, low: float, high: float) -> None:
    rate = DrainRate(now=0.0)
    assert low <= rate.retry_after(ended, 10.0, 10_000) <= high
