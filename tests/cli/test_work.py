"""`asyncinfer work` as a process manager sees it: it starts, runs jobs, drains at a signal, exits."""

from __future__ import annotations

import asyncio
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from asyncinfer import JobHandle, JobManager, StatusEvent, Subscription
from asyncinfer.adapters.webhook import Secret
from tests.cli.background import Background
from tests.cli.conftest import COMMAND, Asyncinfer

APP = """
import time
from pathlib import Path
from asyncinfer import JobManager, SetupContext, model

@model
def wait_for_go(name: str) -> str:
    while not Path("go").exists():
        time.sleep(0.01)
    return name

class Heavy:
    def setup(self, ctx: SetupContext) -> None:
        Path("loading").touch()
        print("loading", flush=True)
        time.sleep(600)

    def predict(self, x: int) -> int:
        return x

manager = JobManager("sqlite:///jobs.db", models=[wait_for_go], concurrency={"thread": 1})
submit_only = JobManager("sqlite:///jobs.db", run_jobs=False)
broken = 5

def make_manager():
    return manager

def make_heavy():
    return JobManager("sqlite:///jobs.db", models=[model(Heavy)])
"""


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)


class Work:
    """A running `asyncinfer work`, and what it logs."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def says(self, words: str) -> None:
        """Return once a logged line holds `words`; fail when the process ends without."""
        assert self.process.stderr is not None
        seen = b""
        while line := await self.process.stderr.readline():
            if words.encode() in line:
                return
            seen += line
        pytest.fail(f"never said {words!r}: {seen.decode()}")


@pytest.fixture
async def work(tmp_path: Path, environment: Mapping[str, str]) -> AsyncIterator[Work]:
    command = [*COMMAND, "work", "app:make_manager"]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stderr=PIPE)
    try:
        async with asyncio.timeout(60):
            yield Work(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
async def client(tmp_path: Path, work: Work) -> AsyncIterator[JobManager]:
    """Return a manager that submits to the running worker."""
    await work.says("runs wait_for_go")
    async with JobManager(f"sqlite:///{tmp_path}/jobs.db", run_jobs=False) as manager:
        yield manager


async def begun(client: JobManager, name: str) -> JobHandle[object]:
    handle = await client.submit(client.model("wait_for_go"), name=name)
    async for event in handle.events():
        if isinstance(event, StatusEvent) and event.status == "running":
            return handle
    raise AssertionError("it ended without running")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(client: JobManager, work: Work, tmp_path: Path, stop: signal.Signals) -> None:
    running = await begun(client, "first")
    waiting = await client.submit(client.model("wait_for_go"), name="second")

    work.process.send_signal(stop)
    await work.says("draining")
    (tmp_path / "go").touch()

    assert await work.process.wait() == 0
    assert await running == "first"
    assert (await waiting.job()).attempt == 0


async def test_a_second_signal_gives_back_what_runs(client: JobManager, work: Work) -> None:
    running = await begun(client, "first")

    work.process.send_signal(signal.SIGTERM)
    await work.says("draining")
    work.process.send_signal(signal.SIGTERM)

    assert await work.process.wait() == 0
    job = await running.job()
    assert (job.status, job.crashes, job.failures) == ("queued", 0, 0)
    assert [attempt.outcome for attempt in await client.attempts(job.id)] == ["given_back"]


async def test_with_webhooks_it_tells_of_what_runs_and_of_endings(
    background: Background, environment: Mapping[str, str], tmp_path: Path
) -> None:
    secret = Secret.new().reveal()
    (tmp_path / "secret").write_text(secret)
    async with background("listen", "--json", "--secret", secret) as listener:
        url: str = (await listener.told())["url"]
        allowed = ("--allow-http", "--allow-network", "127.0.0.0/8", "--receiver-port", url.rpartition(":")[2])
        command = [*COMMAND, "work", "app:make_manager", "--webhooks", "--secret-file", "secret", *allowed]
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stderr=PIPE)
        working = Work(process)
        await working.says("runs wait_for_go")
        async with JobManager(f"sqlite:///{tmp_path}/jobs.db", run_jobs=False) as client:
            model = client.model("wait_for_go")
            hook = Subscription(url, ("job.started", "job.succeeded"))
            handle = await client.submit(model.options(webhook=hook), name="first")
            started = await listener.told()
            (tmp_path / "go").touch()
            await handle
            succeeded = await listener.told()
        process.terminate()
        await process.communicate()

    assert [told["body"]["type"] for told in (started, succeeded)] == ["job.started", "job.succeeded"]
    assert all(told["is_verified"] for told in (started, succeeded))
    assert process.returncode == 0


def test_options_of_webhooks_need_them(asyncinfer: Asyncinfer) -> None:
    done = asyncinfer("work", "app:make_manager", "--allow-http")

    assert (done.returncode, "expected --webhooks" in done.stderr) == (1, True)


async def test_it_tells_its_health(work: Work) -> None:
    await work.says("health: ready")


async def test_a_signal_ends_a_slow_setup(tmp_path: Path, environment: Mapping[str, str]) -> None:
    command = [*COMMAND, "work", "app:make_heavy"]
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    await process.stdout.readline()

    process.send_signal(signal.SIGTERM)

    async with asyncio.timeout(30):
        _, said = await process.communicate()
    assert (process.returncode, b"SIGTERM while opening" in said) == (0, True)
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    ("path", "words"), [("app:submit_only", "run_jobs=False"), ("app:broken", "got int"), ("app:absent", "absent")]
)
def test_what_cannot_run_jobs_is_refused(asyncinfer: Asyncinfer, path: str, words: str) -> None:
    done = asyncinfer("work", path)

    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
