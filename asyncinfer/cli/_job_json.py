"""Jobs, attempts and events as JSON: instants RFC 3339 in UTC, durations in seconds, the words of the glossary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from asyncinfer import Attempt, JobError, ProgressEvent, StatusEvent
from asyncinfer.abc import StoredEvent
from asyncinfer.cli._seen import SeenJob

Json = dict[str, Any]  # Any: JSON has no type of its own
INSTANTS = frozenset(
    {
        "created_at",
        "not_before",
        "deadline",
        "started_at",
        "finished_at",
        "forget_at",
        "cancel_requested_at",
    }
)


def instant(milliseconds: int | None) -> str | None:
    """Return an instant as `2026-01-31T12:00:00.250Z`."""
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job_json(job: SeenJob) -> Json:
    """Return a job's record, without its result."""
    told: Json = {"object": "job"}
    for name in job.__struct_fields__:
        value = getattr(job, name)
        told[name] = instant(value) if name in INSTANTS else value
    told["progress"] = None if job.progress is None else msgspec.to_builtins(job.progress)
    told["error"] = error_json(job.error)
    return told


def error_json(error: JobError | None) -> Json | None:
    """Return why a job or an attempt failed; the traceback is for the operator, who is the one to read this."""
    if error is None:
        return None
    return {name: getattr(error, name) for name in error.__struct_fields__}


def attempt_json(attempt: Attempt) -> Json:
    return {
        "number": attempt.number,
        "worker": attempt.worker or None,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "outcome": attempt.outcome,
        "error": error_json(attempt.error),
    }


def event_json(event: StoredEvent) -> Json:
    common: Json = {"id": event.id, "attempt": event.attempt, "at": instant(event.at)}
    if isinstance(event, StatusEvent):
        return common | {"kind": "status", "status": event.status, "error": error_json(event.error)}
    if isinstance(event, ProgressEvent):
        return common | {"kind": "progress", "progress": msgspec.to_builtins(event.progress)}
    return common | {"kind": "output", "value": plain(event.value)}


def plain(value: object) -> Any:
    """Return a decoded result as JSON can hold it: bytes as base64, what has no JSON form as its repr."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=repr)


def text_of(value: Mapping[str, object] | Sequence[object]) -> str:
    """Return JSON text for a person's eyes and a program's."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
