"""`asyncinfer webhooks` on a store: receivers, their secrets, the log of deliveries, sending again."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from asyncinfer import JobManager, model
from asyncinfer.abc import DeliveryAttempt, DeliveryFilter, Endpoint, NewDelivery, Settlement
from asyncinfer.adapters.webhook import Secret
from tests.cli.background import Background, Running
from tests.cli.conftest import Asyncinfer

STORE = "sqlite:///jobs.db"
SECRET = Secret.new().reveal()
LOCAL = ("--allow-http", "--allow-network", "127.0.0.0/8", "--port")
URL = "http://127.0.0.1:8123/hush-hush"


@model
async def length(text: str) -> int:
    return len(text)


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[JobManager]:
    async with JobManager(f"sqlite:///{tmp_path}/jobs.db", models=[length]) as manager:
        yield manager


@pytest.fixture
async def listener(background: Background) -> AsyncIterator[Running]:
    async with background("listen", "--json", "--secret", SECRET) as running:
        yield running


async def registered(manager: JobManager, target: str, *, is_enabled: bool = True) -> str:
    """Register a receiver that already has the secret of these tests; return its id."""
    events = ("job.succeeded", "job.failed", "job.canceled")
    await manager.outbox.put_endpoint(
        Endpoint(id="wh_1", owner="", target=target, events=events, secrets=(SECRET,), is_enabled=is_enabled)
    )
    return "wh_1"


async def exhausted(manager: JobManager, endpoint: str, *, name: str = "msg_1") -> str:
    """Let a job end whose delivery has failed for good; return the delivery's id."""
    await (await manager.submit(length.options(webhook=endpoint), "four"))
    owed = await manager.outbox.owed(1, 60_000)
    delivery = NewDelivery(id=name, target=URL, event="job.succeeded", body=b"{}", endpoint=endpoint, due_at=owed[0].at)
    await manager.outbox.expand([(owed[0], [delivery])])
    due = (await manager.outbox.due(1, 60_000))[0]
    attempt = DeliveryAttempt(at=owed[0].at, kind="status", status_code=500, latency=7)
    settlement = Settlement(id=due.id, lease_token=due.lease_token, status="exhausted", attempt=attempt)
    assert list(await manager.outbox.settle([settlement])) == [True]
    return due.id


