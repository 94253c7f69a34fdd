"""`asyncinfer serve` as its operator sees it: it listens, answers, ends what waits, drains, exits."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import msgspec
import pytest

from asyncinfer import JobManager
from asyncinfer.adapters.webhook import PublicKey, Secret, jwks
from asyncinfer.cli._bounded_head import MAX_HEAD_BYTES
from tests.cli.background import Background
from tests.cli.conftest import COMMAND, Asyncinfer

APP = """
import time
from pathlib import Path
from asyncinfer import JobManager, model

@model
def wait_for_go(name: str) -> str:
    while not Path("go").exists():
        time.sleep(0.01)
    return name

@model
async def length(text: str) -> int:
    return len(text)

manager = JobManager("sqlite:///jobs.db", models=[wait_for_go, length], concurrency={"thread": 1})
submit_only = JobManager("sqlite:///jobs.db", models=[length], run_jobs=False)
"""
WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from asyncinfer.cli import main
sys.argv[1:] = {arguments!r}
main()
"""
ANONYMOUS = ("app:manager", "--port", "0", "--allow-anonymous")


class Service:
    """A running `asyncinfer serve`."""

    def __init__(self, process: Process, url: str, client: httpx.AsyncClient) -> None:
        self.process = process
        self.url = url
        self.client = client
        self.said = b""

    async def says(self, words: str) -> None:
        """Return once a logged line holds `words`; fail when the process ends without."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said += line
            if words.encode() in line:
                return
        pytest.fail(f"never said {words!r}: {self.said.decode()}")

    async def ended(self) -> int:
        """Return the exit code once the process has ended."""
        _, rest = await self.process.communicate()
        self.said += rest
        assert self.process.returncode is not None
        return self.process.returncode

    async def is_closed(self) -> None:
        """Return once the port takes no connection; uvicorn looks ten times a second whether it should."""
        port = httpx.URL(self.url).port
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                await asyncio.sleep(0.01)

    async def submit(self, model: str = "wait_for_go", *, wait: int = 0, **given: str) -> httpx.Response:
        return await self.client.post(
            "/v1/jobs", json={"model": model, "input": given}, headers={"prefer": f"wait={wait}"}
        )

    async def begun(self, name: str) -> str:
        """Submit a job that waits for the file `go`; return its id once it runs."""
        job_id: str = (await self.submit(name=name)).json()["id"]
        revision = '"0"'
        while True:
            query = {"wait": "30", "until": "change"}
            answer = await self.client.get(f"/v1/jobs/{job_id}", params=query, headers={"if-none-match": revision})
            if answer.json()["status"] == "running":
                return job_id
            revision = answer.headers["etag"]


Serve = Callable[..., AbstractAsyncContextManager[Service]]


@pytest.fixture
def serve(tmp_path: Path, environment: Mapping[str, str]) -> Serve:
    """Return a function that runs `asyncinfer serve ARGUMENTS` in the test's folder, beside the file app.py."""
    (tmp_path / "app.py").write_text(APP)

    @contextlib.asynccontextmanager
    async def start(*arguments: str) -> AsyncGenerator[Service]:
        command = [*COMMAND, "serve", *arguments]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=PIPE, stderr=PIPE
        )
        try:
            async with asyncio.timeout(60):
                assert process.stdout is not None
                word, _, url = (await process.stdout.readline()).decode().strip().partition(" ")
                assert word == "serving", (await process.communicate())[1].decode()
                async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                    yield Service(process, url, client)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return start


@pytest.fixture
async def service(serve: Serve) -> AsyncIterator[Service]:
    async with serve(*ANONYMOUS) as service:
        yield service


async def test_it_runs_jobs_and_answers(service: Service) -> None:
    answer = await service.submit("length", text="four", wait=30)

    assert (answer.status_code, answer.json()["output"]) == (200, 4)
    assert answer.headers["location"].startswith(f"{service.url}/v1/jobs/")
    assert "server" not in answer.headers
    assert service.url.startswith("http://127.0.0.1:")


