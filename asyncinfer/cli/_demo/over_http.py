"""The demo over HTTP: the contract on a free port of this machine, and the requests that are sent and shown."""

from __future__ import annotations

import contextlib
import http.client
import shlex
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from asyncinfer import JobManager, wire
from asyncinfer.cli._demo.model import FileKind, identify
from asyncinfer.errors import AsyncinferError

if TYPE_CHECKING:
    from asyncinfer.adapters.http import Principal

VISITOR = "visitor"
"""The owner of what is asked over HTTP: whatever visitors do, they cannot reach the jobs of the proof."""
ANSWER_SECONDS = 60.0


class Ask(Struct, frozen=True):
    """One request: as the demo sends it, and as a person types it."""

    url: str
    headers: Mapping[str, str] = {}
    body: str | None = None

    def as_curl(self) -> str:
        """Return the command line."""
        headers = [part for name, value in self.headers.items() for part in ("-H", f"{name}: {value}")]
        body = [] if self.body is None else ["-d", self.body]
        return shlex.join(["curl", "-sN", *headers, *body, self.url])

    def send(self) -> bytes:
        """Return the body of the answer. Blocks. Raises OSError, HTTPException, and AsyncinferError when refused."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=ANSWER_SECONDS)
        with contextlib.closing(connection):
            target = f"{parts.path}?{parts.query}" if parts.query else parts.path
            method = "GET" if self.body is None else "POST"
            connection.request(method, target, body=self.body, headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        if answer.status not in (200, 202):
            raise AsyncinferError(f"{method} {target} was answered {answer.status}: {body[:200]!r}")
        return body


class Asked(Struct, frozen=True):
    """What came of asking for one file."""

    path: str
    job_id: str = ""
    label: str = ""
    """What the stream of the job's events told in the end."""
    shown: Sequence[str] = ()
    """The requests, as curl."""
    why: str = ""
    """Why it could not be asked, or empty."""


@contextlib.asynccontextmanager
async def visitors_let_in(manager: JobManager) -> AsyncGenerator[str]:
    """Serve the contract on a free port of this machine; give its URL. The manager drains when this is left.

    Raises AsyncinferError where no port can be had.
    """
    from asyncinfer.adapters.http import create_app
    from asyncinfer.cli._http_server import bound, served
    from asyncinfer.cli._local_only import LocalOnly

    with bound("127.0.0.1", 0) as address:
        app = create_app(manager, public_base_url=address.url, authenticate=_anybody)
        async with served(LocalOnly(app), address, manager):
            try:
                yield address.url
            finally:
                await manager.drain(0)


def ask_for(url: str, path: str) -> Asked:
    """Have a file identified, list the jobs, follow the job's events to its end; never raises for what goes wrong.

    Blocks.
    """
    try:
        return _ask(url, path)
    except (OSError, http.client.HTTPException, msgspec.DecodeError, AsyncinferError) as error:
        return Asked(path, why=f"{type(error).__name__}: {error}")


def _ask(url: str, path: str) -> Asked:
    # Priority 0: before the files, of which thousands may wait.
    body = msgspec.json.encode({"model": identify.name, "input": {"path": path}, "priority": 0}).decode()
    submit = Ask(f"{url}/v1/jobs", {"Content-Type": "application/json", "Prefer": "wait=10"}, body)
    job_id = msgspec.json.decode(submit.send(), type=wire.Job).id
    listing = Ask(f"{url}/v1/jobs?limit=5")
    if job_id not in {job.id for job in msgspec.json.decode(listing.send(), type=wire.JobList).data}:
        raise AsyncinferError(f"job {job_id} is not listed")
    events = Ask(f"{url}/v1/jobs/{job_id}/events", {"Accept": "text/event-stream"})
    kind = _told_at_the_end(events.send())
    return Asked(path, job_id, kind.label, [one.as_curl() for one in (submit, listing, events)])


class _Done(Struct):
    job: wire.Job


def _told_at_the_end(stream: bytes) -> FileKind:
    """Return the result that the last event of a whole stream carries."""
    _, _, last = stream.rpartition(b"event: done\ndata: ")
    job = msgspec.json.decode(last.strip(), type=_Done).job
    return msgspec.convert(job.output, FileKind)


def name_of(asked: Asked) -> str:
    return Path(asked.path).name


async def _anybody(request: object) -> Principal:
    from asyncinfer.adapters.http import Principal

    return Principal(VISITOR)
