"""`asyncinfer deliver`: a sender alone on a shared store, from a job's ending to a verified webhook."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from asyncinfer import JobManager, model
from asyncinfer.adapters.webhook import Secret
from tests.cli.background import Background
from tests.cli.conftest import Asyncinfer

SECRET = Secret.new().reveal()
STORE = "sqlite:///jobs.db"
LOCAL = ("--allow-http", "--allow-network", "127.0.0.0/8", "--port")


@model
async def length(text: str) -> int:
    return len(text)


async def ended_job(folder: Path, webhook: str) -> str:
    """Run a job to its end whose ending is owed to a webhook; return its id."""
    async with JobManager(f"sqlite:///{folder}/jobs.db", models=[length]) as manager:
        job = await manager.submit(length.options(webhook=webhook), "four")
        await job
    return job.id


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_an_ending_is_delivered_signed_until_a_signal(
    background: Background, tmp_path: Path, stop: signal.Signals
) -> None:
    async with background("listen", "--json", "--secret", SECRET) as listener:
        url: str = (await listener.told())["url"]
        job_id = await ended_job(tmp_path, f"{url}/done")
        variables = {"ASYNCINFER_WEBHOOK_SECRET": SECRET}
        links = ("--public-base-url", "https://api.example.com")
        async with background("deliver", "--store", STORE, *LOCAL, urlsplit(url).port, *links, **variables) as sender:
            told = await listener.told()
            ended = await sender.ended(stop)

    data = told["body"]["data"]
    assert (told["is_verified"], told["body"]["type"], told["path"]) == (True, "job.succeeded", "/done")
    assert (data["id"], data["output"]) == (job_id, 4)
    assert data["links"]["self"] == f"https://api.example.com/v1/jobs/{job_id}"
    assert (ended[0], "Traceback" in ended[1], SECRET in ended[1]) == (0, False, False)


async def test_without_options_nothing_private_is_called(background: Background, tmp_path: Path) -> None:
    await ended_job(tmp_path, "https://127.0.0.1/hush-hush")
    async with background("deliver", "--store", STORE, "--secret", SECRET) as sender:
        said = await sender.says("attempt 1: blocked")

    assert "hush-hush" not in said


async def test_the_secret_comes_from_a_file(background: Background, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n{Secret.new().reveal()}\n")
    async with background("listen", "--json", "--secret", SECRET) as listener:
        url: str = (await listener.told())["url"]
        await ended_job(tmp_path, url)
        async with background("deliver", "--store", STORE, *LOCAL, urlsplit(url).port, "--secret-file", "secret"):
            assert (await listener.told())["is_verified"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "asyncinfer webhooks secret"),
        (["--secret", "whsec_hush"], "secret"),
        (["--secret-file", "absent"], "absent"),
        (["--secret", SECRET, "--allow-network", "10.0.0.1/8"], "10.0.0.1/8"),
        (["--secret", SECRET, "--store", "sqlite:///absent.db"], "absent.db does not exist"),
    ],
)
async def test_what_cannot_be_sent_is_refused(
    asyncinfer: Asyncinfer, tmp_path: Path, arguments: list[str], words: str
) -> None:
    await ended_job(tmp_path, "https://example.com/")

    done = asyncinfer("deliver", "--store", STORE, *arguments)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
    assert "hush" not in done.stderr
