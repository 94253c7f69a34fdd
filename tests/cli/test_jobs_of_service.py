"""`asyncinfer jobs --url` asks a running service for what `--store` reads from its store."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from asyncinfer import JobFailed, JobFilter
from asyncinfer.cli._jobs_of_service import JobsOfService
from asyncinfer.client import Client, Forbidden
from tests.cli.conftest import COMMAND, environment_in, run_in
from tests.client.fake_service import FakeService, job, job_json, problem

APP = """
from asyncinfer import JobManager, current_job, model

@model(name="length")
async def length(text: str) -> int | None:
    if not text:
        raise ValueError("the text is [bold]empty[/bold]")
    current_job().emit(text[0])
    return len(text) if text != "none" else None

manager = JobManager("sqlite:///jobs.db", models=[length])
"""


class Service(NamedTuple):
    """A running service, a token for it, and the ids of ann's jobs by what became of them."""

    folder: Path
    url: str
    token: str
    ids: Mapping[str, str]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command that has the token in its environment."""
        return run_in(
            self.folder, {**environment_in(self.folder), "ASYNCINFER_TOKEN": self.token, **variables}, *arguments
        )

    def answer(self, *arguments: str) -> Any:
        done = self.run("jobs", *arguments, "--url", self.url, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def listed(self, *options: str) -> list[str]:
        return [job["id"] for job in self.answer("list", *options)["data"]]

    def submitted(self, text: str, **options: Any) -> str:
        with Client(self.url, token=self.token) as client:
            return client.submit("length", {"text": text}, **options).id


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "app.py").write_text(APP)
    environment = environment_in(folder)
    token = run_in(folder, environment, "token", "ann", "--tokens-file", "tokens").stdout.strip()
    command = [*COMMAND, "serve", "app:manager", "--port", "0", "--tokens-file", "tokens", "--log-level", "warning"]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[1]
            yield Service(folder, url, token, seeded(url, token))
        finally:
            process.terminate()


def seeded(url: str, token: str) -> Mapping[str, str]:
    with Client(url, token=token) as client:
        succeeded = client.submit("length", {"text": "four"}, labels={"kind": "long"}, metadata={"from": "here"})
        failed = client.submit("length", {"text": ""})
        null = client.submit("length", {"text": "none"})
        assert (succeeded.result(30), null.result(30)) == (4, None)
        with pytest.raises(JobFailed):
            failed.result(30)
    return {"succeeded": succeeded.id, "failed": failed.id, "null": null.id}


def test_list_shows_jobs_newest_first(service: Service) -> None:
    ids = sorted(service.ids.values(), reverse=True)

    assert [job_id for job_id in service.listed() if job_id in ids] == ids


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--label", "kind=long"], ["succeeded"]),
        (["--status", "failed", "--label", "kind=long"], []),
        (["--model", "other"], []),
    ],
)
def test_list_chooses_by_its_options(service: Service, options: list[str], expected: list[str]) -> None:
    assert service.listed(*options) == [service.ids[name] for name in expected]


def test_list_goes_on_behind_its_cursor(service: Service) -> None:
    everything = service.listed()
    first = service.answer("list", "--limit", "2")

    rest = service.listed("--after", first["next_cursor"])

    assert [job["id"] for job in first["data"]] + rest == everything


def test_a_list_longer_than_a_page_of_the_service_is_one_list(service: Service) -> None:
    with Client(service.url, token=service.token) as client:
        made = {client.submit("length", {"text": "x"}, labels={"of": "many"}).id for _ in range(201)}

    assert set(service.listed("--label", "of=many", "--limit", "300")) == made
    assert len(service.listed("--label", "of=many", "--limit", "201")) == 201


def test_show_tells_what_the_store_tells(service: Service) -> None:
    there = service.answer("show", service.ids["succeeded"])
    done = service.run(
        "jobs", "show", service.ids["succeeded"], "--store", "sqlite:///jobs.db", "--owner", "ann", "--json"
    )
    here = json.loads(done.stdout)

    untold = ["owner", "queue", "crash_budget", "worker"]
    assert {name for name in here if here[name] != there[name]} == {*untold, "attempts"}
    assert [there[name] for name in untold] == [None] * 4
    here["attempts"][0]["worker"] = None
    assert here["attempts"] == there["attempts"]
    assert (there["output"], there["metadata"]) == (4, {"from": "here"})


def test_show_prints_what_users_wrote_as_it_is(service: Service) -> None:
    printed = service.run("jobs", "show", service.ids["failed"], "--url", service.url).stdout

    assert "model_error: the text is [bold]empty[/bold]" in printed


def test_a_result_that_is_null_is_shown(service: Service) -> None:
    printed = service.run("jobs", "show", service.ids["null"], "--url", service.url).stdout

    assert ["result", "None"] in [line.split() for line in printed.splitlines()]


async def test_a_result_that_is_no_longer_kept_is_not() -> None:
    no_events = httpx.Response(200, json={"data": [], "has_gap": False, "has_more": False, "next_cursor": "0"})
    ended = job("succeeded", output=None)
    service = FakeService(ended, no_events, ended, problem("job-expired", 410))

    async with service.client() as client:
        whole = await JobsOfService(client).whole("job_1")

    assert (whole.has_result, whole.result) == (False, None)


async def test_what_was_changed_before_an_error_is_told() -> None:
    listed = {"data": [job_json("queued", id=f"job_{number}") for number in range(3)], "next_cursor": None}
    answers = [problem("job-expired", 410), job("canceled"), problem("forbidden", 403)]
    service = FakeService(httpx.Response(200, json={**listed, "prev_cursor": None}), *answers)
    told: list[str] = []

    async with service.client() as client:
        with pytest.raises(Forbidden):
            await tell_all(JobsOfService(client), told)

    assert told == ["canceled"]


async def tell_all(jobs: JobsOfService, told: list[str]) -> None:
    async with aclosing(jobs.change_all("cancel", JobFilter())) as changes:
        async for change in changes:
            told.append(change.answer)  # noqa: PERF401  those before an error must be there


def test_cancel_ends_a_waiting_job_and_goes_on_behind_an_unknown_one(service: Service) -> None:
    job_id = service.submitted("later", delay=3600)

    done = service.run("jobs", "cancel", "job_none", job_id, "--url", service.url)

    assert (done.returncode, "job_none" in done.stderr) == (1, True)
    assert done.stdout.split() == [job_id, "canceled"]


def test_cancel_ends_all_that_match_and_still_live(service: Service) -> None:
    labels = {"of": "cancel"}
    ended = service.submitted("now", labels=labels, wait=30)
    waiting = {service.submitted("later", labels=labels, delay=3600) for _ in range(2)}

    answers = service.answer("cancel", "--label", "of=cancel")["data"]

    assert {one["id"]: one["answer"] for one in answers} == dict.fromkeys(waiting, "canceled")
    assert service.answer("cancel", "--label", "of=cancel", "--status", "failed")["data"] == []
    assert service.answer("show", ended)["status"] == "succeeded"


def test_retry_makes_a_new_job(service: Service) -> None:
    (one,) = service.answer("retry", service.ids["failed"])["data"]

    assert service.answer("show", one["answer"].split()[-1])["retry_of"] == service.ids["failed"]


def test_retry_runs_all_again_that_match_and_have_ended(service: Service) -> None:
    labels = {"of": "retry"}
    ended = service.submitted("now", labels=labels, wait=30)
    service.submitted("later", labels=labels, delay=3600)

    (again,) = service.answer("retry", "--label", "of=retry")["data"]

    assert service.answer("show", again["id"])["retry_of"] == ended


def test_a_job_that_waits_is_not_run_again(service: Service) -> None:
    done = service.run("jobs", "retry", service.submitted("later", delay=3600), "--url", service.url)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)


def test_what_is_typed_goes_before_the_environment(service: Service) -> None:
    done = service.run(
        "jobs",
        "list",
        "--url",
        service.url,
        "--token",
        service.token,
        ASYNCINFER_TOKEN="",
        ASYNCINFER_STORE="papyrus://x",
    )

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--token", "hush-hush"],
        ["--token", "hush hush-hush"],
        ["--token", "hush-hush", "--status", "wrong"],
        ["--token", "hush-hush", "--owner", "ann"],
    ],
)
def test_a_token_is_never_shown(service: Service, options: Sequence[str]) -> None:
    done = service.run("jobs", "list", "--url", service.url, *options, ASYNCINFER_TOKEN="hush-hush")

    assert done.returncode != 0
    assert "hush-hush" not in done.stdout + done.stderr
