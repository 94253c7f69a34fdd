from datetime import UTC, datetime
from typing import Any, NoReturn, cast

import pytest

from asyncinfer import Batch, Retention, RetryPolicy, Subscription
from asyncinfer._options import check_model_options, check_submit_options
from asyncinfer.errors import InvalidOption

HOOK = "https://example.com/hook"


@pytest.mark.parametrize(
    "options",
    [
        {"priority": 0, "delay": 0, "dedup": True},
        {"priority": 9, "not_before": datetime(2026, 1, 1, tzinfo=UTC), "dedup": 30.5},
        {"deadline": datetime(2026, 1, 1, tzinfo=UTC), "queue_timeout": 1, "time_limit": 0.5},
        {"deadline": None, "queue_timeout": None, "time_limit": None, "webhook": None},
        {"idempotency_key": "order 7~", "job_id": "a-B_9", "traceparent": "00-" + "0" * 32 + "-" + "1" * 16 + "-01"},
        {"webhook": "https://example.com/hook"},
        {"webhook": [Subscription(target="https://example.com/hook"), "endpoint_7"]},
        {"webhook": Subscription(HOOK, ("job.started", "job.progress", "job.output"))},
        {"webhook": Subscription(HOOK, ("job.failed",), f"whsec_{'A' * 40}")},
        {"labels": {"team": "vision", "empty": ""}, "metadata": {"any": [1, None]}},
        {"retry": RetryPolicy(max_attempts=3), "retention": Retention(result=0), "wait_for_room": True},
    ],
)
def test_valid_submit_options_pass(options: dict[str, Any]) -> None:
    check_submit_options(options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"priority": 10}, "priority: expected an int from 0 to 9, got 10"),
        ({"priority": True}, "priority: expected an int from 0 to 9, got True"),
        ({"priority": "5"}, "priority: expected an int from 0 to 9, got a str of 1 characters"),
        ({"priorty": 1}, "priorty: unknown submit option"),
        ({"delay": -1}, "delay: expected a number of seconds"),
        ({"delay": float("nan")}, "delay: expected a number of seconds"),
        ({"delay": 1e12}, "delay: expected a number of seconds"),
        ({"delay": 1, "not_before": datetime(2026, 1, 1, tzinfo=UTC)}, "delay: expected none beside not_before"),
        ({"not_before": datetime(2026, 1, 1)}, "not_before: expected an aware datetime"),  # noqa: DTZ001  the point
        ({"deadline": 17}, "deadline: expected an aware datetime"),
        ({"time_limit": 0}, "time_limit: expected a number of seconds"),
        ({"idempotency_key": ""}, "idempotency_key: expected 1 to 255 printable ASCII characters"),
        ({"idempotency_key": "a\n"}, "idempotency_key: expected 1 to 255 printable ASCII characters"),
        ({"idempotency_key": "ä"}, "idempotency_key: expected 1 to 255 printable ASCII characters"),
        ({"dedup": 0}, "dedup: expected a bool or a number of seconds"),
        ({"webhook": ""}, "webhook: expected a URL"),
        ({"webhook": ["https://example.com/"] * 9}, "webhook: expected a URL"),
        ({"webhook": [1]}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, events=())}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, events=("job.sucess",))}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, events=("job.begun",))}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, secret="hush")}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, secret="whsec_aGVsbG8=")}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, secret=f"whsec_{'-_' * 20}")}, "webhook: expected a URL"),
        ({"webhook": Subscription(HOOK, secret="A" * 40)}, "webhook: expected a URL"),
        ({"labels": {"": "x"}}, "labels: expected a mapping"),
        ({"labels": {"a": 1}}, "labels: expected a mapping"),
        ({"labels": {"a": "\ud800"}}, "labels: expected a mapping"),
        ({"labels": {"a": "x" * 257}}, "labels: expected a mapping"),
        ({"metadata": object()}, "metadata: expected a value that can be encoded"),
        ({"retry": RetryPolicy(retry_on=(ValueError,))}, "retry: expected a RetryPolicy without retry_on"),
        ({"retry": 3}, "retry: expected a RetryPolicy"),
        ({"retention": Retention(result=-1)}, "retention: expected a Retention"),
        ({"job_id": "a b"}, "job_id: expected 1 to 64"),
        ({"traceparent": "00-xyz"}, "traceparent: expected a W3C traceparent"),
        ({"wait_for_room": 1}, "wait_for_room: expected a bool"),
    ],
)
def test_a_wrong_submit_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_submit_options(options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["idempotency_key", "webhook", "job_id", "traceparent"])
def test_a_message_never_shows_a_text(name: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_submit_options({name: "a secret\n"})
    assert "secret" not in str(caught.value)


def test_labels_have_a_bound_of_the_callers() -> None:
    labels = {str(number): "" for number in range(9)}
    with pytest.raises(InvalidOption, match="labels: expected at most 8, got 9"):
        check_submit_options({"labels": labels}, max_labels=8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a b"}, "name: expected 1 to 128"),
        ({"queue": ""}, "queue: expected 1 to 128"),
        ({"executor": 1}, "executor: expected 1 to 128"),
        ({"batch": 8}, "batch: expected a Batch"),
        ({"concurrency": 0}, "concurrency: expected an int from 1"),
        ({"crash_budget": 0}, "crash_budget: expected an int from 1"),
        ({"time_limit": -1}, "time_limit: expected a number of seconds"),
        ({"retries": 3}, "retries: unknown model option"),
    ],
)
def test_a_wrong_model_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        check_model_options(options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 0}, "Batch.max_size: expected an int from 1"),
        ({"max_cost": 0, "cost": len}, "Batch.max_cost: expected an int from 1"),
        ({"max_cost": 10}, "Batch.cost: expected a callable"),
        ({"buckets": (2, 1), "cost": len}, "Batch.buckets: expected a tuple"),
        ({"buckets": (1, 2)}, "Batch.cost: expected a callable"),
        ({"max_wait": -0.001}, "Batch.max_wait: expected a number of seconds from 0 to 3600, got -0.001"),
        ({"max_wait": 3601}, "Batch.max_wait: expected a number of seconds from 0 to 3600"),
        ({"max_wait": float("nan")}, "Batch.max_wait: expected a number of seconds"),
        ({"max_wait": True}, "Batch.max_wait: expected a number of seconds"),
        ({"on_error": "split"}, "Batch.on_error: expected 'bisect' or 'fail'"),
        ({"key": "lang"}, "Batch.key: expected a callable"),
    ],
)
def test_a_wrong_batch_option_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Batch(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("item", "place"), [("a", ("0|", 1)), ("abcd", ("0|", 4)), ("abcde", ("1|", 5))])
def test_a_bucket_holds_costs_up_to_its_bound(item: str, place: tuple[str, int]) -> None:
    assert Batch(cost=len, buckets=(4, 8)).place(item) == place


@pytest.mark.parametrize(
    "batch",
    [
        Batch(cost=lambda item: 0),
        Batch(cost=lambda item: cast(int, 1.5)),
        Batch(cost=lambda item: True),
        Batch(key=lambda item: item),
        Batch(key=lambda item: "x" * 201),
        Batch(key=lambda item: "\ud800"),
    ],
)
def test_a_batch_function_that_answers_wrongly_is_named(batch: Batch) -> None:
    with pytest.raises(InvalidOption, match=r"Batch\.(cost|key)\(item\): expected"):
        batch.place(7)


def _refuse(item: object) -> NoReturn:
    raise LookupError("no tokens")


@pytest.mark.parametrize(("name", "batch"), [("cost", Batch(cost=_refuse)), ("key", Batch(key=_refuse))])
def test_a_batch_function_that_raises_is_named(name: str, batch: Batch) -> None:
    with pytest.raises(InvalidOption, match=rf"Batch\.{name}\(item\): raised LookupError: no tokens"):
        batch.place(7)
