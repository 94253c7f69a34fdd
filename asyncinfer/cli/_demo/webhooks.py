"""The demo's webhooks: sent to a receiver of its own on this machine, which verifies each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asyncinfer import JobManager
from asyncinfer.cli._deliver import delivering
from asyncinfer.cli._demo.model import FileKind

if TYPE_CHECKING:
    from asyncinfer.cli._webhook_receiver import Heard

SETTLED_SECONDS = 30.0
"""After the last job's end; a refused connection alone is tried again after 5 s, and once more after 5 min."""
LOOK_SECONDS = 0.05


class Told(Struct, frozen=True):
    """What the receiver heard."""

    labels: Mapping[str, str] = {}
    """By job: what its verified webhook says the file is."""
    ids: Mapping[str, frozenset[str]] = {}
    """By job: the ids of its verified webhooks. Sent twice, a webhook keeps its id."""
    refused: int = 0
    """Requests whose signature was wrong, or that tell of no job that succeeded."""
    unsettled: str = ""
    """What had not come to its end in time, or empty."""
    why: str = ""
    """Why nobody could be told, or empty."""


class Webhooks:
    """A receiver, and the sender that tells it of every job that names `url`."""

    def __init__(self, url: str, manager: JobManager) -> None:
        self.url = url
        self._manager = manager
        self._labels: dict[str, str] = {}
        self._ids: dict[str, set[str]] = {}
        self._refused = 0

    def hear(self, heard: Heard) -> None:
        """Keep what a webhook says, if its signature is right."""
        try:
            told = msgspec.json.decode(heard.body, type=_Event) if heard.is_verified else None
        except msgspec.DecodeError:
            told = None
        if told is None:
            self._refused += 1
            return
        self._ids.setdefault(told.data.id, set()).add(heard.id)
        self._labels[told.data.id] = told.data.output.label

    @property
    def told(self) -> int:
        """How many jobs have been told of."""
        return len(self._ids)

    async def settled(self) -> Told:
        """Return what was heard once nothing is owed any more: every delivery has ended in the store too."""
        unsettled = ""
        try:
            async with asyncio.timeout(SETTLED_SECONDS):
                while await self._manager.outbox.next_due_at() is not None:  # noqa: ASYNC110  a store tells no event of it
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            unsettled = f"webhooks were still owed {SETTLED_SECONDS:.0f} s after the last job's end"
        ids = {job: frozenset(ids) for job, ids in self._ids.items()}
        return Told(dict(self._labels), ids, self._refused, unsettled)


@contextlib.asynccontextmanager
async def webhooks_sent(manager: JobManager) -> AsyncGenerator[Webhooks]:
    """Deliver the manager's webhooks to a receiver on a free port, signed with a secret made for this.

    Raises AsyncinferError where no port can be had.
    """
    from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender
    from asyncinfer.cli._http_server import bound, served
    from asyncinfer.cli._webhook_receiver import WebhookReceiver

    secret = Secret.new()
    with bound("127.0.0.1", 0) as address:
        webhooks = Webhooks(f"{address.url}/webhooks", manager)
        # The one place of the demo that webhooks may go to: its own port of this machine.
        guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[address.port])
        sender = WebhookSender(manager, secret=secret, guard=guard)
        async with served(WebhookReceiver([secret.reveal()], webhooks.hear), address), delivering(sender):
            yield webhooks


class _Data(Struct):
    id: str
    output: FileKind


class _Event(Struct, tag_field="type", tag="job.succeeded"):
    data: _Data
