"""The sender: what is owed is posted, signed, on time, until it is delivered or given up."""

from __future__ import annotations

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any, cast

import pytest

from asyncinfer import JobManager, Subscription
from asyncinfer.abc import DeliveryFilter
from asyncinfer.adapters.webhook import Ed25519Signer, PrivateKey, Secret, Signer, WebhookSender
from asyncinfer.adapters.webhook import verify as verify_ours
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._schedule import SCHEDULE
from asyncinfer.errors import AsyncinferError, InvalidOption, OutcomeUnknown, StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer.testing.faults import When
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import (
    ANYWHERE,
    SECRET,
    URL,
    Kind,
    Receivers,
    Sent,
    bench,
    echo,
    open_store,
    slow_days,
    status,
    verify,
)
from tests.faults.harness.waiting import until

DAY = 86_400.0


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


async def test_an_ending_is_posted_signed_and_once(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        job = await b.end("hello")
        await b.until(lambda: bool(b.receivers.sent))
        await b.until_they_are("delivered")
        await b.pass_time(300)

        (sent,) = b.receivers.sent
        verify(SECRET, sent)
        assert (sent.target, sent.headers["content-type"]) == (URL, "application/json")
        assert (sent.told["type"], sent.told["data"]["id"]) == ("job.succeeded", job)
        assert sent.told["data"]["output"] == "hello"
        (delivery,) = await b.deliveries()
        assert (delivery.status, delivery.attempts, delivery.id) == ("delivered", 1, sent.id)
        (line,) = await b.log(delivery)
        assert (line.kind, line.status_code, line.latency, line.at) == ("delivered", 200, 7, sent.at)


async def test_every_attempt_has_the_same_bytes_and_id_and_a_time_of_its_own(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        b.receivers.answer = lambda sent: status(200 if len(b.receivers.sent) > 2 else 500)
        await b.end()
        await b.until(lambda: len(b.receivers.sent) == 3, step=10)

        assert len({(sent.id, sent.body) for sent in b.receivers.sent}) == 1
        assert len({sent.headers["webhook-timestamp"] for sent in b.receivers.sent}) == 3
        for sent in b.receivers.sent:
            verify(SECRET, sent)


async def test_attempts_follow_the_schedule_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with slow_days(monkeypatch) as days:
        days.receivers.answer = lambda sent: status(500)
        await days.manager.end_one(URL)
        await days.clock.advance(5 * DAY)

        times = [sent.at / 1000 for sent in days.receivers.sent]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert len(gaps) == len(SCHEDULE) - 1
        for gap, planned in zip(gaps, SCHEDULE[1:], strict=True):
            assert 0.8 * planned <= gap <= 1.2 * planned + 0.1
        (delivery,) = await days.manager.outbox.deliveries(None, DeliveryFilter())
        assert (delivery.status, delivery.attempts) == ("exhausted", len(SCHEDULE))


async def test_an_exhausted_delivery_that_is_asked_for_again_follows_the_schedule_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with slow_days(monkeypatch) as days:
        outbox = days.manager.outbox
        days.receivers.answer = lambda sent: status(500)
        await days.manager.end_one(URL)
        await days.clock.advance(5 * DAY)
        (delivery,) = await outbox.deliveries(None, DeliveryFilter())
        await outbox.redeliver(delivery.owner, [delivery.id], days.clock.now())
        days.sender.wake()
        await days.clock.advance(5 * DAY)

        times = [sent.at / 1000 for sent in days.receivers.sent[len(SCHEDULE) :]]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert len(gaps) == len(SCHEDULE) - 1
        for gap, planned in zip(gaps, SCHEDULE[1:], strict=True):
            assert 0.8 * planned <= gap <= 1.2 * planned + 0.1
        (delivery,) = await outbox.deliveries(None, DeliveryFilter())
        assert (delivery.status, delivery.attempts) == ("exhausted", 2 * len(SCHEDULE))
        assert len(await outbox.log(delivery.owner, delivery.id)) == 2 * len(SCHEDULE)


async def test_a_delivery_that_is_asked_for_again_is_the_same_one(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        await b.end()
        await b.until_they_are("delivered")
        await b.pass_time(100)
        (delivery,) = await b.deliveries()

        await b.manager.outbox.redeliver("", [delivery.id], clock.now())
        b.sender.wake()
        await b.until(lambda: len(b.receivers.sent) == 2, step=0.01, steps=50)

        first, second = b.receivers.sent
        assert (first.id, first.body) == (second.id, second.body)
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 100
        verify(SECRET, second)


async def test_410_of_a_jobs_url_ends_that_delivery_alone() -> None:
    async with bench() as b:
        b.receivers.answer = lambda sent: status(410)
        await b.end()
        await b.until_they_are("disabled")
        await b.end()
        await b.until_they_are("disabled", "disabled")

        assert len({sent.id for sent in b.receivers.sent}) == len(b.receivers.sent) == 2


@pytest.mark.parametrize("code", [429, 503])
async def test_a_receiver_that_names_a_time_is_left_alone_until_then(code: int) -> None:
    async with bench() as b:
        b.receivers.answer = lambda sent: status(code, retry_after=1_000)
        await b.end()
        await b.clock.advance(995)
        assert len(b.receivers.sent) == 1
        await b.clock.advance(10)
        assert len(b.receivers.sent) == 2


async def test_a_wait_counts_from_the_end_of_an_attempt() -> None:
    async with bench() as b:

        async def slow(sent: Sent) -> Response:
            await b.clock.sleep(14)
            return status(500)

        b.receivers.answer = slow
        await b.end()
        await b.clock.advance(14 + 3.9)
        assert len(b.receivers.sent) == 1
        await b.clock.advance(2.2)
        assert len(b.receivers.sent) == 2


async def test_a_large_result_is_only_named(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock, public_base_url="https://api.example.com/") as b:
        ids = [await b.end("x" * size) for size in (10_000, 30_000, 300_000)]
        await b.until(lambda: len(b.receivers.sent) == 3)

        told = {sent.told["data"]["id"]: sent for sent in b.receivers.sent}
        small, middle, large = (told[id_] for id_ in ids)
        assert "truncated" not in small.told
        assert small.told["data"]["output"] == "x" * 10_000
        for one in (middle, large):
            assert one.told["truncated"] is True
            assert len(one.body) < 2_000
            assert one.told["data"]["links"]["result"].startswith("https://api.example.com/v1/jobs/")
            verify(SECRET, one)


async def test_the_ending_of_a_job_that_is_deleted_is_told_by_its_id() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[echo]) as manager:
        handle = await manager.submit(echo.options(webhook=URL), "hello")
        await handle
        await manager.delete(handle.id)
        receivers = Receivers(clock)
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            await clock.advance(1)

        (sent,) = receivers.sent
        assert sent.told["data"] == {"object": "job", "id": handle.id, "status": "succeeded"}
        verify(SECRET, sent)


async def test_only_the_events_that_were_asked_for_are_sent(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock) as b:
        failures = Subscription(URL, ("job.failed",))
        await b.end("hello", webhook=failures)
        failed = await b.end("fail", webhook=failures)
        await b.until(lambda: bool(b.receivers.sent))
        await b.pass_time(5)

        assert [(sent.told["type"], sent.told["data"]["id"]) for sent in b.receivers.sent] == [("job.failed", failed)]


# Signing


async def test_the_secret_of_a_subscription_signs_in_place_of_the_senders() -> None:
    own = Secret.new().reveal()
    async with bench() as b:
        await b.end(webhook=Subscription(URL, secret=own))
        await b.clock.advance(1)

        (sent,) = b.receivers.sent
        verify(own, sent)
        assert len(sent.headers["webhook-signature"].split(" ")) == 1


async def test_previous_secrets_and_signers_sign_too() -> None:
    previous, key = Secret.new().reveal(), PrivateKey.new()
    async with bench(previous_secrets=[previous], signers=[Ed25519Signer(key)]) as b:
        await b.end()
        await b.clock.advance(1)

        (sent,) = b.receivers.sent
        verify(SECRET, sent)
        verify(previous, sent)
        verify_ours(sent.body, sent.headers, str(key.public()), now=sent.at / 1000)
        assert [part.split(",")[0] for part in sent.headers["webhook-signature"].split(" ")] == ["v1", "v1", "v1a"]


class Kms(Signer):
    """A signer that is away at first."""

    def __init__(self, failures: int) -> None:
        self.failures = failures

    async def sign(self, message: bytes) -> str:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("https://kms.example.com/?token=hush is away")
        return "v1a,AAAA"


async def test_a_signer_that_fails_costs_an_attempt_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(signers=[Kms(failures=1)]) as b:
        await b.end()
        await b.clock.advance(1)
        assert not b.receivers.sent
        (delivery,) = await b.deliveries()
        (line,) = await b.log(delivery)
        assert (line.kind, line.detail) == ("blocked", "it could not be signed: ConnectionError")

        await b.clock.advance(7)
        assert len(b.receivers.sent) == 1
    assert "hush" not in caplog.text


async def test_without_a_secret_nothing_is_sent_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async with bench(secret=None) as b:
        await b.end()
        await b.clock.advance(1)
        assert not b.receivers.sent
        (delivery,) = await b.deliveries()
        assert (delivery.status, delivery.attempts) == ("pending", 1)
    assert "is there a secret" in caplog.text


# Many at once


async def test_one_slot_is_never_left_empty() -> None:
    """A slot that became free was seen a second late."""
    async with bench(concurrency=1) as b:
        for _ in range(20):
            await b.end()
        await b.clock.advance(0.2)
        await b.until(lambda: len(b.receivers.sent) == 20, step=0.001, steps=20)


async def test_ten_thousand_that_wait_for_one_target_hold_up_no_other() -> None:
    async with bench() as b:
        blocked = asyncio.Event()

        async def hang(sent: Sent) -> Response:
            if sent.target == URL:
                await blocked.wait()
            return status(200)

        b.receivers.answer = hang
        await b.manager.submit_many([echo.options(webhook=URL).bind("hello") for _ in range(9_000)])
        await b.until(lambda: len(b.receivers.of(URL)) == 4, step=0.1)
        await b.pass_time(2, steps=40)
        other = "https://other.example.com/cb"
        began = b.clock.now()
        await b.end(webhook=other)
        await b.until(lambda: bool(b.receivers.of(other)), step=0.01)

        assert b.receivers.of(other)[0].at - began <= 500
        assert len(b.receivers.of(URL)) == 4


async def test_what_waits_for_its_target_costs_no_more_than_a_look_a_second() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as inner:
        store = FaultyStore(inner)
        async with bench(store, clock=clock) as b:
            blocked = asyncio.Event()

            async def hang(sent: Sent) -> Response:
                await blocked.wait()
                return status(200)

            b.receivers.answer = hang
            for _ in range(50):
                await b.end()
            await b.clock.advance(2)
            before = len([call for call in store.calls if call.name.startswith("outbox.")])
            await b.clock.advance(20)
            looks = [call.name for call in store.calls if call.name.startswith("outbox.")][before:]

            assert looks.count("outbox.due") <= 21
            assert len(looks) <= 65


# The store


@pytest.mark.parametrize("call", ["owed", "expand", "due", "next_due_at", "settle"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_store_that_fails_and_comes_back_costs_no_webhook(
    call: str, when: When, kind: Kind, tmp_path: Path
) -> None:
    clock = FakeClock()
    async with open_store(kind, tmp_path, clock) as inner:
        store = FaultyStore(inner)
        error = StoreUnavailable if when == "before" else OutcomeUnknown
        for nth in (1, 2, 3):
            store.fail(f"outbox.{call}", error, when=when, nth=nth)
        async with bench(store, clock=clock) as b:
            ids = {await b.end() for _ in range(5)}
            await b.until(lambda: {sent.told["data"]["id"] for sent in b.receivers.sent} == ids, step=1)
            await b.pass_time(70, steps=70)

            assert {one.status for one in await b.deliveries()} == {"delivered"}
            assert len({sent.id for sent in b.receivers.sent}) == 5
            assert {sent.told["data"]["id"] for sent in b.receivers.sent} == ids
            if call in ("owed", "expand", "next_due_at", "settle"):
                assert len(b.receivers.sent) == 5


async def test_an_endpoint_that_cannot_be_read_now_is_sent_to_later() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as inner:
        store = FaultyStore(inner)
        async with bench(store, clock=clock) as b:
            endpoint = await b.sender.endpoints.register("", URL)
            store.fail("outbox.endpoints", StoreUnavailable, when="before", nth=2)
            await b.end(webhook=endpoint.id)
            await b.clock.advance(90)

            assert len(b.receivers.sent) == 1
            (delivery,) = await b.deliveries()
            assert (delivery.status, delivery.attempts) == ("delivered", 1)


async def test_two_senders_share_the_work(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with (
        bench(open_store(kind, tmp_path, clock), clock=clock) as b,
        WebhookSender(b.manager, secret=SECRET, guard=ANYWHERE, transport=b.receivers),
    ):
        for _ in range(40):
            await b.end()
        await b.until(lambda: len(b.receivers.sent) >= 40)
        await b.pass_time(120)

        assert len(b.receivers.sent) == len({sent.id for sent in b.receivers.sent}) == 40


# The end


async def test_what_has_been_sent_is_settled_before_the_sender_ends() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[echo]) as manager:
        receivers = Receivers(clock)
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            await (await manager.submit(echo.options(webhook=URL), "hello"))
            await until(lambda: bool(receivers.sent), 5, what="the webhook is sent")
        assert receivers.closed == 1
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            await clock.advance(200)

    assert len(receivers.sent) == 1


async def test_an_attempt_that_is_broken_off_is_made_again_with_the_same_id() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[echo]) as manager:
        receivers = Receivers(clock)

        async def hang(sent: Sent) -> Response:
            await asyncio.Event().wait()
            return status(200)

        receivers.answer = hang
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            await (await manager.submit(echo.options(webhook=URL), "hello"))
            await clock.advance(0.1)
        receivers.answer = lambda sent: status(200)
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers):
            await clock.advance(62)

    first, second = receivers.sent
    assert (first.id, first.body) == (second.id, second.body)


async def test_it_runs_in_a_task_group_of_ones_own() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[echo]) as manager:
        receivers = Receivers(clock)
        sender = WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(sender.run())
            await (await manager.submit(echo.options(webhook=URL), "hello"))
            await clock.advance(1)
            task.cancel()

    assert len(receivers.sent) == 1


async def test_it_ends_when_its_manager_has_closed(
    kind: Kind, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FakeClock()
    receivers = Receivers(clock)
    async with open_store(kind, tmp_path, clock) as store, JobManager(store, models=[echo]) as manager:
        sender = WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers)
        task = asyncio.create_task(sender.run())
        await clock.advance(1)
    for _ in range(100):
        await clock.advance(1)
        await asyncio.sleep(0.005)
        if task.done():
            break
    await task
    assert "the manager has closed" in caplog.text


async def test_it_needs_an_open_manager() -> None:
    manager = JobManager("memory://", models=[echo])
    with pytest.raises(AsyncinferError, match="not open"):
        async with WebhookSender(manager, secret=SECRET):
            pass


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"attempt_seconds": 5}, {"secret": "hush"}])
def test_a_wrong_option_is_named(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(options))) as raised:
        WebhookSender(JobManager("memory://"), **options)
    assert "hush" not in str(raised.value)


async def test_log_lines_show_scheme_and_host_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asyncinfer.webhook")
    async with bench() as b:
        b.receivers.answer = lambda sent: status(500)
        await b.end(webhook="https://user:pass@hooks.example.com/hush?token=hush")
        await b.clock.advance(1)

    assert "attempt 1: status 500, 7 ms; pending" in caplog.text
    assert "to https://hooks.example.com," in caplog.text
    assert "hush" not in caplog.text
    assert "pass" not in caplog.text