async def test_a_manager_that_only_submits_is_served(serve: Serve) -> None:
    async with serve("app:submit_only", *ANONYMOUS[1:]) as service:
        answer = await service.submit("length", text="four")

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_links_name_the_public_url(serve: Serve) -> None:
    async with serve(*ANONYMOUS, "--public-base-url", "https://api.example.com/inference") as service:
        answer = await service.submit("length", text="four")

    assert answer.headers["location"].startswith("https://api.example.com/inference/v1/jobs/")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_what_waits_and_drains(service: Service, tmp_path: Path, stop: signal.Signals) -> None:
    job_id = await service.begun("first")
    async with service.client.stream(
        "GET", f"/v1/jobs/{job_id}/events", headers={"accept": "text/event-stream"}
    ) as events:
        lines = events.aiter_lines()
        assert await anext(lines) == "retry: 2000"
        poll = asyncio.create_task(service.client.get(f"/v1/jobs/{job_id}", params={"wait": "60"}))
        await service.client.get("/healthz")  # the poll was sent before it

        service.process.send_signal(stop)

        told = [line async for line in lines]
        assert "event: done" not in told
        assert (await poll).status_code == 503
    await service.says("draining")
    await service.is_closed()
    assert service.process.returncode is None
    (tmp_path / "go").touch()
    assert (await service.ended(), b"Traceback" in service.said) == (0, False)
    async with JobManager(f"sqlite:///{tmp_path}/jobs.db", run_jobs=False) as manager:
        assert await manager.handle(job_id).result() == "first"


async def test_a_second_signal_gives_back_what_runs(service: Service, tmp_path: Path) -> None:
    job_id = await service.begun("first")

    service.process.send_signal(signal.SIGTERM)
    await service.says("draining")
    service.process.send_signal(signal.SIGTERM)

    assert await service.ended() == 0
    async with JobManager(f"sqlite:///{tmp_path}/jobs.db", run_jobs=False) as manager:
        assert (await manager.get(job_id)).status == "queued"
        assert [attempt.outcome for attempt in await manager.attempts(job_id)] == ["given_back"]


async def test_a_token_opens_its_owners_jobs(serve: Serve, asyncinfer: Asyncinfer) -> None:
    tokens = [asyncinfer("token", owner, "--tokens-file", "tokens").stdout.strip() for owner in ("ann", "bob")]
    async with serve("app:manager", "--port", "0", "--tokens-file", "tokens") as service:
        as_nobody = await service.submit("length", text="four")
        service.client.headers["authorization"] = f"Bearer {tokens[0]}"
        as_ann = await service.submit("length", text="four")
        path = f"/v1/jobs/{as_ann.json()['id']}"
        found = await service.client.get(path)
        service.client.headers["authorization"] = f"Bearer {tokens[1]}"
        as_bob = await service.client.get(path)

    assert [as_nobody.status_code, as_ann.status_code, found.status_code, as_bob.status_code] == [401, 202, 200, 404]


async def test_with_webhooks_it_tells_of_endings(serve: Serve, background: Background, tmp_path: Path) -> None:
    secret = Secret.new().reveal()
    (tmp_path / "secret").write_text(secret)
    async with background("listen", "--json", "--secret", secret) as listener:
        url: str = (await listener.told())["url"]
        allowed = ("--allow-http", "--allow-network", "127.0.0.0/8", "--receiver-port", url.rpartition(":")[2])
        async with serve(*ANONYMOUS, "--webhooks", "--secret-file", "secret", *allowed) as service:
            asked = {"model": "length", "input": {"text": "four"}, "webhook": {"url": url}}
            submitted = await service.client.post("/v1/jobs", json=asked)
            told = await listener.told()
            service.process.send_signal(signal.SIGTERM)
            code = await service.ended()

    data = told["body"]["data"]
    assert (told["is_verified"], data["id"], data["output"]) == (True, submitted.json()["id"], 4)
    assert data["links"]["self"].startswith(service.url)
    assert (code, secret.encode() in service.said) == (0, False)


async def test_a_signing_key_signs_too_and_its_public_key_is_told(
    serve: Serve, background: Background, asyncinfer: Asyncinfer, tmp_path: Path
) -> None:
    public = asyncinfer("webhooks", "signing-key", "key").stdout.strip()
    async with background("listen", "--json", "--secret", public) as listener:
        url: str = (await listener.told())["url"]
        allowed = ("--allow-http", "--allow-network", "127.0.0.0/8", "--receiver-port", url.rpartition(":")[2])
        async with serve(*ANONYMOUS, "--webhooks", "--signing-key-file", "key", *allowed) as service:
            asked = {"model": "length", "input": {"text": "four"}, "webhook": {"url": url}}
            await service.client.post("/v1/jobs", json=asked)
            told = await listener.told()
            keys = (await service.client.get("/.well-known/jwks.json")).json()["keys"]

    assert told["is_verified"]
    assert keys == msgspec.to_builtins(jwks([PublicKey.parse(public)]))["keys"]
    assert b"whsk_" not in service.said


