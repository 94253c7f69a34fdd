"""What a receiver is told: `{"type", "timestamp", "data"}`, encoded once and sent as these bytes on every attempt."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from asyncinfer import wire
from asyncinfer.abc import Owed

FULL_BYTES = 20_000
"""A body above it is sent thin: without output, metadata, labels and error, which the receiver can ask for."""
_encoder = msgspec.json.Encoder()


class Envelope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event, as Standard Webhooks 1.0 has it."""

    type: str
    timestamp: datetime
    data: wire.Job | wire.JobReference | wire.JobProgress | wire.JobOutput | dict[str, str]
    truncated: bool = False
    """`data` only names the job, or has no values of its output: the whole would be above 20 kB, or is gone."""


def body_of(event: str, at: int, job: wire.Job) -> bytes:
    """Return the bytes of an event of `job` that happened at `at`, in milliseconds."""
    full = _encoder.encode(Envelope(type=event, timestamp=instant(at), data=job))
    return full if len(full) <= FULL_BYTES else thin_body_of(event, at, job)


def thin_body_of(event: str, at: int, job: wire.Job) -> bytes:
    """Return the bytes of an event whose job would be too much: what it is called, and where it is."""
    thin = wire.JobReference(id=job.id, model=job.model, status=job.status, revision=job.revision, links=job.links)
    return _encoder.encode(Envelope(type=event, timestamp=instant(at), data=thin, truncated=True))


def body_of_forgotten(event: str, owed: Owed) -> bytes:
    """Return the bytes of the ending of a job that its owner has deleted meanwhile."""
    data = {"object": "job", "id": owed.id, "status": owed.status}
    return _encoder.encode(Envelope(type=event, timestamp=instant(owed.at), data=data, truncated=True))


def body_of_notice(event: str, at: int, data: dict[str, str]) -> bytes:
    """Return the bytes of an event about an endpoint: `webhook.test`, `webhook.verification`, `webhook.disabled`."""
    return _encoder.encode(Envelope(type=event, timestamp=instant(at), data=data))


def message_id(at: int, *parts: str) -> str:
    """Return the id of one event, of this millisecond, for one target.

    The same instant and parts give the same id, so that expanding twice adds none. Ids sort by their instants: the log
    of deliveries is read by id, newest first.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"msg_{at:012x}{base64.b32encode(digest[:20]).decode().lower()}"


def instant_of(message_id: str) -> int:
    """Return the instant of the event that an id names, in milliseconds."""
    return int(message_id[4:16], 16)


def instant(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
