"""`asyncinfer deliver`: a sender alone on a shared store, from a job's ending to a verified webhook."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from asyncinfer import JobManager, model
from asyncinfer.adapters.webhook import PrivateKey, Secret
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


@contextlib.asynccontextmanager
async def refusing_proxy() -> AsyncGenerator[tuple[int, list[bytes]]]:
    """Listen as a proxy that lets nothing out; give its port, and the first lines of what it was asked."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1], asked


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


async def test_a_signing_key_alone_signs(background: Background, tmp_path: Path) -> None:
    key = PrivateKey.new()
    variables = {"ASYNCINFER_WEBHOOK_SIGNING_KEY": f"{PrivateKey.new().reveal()} {key.reveal()}"}
    async with background("listen", "--json", "--secret", key.public()) as listener:
        url: str = (await listener.told())["url"]
        await ended_job(tmp_path, url)
        async with background("deliver", "--store", STORE, *LOCAL, urlsplit(url).port, **variables) as sender:
            assert (await listener.told())["is_verified"]
            ended = await sender.ended()

    assert "whsk_" not in ended[1]


@pytest.mark.parametrize("is_typed", [True, False])
async def test_webhooks_leave_by_the_egress_proxy(background: Background, tmp_path: Path, is_typed: bool) -> None:
    await ended_job(tmp_path, "https://hooks.example.com/cb")
    async with refusing_proxy() as (port, asked):
        proxy = f"http://user:hush@127.0.0.1:{port}"
        typed = ["--egress-proxy", proxy] if is_typed else []
        variables = {} if is_typed else {"ASYNCINFER_WEBHOOK_EGRESS_PROXY": proxy}
        async with background("deliver", "--store", STORE, "--secret", SECRET, *typed, **variables) as sender:
            said = await sender.says("attempt 1: connect")

    assert asked == [b"CONNECT hooks.example.com:443 HTTP/1.1\r\n"]
    assert "hush" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "asyncinfer webhooks secret"),
        (["--secret", "whsec_hush"], "secret"),
        (["--secret-file", "absent"], "absent"),
        (["--secret", SECRET, "--allow-network", "10.0.0.1/8"], "10.0.0.1/8"),
        (["--secret", SECRET, "--store", "sqlite:///absent.db"], "absent.db does not exist"),
        (["--signing-key-file", "absent"], "signing key file: absent cannot be read"),
        (["--signing-key-file", "no_key"], "private key: expected whsk_"),
        (["--signing-key-file", "empty"], "empty has no key"),
        (["--secret", SECRET, "--egress-proxy", "http://user:hush@proxy"], "egress_proxy: expected a URL"),
    ],
)
async def test_what_cannot_be_sent_is_refused(
    asyncinfer: Asyncinfer, tmp_path: Path, arguments: list[str], words: str
) -> None:
    await ended_job(tmp_path, "https://example.com/")
    (tmp_path / "no_key").write_text("whsec_hush")
    (tmp_path / "empty").touch()

    done = asyncinfer("deliver", "--store", STORE, *arguments)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert words in done.stderr
    assert "hush" not in done.stderr
