"""`asyncinfer webhooks --url` asks a running service for what `--store` reads from its store."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from asyncinfer.client import Client
from tests.cli.conftest import COMMAND, environment_in, run_in

APP = """
from asyncinfer import JobManager, model

@model(name="length")
async def length(text: str) -> int:
    return len(text)

manager = JobManager("sqlite:///jobs.db", models=[length])
"""


class Service(NamedTuple):
    """A running service that sends webhooks, a token for it, and the URL of a receiver that knows its public key."""

    folder: Path
    url: str
    token: str
    receiver: str

    def run(self, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**environment_in(self.folder), "ASYNCINFER_TOKEN": self.token, **variables}
        return run_in(self.folder, environment, "webhooks", *arguments)

    def said(self, *arguments: object) -> str:
        done = self.run(*arguments, "--url", self.url)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def answer(self, *arguments: object) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def in_store(self, *arguments: object) -> Any:
        done = self.run(*arguments, "--store", "sqlite:///jobs.db", "--owner", "ann", "--json")
        return json.loads(done.stdout)

    def delivered(self, endpoint: str) -> str:
        """Return the id of a delivery to the receiver, which has ended."""
        with Client(self.url, token=self.token) as client:
            job = client.submit("length", {"text": "four"}, webhook=endpoint)
            job.result(30)
            while not (ended := list(client.webhooks.deliveries(job=job.id, status="delivered"))):
                time.sleep(0.05)  # another process delivers, and tells nobody
        return ended[0].id


@contextmanager
def told_by(folder: Path, *arguments: str) -> Generator[str]:
    """Run a command until it is left; give its first line."""
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=environment_in(folder), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "app.py").write_text(APP)
    environment = environment_in(folder)
    token = run_in(folder, environment, "token", "ann", "--tokens-file", "tokens").stdout.strip()
    public_key = run_in(folder, environment, "webhooks", "signing-key", "key").stdout.strip()
    with told_by(folder, "listen", "--json", "--secret", public_key) as listening:
        receiver: str = json.loads(listening)["url"]
        sending = ["--webhooks", "--signing-key-file", "key", "--allow-http", "--allow-network", "127.0.0.0/8"]
        port = ["--receiver-port", str(urlsplit(receiver).port)]
        served = ["serve", "app:manager", "--port", "0", "--tokens-file", "tokens", "--log-level", "warning"]
        with told_by(folder, *served, *sending, *port) as serving:
            yield Service(folder, serving.split()[1], token, receiver)


@pytest.fixture
def endpoint(service: Service) -> str:
    added: str = service.answer("add", service.receiver)["id"]
    return added


def test_a_secret_is_shown_at_add_and_nowhere_else(service: Service) -> None:
    kinds = ("--format", "cloudevents-structured", "--event", "job.failed", "--description", "for tests")
    added = service.answer("add", f"{service.receiver}/hush-hush", *kinds)

    assert added.pop("secret")[-4:] == added["secret_hint"]
    assert added in service.answer("list")["data"]
    assert (added["events"], added["format"]) == (["job.failed"], "cloudevents-structured")
    assert "hush-hush" not in service.said("list")


def test_a_list_tells_what_the_store_tells(service: Service, endpoint: str) -> None:
    assert service.answer("list") == service.in_store("list")


def test_rotate_gives_a_new_secret(service: Service, endpoint: str) -> None:
    rotated = service.answer("rotate", endpoint)

    assert rotated["secret"][-4:] == rotated["secret_hint"]
    assert rotated["secret_hint"] in [one["secret_hint"] for one in service.answer("list")["data"]]


def test_one_is_disabled_enabled_and_removed(service: Service, endpoint: str) -> None:
    seen: list[bool | None] = []
    for change in ("disable", "enable", "remove"):
        service.said(change, endpoint)
        here = {one["id"]: one["enabled"] for one in service.answer("list")["data"]}
        seen.append(here.get(endpoint))

    assert seen == [False, True, None]


def test_the_service_has_a_receiver_prove_itself(service: Service) -> None:
    added = service.answer("add", service.receiver, "--proof", "challenge")

    assert "proven" in service.said("prove", added["id"])
    proven = {one["id"]: one["verified"] for one in service.answer("list")["data"]}
    assert (added["enabled"], proven[added["id"]]) == (False, True)


def test_the_service_sends_a_test(service: Service, endpoint: str) -> None:
    assert "delivered 200, " in service.said("test", endpoint)


def test_a_test_that_does_not_arrive_fails(service: Service) -> None:
    gone = service.answer("add", service.receiver.replace("127.0.0.1", "127.9.9.9"))["id"]

    done = service.run("test", gone, "--url", service.url)

    assert (done.returncode, "connect" in done.stdout) == (1, True)


def test_deliveries_are_told_as_the_store_tells_them(service: Service, endpoint: str) -> None:
    delivery = service.delivered(endpoint)

    listed = service.answer("deliveries", "--endpoint", endpoint, "--status", "delivered")
    assert [one["id"] for one in listed["data"]] == [delivery]
    assert listed == service.in_store("deliveries", "--endpoint", endpoint)
    whole = service.answer("deliveries", delivery)
    assert whole == service.in_store("deliveries", delivery)
    assert [one["kind"] for one in whole["log"]] == ["delivered"]
    assert service.answer("deliveries", "--endpoint", endpoint, "--status", "pending")["data"] == []


def test_deliveries_go_on_behind_their_cursor(service: Service, endpoint: str) -> None:
    ids = {service.delivered(endpoint) for _ in range(2)}

    first = service.answer("deliveries", "--endpoint", endpoint, "--limit", 1)
    rest = service.answer("deliveries", "--endpoint", endpoint, "--limit", 1, "--after", first["next_cursor"])

    assert {one["id"] for one in first["data"] + rest["data"]} == ids
    assert rest["next_cursor"] is None


def test_redeliver_goes_on_behind_an_unknown_one(service: Service, endpoint: str) -> None:
    delivery = service.delivered(endpoint)

    done = service.run("redeliver", "msg_none", delivery, "--url", service.url)

    assert (done.returncode, "msg_none" in done.stderr) == (1, True)
    assert done.stdout == f"{delivery}  is sent again\n"


@pytest.mark.parametrize("times", [["--since", "2h"], ["--since", "2h", "--until", "2020-01-01T00:00:00Z"]])
def test_a_time_is_recovered(service: Service, endpoint: str, times: Sequence[str]) -> None:
    assert service.said("recover", endpoint, *times) == "0 deliveries are sent again\n"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--store", "sqlite:///jobs.db"], "either --store or --url"),
        (["--owner", "ann"], "--owner is for --store"),
        (["--allow-http"], "--allow-http: for --store"),
        (["--port", "80", "--egress-proxy", "http://hush:hush@proxy"], "--port, --egress-proxy: for --store"),
        (["--signing-key-file", "key", "--public-base-url", "https://hush.example"], "--public-base-url"),
    ],
)
def test_what_only_the_one_with_the_store_can_say_is_refused(
    service: Service, options: Sequence[str], says: str
) -> None:
    done = service.run("prove", "wh_1", *options, "--url", service.url)

    assert (done.returncode, says in " ".join(done.stderr.split())) == (2, True)
    assert "hush" not in done.stderr


def test_a_service_without_a_sender_says_so(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with told_by(tmp_path, "serve", "app:manager", "--port", "0", "--allow-anonymous") as serving:
        done = run_in(tmp_path, environment_in(tmp_path), "webhooks", "list", "--url", serving.split()[1])

    assert (done.returncode, "sends no webhooks" in done.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [["list"], ["redeliver", "msg_1"], ["list", "--token", "hush hush-hush"]])
def test_a_token_is_never_shown(service: Service, arguments: Sequence[str]) -> None:
    done = service.run(*arguments, "--url", service.url, ASYNCINFER_TOKEN="hush-hush")

    assert done.returncode == 1
    assert "hush-hush" not in done.stdout + done.stderr
