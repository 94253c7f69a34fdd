"""The log of deliveries: looked at, filtered, and sent again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.adapters.http.hooks import FAILS, GONE, Hooks, hooked, verify
from tests.adapters.http.models import echo
from tests.adapters.http.steps import Json, pointer_of, slug_of, submitted
from tests.faults.harness.webhook_receiver import answer_ok

UNKNOWN = "msg_" + "a" * 32


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked() as hooks:
        yield hooks


async def listed(hooks: Hooks, **query: str | int) -> Json:
    answered = await hooks.client.get("/v1/deliveries", params=query)
    assert answered.status_code == 200, answered.text
    page: Json = answered.json()
    return page


async def test_a_delivery_tells_how_it_went_and_of_its_url_the_host_alone(hooks: Hooks) -> None:
    delivery = await hooks.delivery({"url": hooks.url}, status="delivered")
    (request,) = hooks.receiver.requests
    assert (delivery["object"], delivery["id"]) == ("delivery", request.headers["webhook-id"])
    assert (delivery["event"], delivery["endpoint"], delivery["next_attempt_at"]) == ("job.succeeded", None, None)
    assert delivery["url_host"] == "http://127.0.0.1"
    assert "token" not in str(delivery)
    last = delivery["last"]
    assert (last["kind"], last["status"], last["detail"]) == ("delivered", 200, "")
    assert 0 <= last["latency_seconds"] < 5


async def test_a_target_that_is_no_url_at_all_spoils_no_list(hooks: Hooks) -> None:
    # Python is not asked where a webhook may go before the attempt.
    for target in ("https://[::1", "https://[:::::]/s3cret", "x://y@/s3cret"):
        job = await hooks.manager.submit(echo.options(webhook=target), "hello")
        await hooks.settled(job.id, status="pending")
    page = await listed(hooks)
    assert [one["last"]["kind"] for one in page["data"]] == ["blocked"] * 3
    assert "s3cret" not in str(page)


async def test_one_delivery_shows_the_log_of_its_attempts(hooks: Hooks) -> None:
    hooks.receiver.behave = FAILS
    delivery = await hooks.delivery({"url": hooks.url}, status="pending")
    assert "log" not in delivery
    one = (await hooks.client.get(f"/v1/deliveries/{delivery['id']}")).json()
    (line,) = one.pop("log")
    assert one == delivery
    assert (line["kind"], line["status"]) == ("status", 500)
    assert line == delivery["last"]
    due_in = datetime.fromisoformat(delivery["next_attempt_at"]) - datetime.fromisoformat(line["at"])
    assert timedelta(seconds=4) <= due_in <= timedelta(seconds=7)


async def test_deliveries_are_filtered(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    first = await hooks.delivery({"url": hooks.url}, status="delivered")
    second = await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    hooks.receiver.behave = FAILS
    third = await hooks.delivery({"endpoint": endpoint["id"]}, status="pending")
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    async def ids(**query: str) -> set[str]:
        return {one["id"] for one in (await listed(hooks, **query))["data"]}

    assert await ids() == {first["id"], second["id"], third["id"]}
    assert await ids(job=first["job_id"]) == {first["id"]}
    assert await ids(endpoint=endpoint["id"]) == {second["id"], third["id"]}
    assert await ids(status="delivered") == {first["id"], second["id"]}
    assert await ids(status="pending", endpoint=endpoint["id"]) == {third["id"]}
    assert await ids(since="2020-01-01T00:00:00Z", until=soon) == {first["id"], second["id"], third["id"]}
    assert await ids(since=soon) == set()
    assert await ids(until="2020-01-01T00:00:00+02:00") == set()
    assert await ids(job="job_of_nobody") == await ids(endpoint="wh_of_nobody") == set()


async def test_pages_are_turned_by_cursor_newest_first_and_the_last_one_has_none(hooks: Hooks) -> None:
    made = [(await hooks.delivery({"url": hooks.url}, status="delivered"))["id"] for _ in range(4)]
    first = await listed(hooks, limit=2)
    second = await listed(hooks, limit=2, after=first["next_cursor"])
    assert (len(first["data"]), len(second["data"]), second["next_cursor"]) == (2, 2, None)
    assert [one["id"] for one in first["data"] + second["data"]] == made[::-1]
    assert (await listed(hooks, limit=4))["next_cursor"] is None


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("status=done", "status"),
        ("status=", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("since=yesterday", "since"),
        ("until=2020-01-01", "until"),
        ("after=", "after"),
        ("owner=bob", "owner"),
        ("job=a&job=b", "job"),
        ("job=%00", "job"),
        ("job=", "job"),
        ("job=a.b", "job"),
        ("endpoint=https://x.example", "endpoint"),
    ],
)
async def test_a_wrong_filter_is_named(hooks: Hooks, query: str, pointer: str) -> None:
    answered = await hooks.client.get(f"/v1/deliveries?{query}")
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)


async def test_a_delivery_is_sent_again_with_the_same_id_and_body(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    delivery = await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    answered = await hooks.client.post(f"/v1/deliveries/{delivery['id']}/redeliver")
    assert (answered.status_code, answered.json()["id"]) == (202, delivery["id"])
    await hooks.settled(delivery["job_id"], status="delivered", attempts=2)
    first, second = await hooks.sent(2)
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == delivery["id"]
    assert first.body == second.body
    verify(endpoint["secret"], second)
    assert len((await hooks.client.get(f"/v1/deliveries/{delivery['id']}")).json()["log"]) == 2


async def test_sending_again_what_is_pending_changes_nothing(hooks: Hooks) -> None:
    hooks.receiver.behave = FAILS
    delivery = await hooks.delivery({"url": hooks.url}, status="pending")
    answered = await hooks.client.post(f"/v1/deliveries/{delivery['id']}/redeliver")
    assert (answered.status_code, answered.json()) == (202, delivery)


async def test_what_came_to_nothing_in_a_time_is_sent_again(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    path = f"/v1/webhooks/{endpoint['id']}"
    delivered = await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    hooks.receiver.behave = GONE
    lost = await hooks.delivery({"endpoint": endpoint["id"]}, status="disabled")
    hooks.receiver.behave = answer_ok
    await hooks.client.patch(path, json={"enabled": True})

    async def recovered(since: str, until: str | None = None) -> tuple[int, int]:
        answered = await hooks.client.post(f"{path}/recover", json={"since": since, "until": until})
        return answered.status_code, answered.json()["deliveries"]

    assert await recovered("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z") == (202, 0)
    assert await recovered("2100-01-01T00:00:00Z") == (202, 0)
    assert await recovered("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00") == (202, 1)
    await hooks.settled(lost["job_id"], status="delivered", attempts=2)
    assert await recovered("2020-01-01T00:00:00Z") == (202, 0)
    assert (await hooks.settled(delivered["job_id"], status="delivered"))["attempts"] == 1


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/since"),
        ({"since": None}, "/since"),
        ({"since": "2026-01-01T00:00:00"}, "/since"),
        ({"since": "yesterday"}, "/since"),
        ({"since": "2026-01-01T00:00:00Z", "until": 1}, "/until"),
        ({"since": "2026-01-01T00:00:00Z", "status": "exhausted"}, "/status"),
    ],
)
async def test_a_wrong_time_is_named(hooks: Hooks, body: Json, pointer: str) -> None:
    endpoint = await hooks.registered()
    answered = await hooks.client.post(f"/v1/webhooks/{endpoint['id']}/recover", json=body)
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)


async def test_a_job_without_webhooks_has_no_deliveries(hooks: Hooks) -> None:
    job = await submitted(hooks.client)
    answered = await hooks.client.get(f"/v1/jobs/{job['id']}/deliveries")
    assert (answered.status_code, answered.json()) == (200, {"object": "list", "data": [], "next_cursor": None})


async def test_the_deliveries_of_no_job_are_those_of_an_unknown_one(hooks: Hooks) -> None:
    for job in ("nobody", "x" * 65, "%00"):
        answered = await hooks.client.get(f"/v1/jobs/{job}/deliveries")
        assert (answered.status_code, slug_of(answered)) == (404, "job-not-found")


@pytest.mark.parametrize("delivery", [UNKNOWN, "%00", "a.b", "x" * 65, "%FF"])
async def test_what_is_no_delivery_is_not_found(hooks: Hooks, delivery: str) -> None:
    answers = [
        await hooks.client.get(f"/v1/deliveries/{delivery}"),
        await hooks.client.post(f"/v1/deliveries/{delivery}/redeliver"),
    ]
    assert {(answered.status_code, slug_of(answered)) for answered in answers} == {(404, "not-found")}