async def test_it_logs_no_query(serve: Serve) -> None:
    async with serve(*ANONYMOUS, "--log-level", "debug") as service:
        await service.client.get("/v1/jobs", params={"model": "hush-hush"})
        service.process.send_signal(signal.SIGTERM)
        await service.ended()

    assert b"hush-hush" not in service.said


@pytest.mark.parametrize(
    "headers", [{"host": "evil.example:8000"}, {"origin": "https://evil.example"}, {"origin": "null"}]
)
async def test_a_web_page_does_not_get_at_an_anonymous_service(service: Service, headers: Mapping[str, str]) -> None:
    assert (await service.client.post("/v1/queues/default/purge", headers=headers)).status_code == 403
    assert (await service.client.get("/v1/jobs", headers={"origin": "http://localhost:3000"})).status_code == 200


async def test_a_head_without_end_is_cut_off(service: Service) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(service.url).port)
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
    with contextlib.suppress(ConnectionError):
        for _ in range(64 * MAX_HEAD_BYTES // 4096):
            writer.write(bytes(b"a" * 4096))
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        assert (await reader.readline()).split()[1] in (b"431", b"400")
    writer.close()

    assert (await service.client.get("/healthz")).status_code == 200


async def test_a_large_body_is_not_taken_for_a_head(service: Service) -> None:
    text = "a" * 4 * MAX_HEAD_BYTES

    answers = [await service.submit("length", text=text, wait=30) for _ in range(2)]

    assert [answer.json()["output"] for answer in answers] == [len(text)] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["app:manager"], "--tokens-file FILE, or --allow-anonymous"),
        (["app:manager", "--host", "0.0.0.0"], "other machines"),
        (["app:manager", "--host", "0.0.0.0", "--allow-anonymous"], "other machines"),
        (["app:manager", "--host", "::", "--allow-anonymous"], "other machines"),
        (["app:manager", "--host", "0.0.0.0", "--tokens-file", "tokens"], "--public-base-url"),
        (["app:manager", "--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (["app:manager", "--tokens-file", "absent"], "absent"),
        (["app:manager", "--tokens-file", "tokens", "--allow-anonymous"], "--tokens-file"),
        (["app:absent", "--allow-anonymous"], "absent"),
        (["app:manager", "--allow-anonymous", "--webhooks"], "asyncinfer webhooks secret"),
        (["app:manager", "--allow-anonymous", "--allow-http"], "--webhooks"),
        (["app:manager", "--allow-anonymous", "--signing-key-file", "key"], "--webhooks"),
        (["app:manager", "--allow-anonymous", "--egress-proxy", "http://proxy:3128"], "--webhooks"),
        (["app:manager", "--allow-anonymous", "--public-base-url", "ftp://x"], "public_base_url"),
    ],
)
def test_what_cannot_be_served_is_refused(
    asyncinfer: Asyncinfer, serve: Serve, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "tokens").write_text(f"ann {'0' * 64}\n")

    done = asyncinfer("serve", *arguments, "--port", "0")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert words in done.stderr


def test_a_port_that_is_taken_is_told(asyncinfer: Asyncinfer, serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = asyncinfer("serve", "app:manager", "--port", port, "--allow-anonymous")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


@pytest.mark.parametrize(
    ("missing", "arguments"),
    [
        ("uvicorn", ["serve", "app:manager"]),
        ("starlette", ["serve", "app:manager"]),
        ("starlette", ["token", "ann"]),
        ("uvicorn", ["listen"]),
        ("httpcore", ["deliver", "--store", "sqlite:///jobs.db", "--secret", Secret.new().reveal()]),
        ("httpcore", ["webhooks", "list", "--store", "sqlite:///jobs.db"]),
        ("httpx", ["jobs", "list", "--url", "http://127.0.0.1:1"]),
    ],
)
def test_without_its_extra_it_names_the_line_to_type(missing: str, arguments: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT.format(missing=missing, arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"needs {missing}" in done.stderr
    assert "pip install 'asyncinfer[" in done.stderr
