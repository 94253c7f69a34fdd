"""`asyncinfer jobs` and `asyncinfer top` on a store that holds jobs of every status."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asyncinfer import Counts, JobFailed, JobManager, WorkerInfo, current_job, model
from asyncinfer.cli._top import Look, ended_per_second, without_password
from tests.cli.conftest import COMMAND, Asyncinfer

URL = "sqlite:///jobs.db"


@model(name="length")
async def length(text: str) -> int:
    if not text:
        raise ValueError("the text is [bold]empty[/bold]")
    current_job().emit(text[0])
    return len(text)


@pytest.fixture
async def ids(tmp_path: Path) -> Mapping[str, str]:
    """Fill the store and return the jobs' ids by what became of them."""
    async with JobManager(f"sqlite:///{tmp_path}/jobs.db", models=[length]) as manager:
        succeeded = await manager.submit(length.options(labels={"kind": "long"}), "four")
        failed = await manager.submit(length, "")
        owned = await manager.scoped("ann").submit(length, "ann's")
        assert (await succeeded, await owned) == (4, 5)
        with pytest.raises(JobFailed):
            await failed
        waiting = await manager.submit(length.options(delay=3600), "later")
    return {"succeeded": succeeded.id, "failed": failed.id, "owned": owned.id, "waiting": waiting.id}


def answer(asyncinfer: Asyncinfer, *arguments: str) -> Any:
    done = asyncinfer(*arguments, "--store", URL, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def listed(asyncinfer: Asyncinfer, *options: str) -> list[str]:
    return [job["id"] for job in answer(asyncinfer, "jobs", "list", *options)["data"]]


def test_list_shows_every_owners_jobs_newest_first(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    assert listed(asyncinfer) == sorted(ids.values(), reverse=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--status failed", ["failed"]),
        ("--status failed --status queued", ["failed", "waiting"]),
        ("--label kind=long", ["succeeded"]),
        ("--owner ann", ["owned"]),
        ("--model other", []),
        ("--queue default --status queued", ["waiting"]),
    ],
)
def test_list_chooses_by_its_options(
    asyncinfer: Asyncinfer, ids: Mapping[str, str], options: str, expected: list[str]
) -> None:
    assert sorted(listed(asyncinfer, *options.split())) == sorted(ids[name] for name in expected)


def test_list_goes_on_behind_its_cursor(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    first = answer(asyncinfer, "jobs", "list", "--limit", "3")
    rest = listed(asyncinfer, "--after", first["next_cursor"])

    assert [job["id"] for job in first["data"]] + rest == sorted(ids.values(), reverse=True)


def test_list_prints_whole_ids(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    printed = asyncinfer("jobs", "list", "--store", URL).stdout

    assert [name for name in ids if ids[name] not in printed] == []
    assert "failed (model_error)" in printed


def test_show_tells_attempts_events_and_result(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    shown = answer(asyncinfer, "jobs", "show", ids["succeeded"])

    assert (shown["status"], shown["output"], shown["labels"]) == ("succeeded", 4, {"kind": "long"})
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["succeeded"]
    assert [event["value"] for event in shown["events"] if event["kind"] == "output"] == ["f"]
    assert shown["created_at"].endswith("Z")


def test_show_prints_what_users_wrote_as_it_is(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    printed = asyncinfer("jobs", "show", ids["failed"], "--store", URL).stdout

    assert "model_error: the text is [bold]empty[/bold]" in printed
    assert "ValueError" in printed


def test_show_finds_an_owned_job_only_by_its_owner(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    refused = asyncinfer("jobs", "show", ids["owned"], "--store", URL)

    assert (refused.returncode, "--owner" in refused.stderr) == (1, True)
    assert answer(asyncinfer, "jobs", "show", ids["owned"], "--owner", "ann")["output"] == 5


def test_cancel_ends_a_waiting_job(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    assert answer(asyncinfer, "jobs", "cancel", ids["waiting"])["data"] == [
        {"id": ids["waiting"], "answer": "canceled"}
    ]
    assert listed(asyncinfer, "--status", "canceled") == [ids["waiting"]]


def test_cancel_ends_all_that_match(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    asyncinfer("jobs", "cancel", "--queue", "default", "--store", URL)

    assert listed(asyncinfer, "--status", "canceled") == [ids["waiting"]]


def test_cancel_goes_on_behind_an_unknown_id(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    done = asyncinfer("jobs", "cancel", "job_none", ids["waiting"], "--store", URL)

    assert done.returncode == 1
    assert "job_none" in done.stderr
    assert listed(asyncinfer, "--status", "canceled") == [ids["waiting"]]


@pytest.mark.parametrize("by_id", [True, False])
def test_retry_makes_a_new_job(asyncinfer: Asyncinfer, ids: Mapping[str, str], by_id: bool) -> None:
    answer(asyncinfer, "jobs", "retry", *([ids["failed"]] if by_id else ["--status", "failed"]))

    again = [job for job in answer(asyncinfer, "jobs", "list")["data"] if job["retry_of"] == ids["failed"]]
    assert [(job["status"], job["attempt"]) for job in again] == [("queued", 0)]


def test_top_counts_by_queue_and_model(asyncinfer: Asyncinfer, ids: Mapping[str, str]) -> None:
    printed = asyncinfer("top", "--once", "--store", URL).stdout

    (line,) = [line.split() for line in printed.splitlines() if "length" in line]
    assert line[:7] == ["default", "length", "1", "0", "2", "1", "0"]
    assert "no worker" in printed


def test_top_follows_until_ctrl_c(tmp_path: Path, environment: Mapping[str, str], ids: Mapping[str, str]) -> None:
    arguments = [*COMMAND, "top", "--store", URL]
    with subprocess.Popen(arguments, cwd=tmp_path, env=dict(environment), stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "ended/s" in line)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")


def test_rates_are_what_ended_between_two_looks() -> None:
    def look(at: float, succeeded: int, failed: int) -> Look:
        return Look([Counts(queue="q", model="m", succeeded=succeeded, failed=failed)], list[WorkerInfo](), at)

    assert ended_per_second(look(12.0, 25, 5), look(10.0, 10, 0)) == {("q", "m"): 10.0}
    assert ended_per_second(look(12.0, 0, 0), look(10.0, 10, 0)) == {("q", "m"): 0.0}


def test_a_password_is_not_shown() -> None:
    assert without_password("redis://me:secret@host:1/0") == "redis://me:…@host:1/0"
    assert without_password("sqlite:////a/b.db") == "sqlite:////a/b.db"
