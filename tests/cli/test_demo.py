"""The demo on small folders: the kill is real, the proof holds, and it fails when the store says otherwise."""

from __future__ import annotations

import errno
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from asyncinfer import JobManager, model
from asyncinfer.abc import DeliveryFilter
from asyncinfer.adapters.webhook import SignatureInvalid
from asyncinfer.cli._app import app
from asyncinfer.cli._demo.files import files_of
from asyncinfer.cli._demo.model import FileKind, IdentifyFile, identify
from asyncinfer.cli._demo.over_http import VISITOR, Asked
from asyncinfer.cli._demo.proof import prove
from asyncinfer.cli._demo.second_process import PROGRAM
from asyncinfer.cli._demo.show import Show, Shown
from asyncinfer.cli._demo.webhooks import Told
from tests.cli.conftest import COMMAND, Asyncinfer

pytestmark = pytest.mark.fault

PYTHON = "import os\n\n\ndef main(argv: list[str]) -> int:\n    print(os.getcwd(), argv)\n    return {n}\n"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489") + bytes(64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of six files of five types, and others that are not its own."""
    folder = tmp_path / "folder"
    for name, content in {
        "one.py": PYTHON.format(n=1).encode(),
        "deep/two.py": PYTHON.format(n=2).encode(),
        "deep/picture.png": PNG,
        "nothing": b"",
        "page.html": b"<!DOCTYPE html><html><head><title>x</title></head><body><p>hello</p></body></html>",
        "facts.json": b'{"name": "value", "list": [1, 2, 3, 4], "deep": {"true": true, "none": null}}',
        ".git/objects/00": b"history",
        "env/pyvenv.cfg": b"home = /usr",
        "cache/CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def with_many_files(folder: Path) -> Path:
    for n in range(150):
        (folder / f"more{n}.py").write_text(PYTHON.format(n=n))
    return folder


def test_files_are_the_folders_own(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "one.py")
    os.mkfifo(folder / "pipe")

    found = files_of(folder)

    own = {"one.py", "deep/two.py", "deep/picture.png", "nothing", "page.html", "facts.json"}
    assert {str(Path(path).relative_to(folder)) for path in found.files} == own
    assert found.passed_by == [".git", "cache", "env"]
    assert len(files_of(folder, everything=True).files) == 9


def test_a_file_whose_name_is_no_text_is_counted(folder: Path) -> None:
    Path(os.fsdecode(bytes(folder) + b"/\xff")).touch()

    found = files_of(folder)

    assert (len(found.files), found.unnamed) == (6, 1)


def test_the_model_answers_for_a_file_that_is_gone(tmp_path: Path) -> None:
    assert identify(str(tmp_path / "gone")).label == "unreadable"


@pytest.mark.parametrize("few", [True, False])
async def test_the_demo_kills_a_worker_and_proves_that_nothing_is_lost(
    asyncinfer: Asyncinfer, folder: Path, few: bool
) -> None:
    files = 6 if few else 156
    done = asyncinfer("demo", folder if few else with_many_files(folder), "--keep")

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    said = re.search(
        r"killed \(SIGKILL\) with \d+ of (\d+) files identified; it was running (\d+) attempts", done.stdout
    )
    assert said is not None
    assert int(said[1]) == files
    assert 1 <= int(said[2]) <= 4
    assert f"0 lost: {files} jobs were submitted, {files} are in the store" in done.stdout
    assert f"every job succeeded exactly once: {files} of {files}" in done.stdout
    assert f"{said[2]} attempts were repeated" in done.stdout
    assert f"webhooks: {files} of {files} jobs told, each signature verified" in done.stdout
    url = re.search(r"--store (\S+)", done.stdout)
    assert url is not None
    async with JobManager(url[1], run_jobs=False) as manager:
        jobs = [job async for job in manager.scoped("").find_all()]
        deliveries = await manager.outbox.deliveries("", DeliveryFilter(status="delivered"), limit=1_000)
    assert {one.job_id for one in deliveries} == {job.id for job in jobs}
    assert {job.status for job in jobs} == {"succeeded"}
    assert sum(job.crashes for job in jobs) == int(said[2])


def test_the_demo_tells_types(asyncinfer: Asyncinfer, folder: Path) -> None:
    printed = asyncinfer("demo", folder).stdout

    counts = dict(re.findall(r"^ ([a-z]+) +(\d+)", printed, re.MULTILINE))
    assert counts == {"python": "2", "png": "1", "html": "1", "json": "1", "empty": "1"}


def test_what_is_printed_to_try_was_asked_over_http(asyncinfer: Asyncinfer, folder: Path) -> None:
    printed = asyncinfer("demo", folder).stdout

    path = folder / "facts.json"
    assert re.search(r"ok +asked over HTTP: facts\.json is json \(job job_\w+\)", printed)
    submit, listing, events = [shlex.split(line)[2:] for line in printed.splitlines() if "curl" in line]
    assert submit[-3:-1] == ["-d", f'{{"model":"identify_file","input":{{"path":"{path}"}},"priority":0}}']
    assert listing[-1].endswith("/v1/jobs?limit=5")
    assert events[-1].endswith("/events")


def test_the_demo_removes_its_store(asyncinfer: Asyncinfer, folder: Path, environment: Mapping[str, str]) -> None:
    asyncinfer("demo", folder)

    assert list(Path(environment["TMPDIR"]).glob("asyncinfer*")) == []


def test_a_folder_without_files_is_refused(asyncinfer: Asyncinfer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    done = asyncinfer("demo", tmp_path / "empty")

    assert (done.returncode, "no file" in done.stderr) == (1, True)


def test_ctrl_c_ends_both_processes(tmp_path: Path, folder: Path, environment: Mapping[str, str]) -> None:
    arguments = [*COMMAND, "demo", str(with_many_files(folder))]
    with subprocess.Popen(arguments, cwd=tmp_path, env=dict(environment), stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        said = next(line for line in process.stdout if "a second process" in line)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (130, "")
    assert list(Path(environment["TMPDIR"]).glob("asyncinfer*")) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(said.split("pid ")[1].split(")")[0]), 0)


def test_the_second_process_ends_with_its_parent(tmp_path: Path) -> None:
    arguments = [sys.executable, "-P", "-m", PROGRAM, f"sqlite:///{tmp_path}/jobs.db", "1"]

    done = subprocess.run(arguments, input=b"", capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stderr) == (0, b"")


# Canaries: a store that says otherwise must make the proof, and with it the command, fail.


class FailsOnHtml(IdentifyFile):
    """The demo's model, with a defect."""

    def predict(self, path: str) -> FileKind:
        if path.endswith(".html"):
            raise ValueError("no html today")
        return super().predict(path)


async def lose_one(manager: JobManager, ids: list[str]) -> None:
    await manager.delete(ids[0])


async def add_one(manager: JobManager, ids: list[str]) -> None:
    await manager.submit(identify.options(delay=3600), "uninvited")


async def run_one_again(manager: JobManager, ids: list[str]) -> None:
    await manager.retry(ids[0])


async def lose_what_http_asked_for(manager: JobManager, ids: list[str]) -> None:
    visitor = manager.scoped(VISITOR)
    for job in (await visitor.find()).jobs:
        await visitor.delete(job.id)


@pytest.mark.parametrize("falsify", [lose_one, add_one, run_one_again, lose_what_http_asked_for])
def test_a_falsified_store_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, folder: Path, falsify: Callable[[JobManager, list[str]], Awaitable[None]]
) -> None:
    honest = Show.run

    async def run(self: Show) -> Shown:
        shown = await honest(self)
        async with JobManager(self.url, models=[identify], run_jobs=False) as manager:
            await falsify(manager, sorted(shown.submitted))
        return shown

    monkeypatch.setattr(Show, "run", run)
    done = CliRunner().invoke(app, ["demo", str(folder)])

    assert done.exit_code == 1
    assert "WRONG" in done.output
    assert "Proven" not in done.output


def test_a_demo_that_gets_no_port_says_so_and_fails(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(self: socket.socket, backlog: int) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(socket.socket, "listen", refuse)
    done = CliRunner().invoke(app, ["demo", str(folder)])

    assert done.exit_code == 1
    assert "not asked over HTTP: cannot listen on 127.0.0.1" in done.output
    assert "webhooks: not sent: cannot listen on 127.0.0.1" in done.output
    assert f"every job succeeded exactly once: {len(files_of(folder).files)}" in done.output


def test_webhooks_that_nobody_verified_fail_the_demo(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def refuse(*given: object) -> None:
        raise SignatureInvalid("not today")

    monkeypatch.setattr("asyncinfer.cli._webhook_receiver.verify", refuse)
    monkeypatch.setattr("asyncinfer.cli._demo.webhooks.SETTLED_SECONDS", 1.0)
    done = CliRunner().invoke(app, ["demo", str(folder)])

    assert done.exit_code == 1
    assert "WRONG webhooks: 0 of 6 jobs told" in done.output


def with_another_result(told: Told, job: str) -> Told:
    return replace(told, labels={**told.labels, job: "poem"})


def under_two_ids(told: Told, job: str) -> Told:
    return replace(told, ids={**told.ids, job: frozenset({"msg_1", "msg_2"})})


def never(told: Told, job: str) -> Told:
    return replace(told, ids={name: ids for name, ids in told.ids.items() if name != job})


def with_a_wrong_signature(told: Told, job: str) -> Told:
    return replace(told, refused=1)


@pytest.mark.parametrize("falsify", [with_another_result, under_two_ids, never, with_a_wrong_signature])
def test_webhooks_that_say_otherwise_fail_the_demo(
    monkeypatch: pytest.MonkeyPatch, folder: Path, falsify: Callable[[Told, str], Told]
) -> None:
    honest = Show.run

    async def run(self: Show) -> Shown:
        shown = await honest(self)
        return replace(shown, told=falsify(shown.told, min(shown.submitted)))

    monkeypatch.setattr(Show, "run", run)
    done = CliRunner().invoke(app, ["demo", str(folder)])

    assert (done.exit_code, "WRONG webhooks:" in done.output) == (1, True)


def test_visitors_do_not_reach_the_proof(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    honest = Show.run

    async def run(self: Show) -> Shown:
        shown = await honest(self)
        async with JobManager(self.url, models=[identify], run_jobs=False) as manager:
            await manager.scoped(VISITOR).submit(identify.options(delay=3600), "unasked")
        return shown

    monkeypatch.setattr(Show, "run", run)
    done = CliRunner().invoke(app, ["demo", str(folder)])

    assert (done.exit_code, "WRONG" in done.output) == (0, False)


async def test_a_failed_job_fails_the_proof(tmp_path: Path, folder: Path) -> None:
    url, bad = f"sqlite:///{tmp_path}/jobs.db", model(FailsOnHtml, name=identify.name, queue="demo")
    async with JobManager(url, models=[bad]) as manager:
        handles = await manager.submit_many([bad.bind(path) for path in files_of(folder).files])
        for handle in handles:
            [event async for event in handle.events()]

    proof = await prove(url, [handle.id for handle in handles], [], Asked("one.py"), Told())

    assert [one.why for one in proof.wrong] == ["failed (model_error: no html today)"]
    assert (proof.succeeded_once, proof.holds) == (5, False)


@pytest.mark.parametrize(("is_held", "not_repeated"), [(True, 1), (False, 0)])
async def test_a_proof_without_a_repeated_attempt_does_not_hold(
    tmp_path: Path, folder: Path, is_held: bool, not_repeated: int
) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[identify]) as manager:
        handle = await manager.submit(identify, str(folder / "one.py"))
        await handle

    proof = await prove(url, [handle.id], [handle.id] if is_held else [], Asked("one.py"), Told())

    assert not proof.wrong
    assert (len(proof.not_repeated), proof.holds) == (not_repeated, False)