def answer(asyncinfer: Asyncinfer, *arguments: object) -> Any:
    done = asyncinfer("webhooks", *arguments, "--store", STORE, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def said(asyncinfer: Asyncinfer, *arguments: object) -> str:
    done = asyncinfer("webhooks", *arguments, "--store", STORE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_secret_is_shown_at_add_and_nowhere_else(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    added = answer(asyncinfer, "add", URL, *LOCAL, 8123, "--event", "job.failed", "--description", "for tests")

    listed = answer(asyncinfer, "list")["data"]
    secret = added.pop("secret")
    assert Secret.parse(secret).hint == added["secret_hint"]
    assert listed == [added]
    assert (added["url"], added["events"], added["description"]) == (URL, ["job.failed"], "for tests")


def test_a_table_shows_hosts_alone(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    printed = [said(asyncinfer, "add", URL, *LOCAL, 8123), said(asyncinfer, "list")]

    assert not any("hush-hush" in one for one in printed)
    assert "http://127.0.0.1 " in printed[1]


def test_owners_are_kept_apart(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    added = answer(asyncinfer, "add", URL, *LOCAL, 8123, "--owner", "ann")

    assert answer(asyncinfer, "list")["data"] == []
    assert len(answer(asyncinfer, "list", "--owner", "ann")["data"]) == 1
    assert asyncinfer("webhooks", "rotate", added["id"], "--store", STORE).returncode == 1


def test_a_url_that_may_not_be_called_is_refused(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    done = asyncinfer("webhooks", "add", URL, "--store", STORE)

    assert (done.returncode, len(done.stderr.splitlines()), "hush" in done.stderr) == (1, 1, False)


def test_rotate_gives_a_new_secret(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    added = answer(asyncinfer, "add", URL, *LOCAL, 8123)

    rotated = answer(asyncinfer, "rotate", added["id"])

    assert rotated["secret"] not in (added["secret"], None)
    assert rotated["secret_hint"] == answer(asyncinfer, "list")["data"][0]["secret_hint"]


async def test_remove_forgets_it(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    endpoint = await registered(manager, URL)

    assert "removed" in said(asyncinfer, "remove", endpoint)
    assert "no receivers" in said(asyncinfer, "list")
    assert asyncinfer("webhooks", "remove", endpoint, "--store", STORE).returncode == 1


async def test_one_is_disabled_and_enabled(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    endpoint = await registered(manager, URL)

    said(asyncinfer, "disable", endpoint)
    is_disabled = not answer(asyncinfer, "list")["data"][0]["enabled"]
    said(asyncinfer, "enable", endpoint)

    assert (is_disabled, answer(asyncinfer, "list")["data"][0]["enabled"]) == (True, True)


async def test_a_test_arrives_signed(asyncinfer: Asyncinfer, manager: JobManager, listener: Running) -> None:
    url: str = (await listener.told())["url"]
    endpoint = await registered(manager, url)

    printed = said(asyncinfer, "test", endpoint, *LOCAL, urlsplit(url).port)

    told = await listener.told()
    assert (told["is_verified"], told["body"]["type"]) == (True, "webhook.test")
    assert "delivered 200" in printed


async def test_a_test_that_does_not_arrive_fails(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    endpoint = await registered(manager, URL)

    done = asyncinfer("webhooks", "test", endpoint, "--store", STORE)

    assert (done.returncode, "blocked" in done.stdout) == (1, True)


async def test_a_receiver_of_cloud_events_proves_itself(
    asyncinfer: Asyncinfer, manager: JobManager, listener: Running
) -> None:
    url: str = (await listener.told())["url"]
    base = ("--public-base-url", "https://api.example.com/x")
    local = (*LOCAL, urlsplit(url).port)
    kinds = ("--proof", "cloudevents", "--format", "cloudevents-binary")
    added = answer(asyncinfer, "add", url, *local, *kinds, "--event", "webhook.disabled", *base)

    assert "proven" in said(asyncinfer, "prove", added["id"], *local, *base)
    (proven,) = answer(asyncinfer, "list")["data"]
    assert (proven["verified"], proven["proof"], proven["format"]) == (True, "cloudevents", "cloudevents-binary")
    assert proven["events"] == ["webhook.disabled"]


async def test_a_signing_key_signs_too(asyncinfer: Asyncinfer, background: Background, manager: JobManager) -> None:
    public_key = asyncinfer("webhooks", "signing-key", "key").stdout.strip()
    async with background("listen", "--json", "--secret", public_key) as listener:
        url: str = (await listener.told())["url"]
        endpoint = await registered(manager, url, is_enabled=False)
        local = (*LOCAL, urlsplit(url).port, "--signing-key-file", "key")

        printed = [said(asyncinfer, command, endpoint, *local) for command in ("prove", "test")]

    assert "proven" in printed[0]
    assert "delivered 200" in printed[1]


@pytest.mark.parametrize(("command", "kind"), [("prove", "POST"), ("test", "POST")])
async def test_a_receiver_is_called_by_the_egress_proxy(
    asyncinfer: Asyncinfer, manager: JobManager, command: str, kind: str
) -> None:
    endpoint = await registered(manager, "http://receiver.example:8123/", is_enabled=False)

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(30)
        port = proxy.getsockname()[1]
        options = ("--allow-http", "--port", 8123, "--egress-proxy", f"http://127.0.0.1:{port}")
        asking = asyncio.create_task(
            asyncio.to_thread(asyncinfer, "webhooks", command, endpoint, "--store", STORE, *options)
        )
        asked = await asyncio.to_thread(answered_once, proxy)
        await asking

    assert asked.split(b"\r\n")[0].startswith(b"%s http://receiver.example:8123/" % kind.encode())


def answered_once(proxy: socket.socket) -> bytes:
    """Take one request, answer that it is not let through, and return it."""
    connection, _ = proxy.accept()
    with connection:
        asked = connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
    return asked


@pytest.mark.parametrize("option", ["--proof", "--format", "--event"])
def test_a_word_that_an_option_does_not_know_makes_nothing(
    asyncinfer: Asyncinfer, manager: JobManager, option: str
) -> None:
    done = asyncinfer("webhooks", "add", URL, *map(str, LOCAL), "8123", option, "job.gone", "--store", STORE)

    assert done.returncode != 0
    assert "expected" in done.stderr
    assert answer(asyncinfer, "list")["data"] == []


async def test_a_receiver_proves_itself(asyncinfer: Asyncinfer, manager: JobManager, listener: Running) -> None:
    url: str = (await listener.told())["url"]
    endpoint = await registered(manager, url, is_enabled=False)

    said(asyncinfer, "prove", endpoint, *LOCAL, urlsplit(url).port)

    told = answer(asyncinfer, "list")["data"][0]
    assert (told["enabled"], told["verified"]) == (True, True)


async def test_deliveries_are_told_with_their_log(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    delivery = await exhausted(manager, await registered(manager, URL))

    listed = answer(asyncinfer, "deliveries", "--status", "exhausted")["data"]
    whole = answer(asyncinfer, "deliveries", delivery)
    printed = said(asyncinfer, "deliveries") + said(asyncinfer, "deliveries", delivery)

    assert [(one["id"], one["attempts"], one["url_host"]) for one in listed] == [(delivery, 1, "http://127.0.0.1")]
    assert [(one["kind"], one["status"]) for one in whole["log"]] == [("status", 500)]
    assert ("status 500" in printed, "hush-hush" in printed) == (True, False)
    assert answer(asyncinfer, "deliveries", "--status", "pending")["data"] == []
    assert asyncinfer("webhooks", "deliveries", "--status", "sent", "--store", STORE).returncode == 2


async def test_deliveries_go_on_behind_their_cursor(asyncinfer: Asyncinfer, manager: JobManager) -> None:
    endpoint = await registered(manager, URL)
    ids = [await exhausted(manager, endpoint, name=name) for name in ("msg_1", "msg_2")]

    first = answer(asyncinfer, "deliveries", "--limit", 1)
    rest = answer(asyncinfer, "deliveries", "--limit", 1, "--after", first["next_cursor"])

    assert sorted(one["id"] for one in first["data"] + rest["data"]) == ids
    assert rest["next_cursor"] is None


async def test_a_delivery_is_sent_again(
    asyncinfer: Asyncinfer, background: Background, manager: JobManager, listener: Running
) -> None:
    url: str = (await listener.told())["url"]
    delivery = await exhausted(manager, await registered(manager, url))

    done = asyncinfer("webhooks", "redeliver", "msg_none", delivery, "--store", STORE)

    assert (done.returncode, "msg_none" in done.stderr) == (1, True)
    async with background("deliver", "--store", STORE, "--secret", SECRET, *LOCAL, urlsplit(url).port):
        told = await listener.told()
    assert (told["is_verified"], told["id"]) == (True, delivery)


@pytest.mark.parametrize(("since", "count"), [("2h", 1), ("2020-01-01T00:00:00Z", 1), ("2999-01-01T00:00:00Z", 0)])
async def test_a_time_is_recovered(asyncinfer: Asyncinfer, manager: JobManager, since: str, count: int) -> None:
    endpoint = await registered(manager, URL)
    delivery = await exhausted(manager, endpoint)

    printed = said(asyncinfer, "recover", endpoint, "--since", since)

    assert printed == f"{count} deliveries are sent again\n"
    pending = await manager.outbox.deliveries("", DeliveryFilter(status="pending"))
    assert [one.id for one in pending] == [delivery][:count]


@pytest.mark.parametrize("when", ["yesterday", "2026-01-01T00:00:00", "999999d"])
def test_a_time_that_is_none_is_refused(asyncinfer: Asyncinfer, manager: JobManager, when: str) -> None:
    assert asyncinfer("webhooks", "recover", "wh_1", "--since", when, "--store", STORE).returncode == 2


def test_a_secret_is_made(asyncinfer: Asyncinfer) -> None:
    made = [asyncinfer("webhooks", "secret").stdout.strip() for _ in range(2)]

    assert len({Secret.parse(text) for text in made}) == 2
