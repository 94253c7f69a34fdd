"""What a job tells while it lives: one tagged record per kind, ordered by `id` within the job.

`id` is the job's revision at that event, so `events(after=id)` resumes exactly behind it. Only the latest progress is
kept; status and output events are durable.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from asyncinfer._codec import decode
from asyncinfer._job import JobError, Progress, Status


class StatusEvent(Struct, frozen=True, tag="status", tag_field="kind", omit_defaults=True):
    """The job moved to `status`. A `queued` event of an attempt above 0 carries why that attempt ended."""

    id: int
    """The job's revision at this event."""
    attempt: int
    """The attempt it belongs to; 0 before the first."""
    at: int
    """When it was stored."""
    status: Status
    """Where the job stands since."""
    error: JobError | None = None
    """Why it failed, or why the attempt before did not succeed."""


class ProgressEvent(Struct, frozen=True, tag="progress", tag_field="kind", omit_defaults=True):
    """The latest progress; an earlier one may have been replaced unseen."""

    id: int
    """The job's revision at this event."""
    attempt: int
    """The attempt it belongs to; 0 before the first."""
    at: int
    """When it was stored."""
    progress: Progress
    """What the model reported."""


class OutputEvent(Struct, frozen=True, tag="output", tag_field="kind", omit_defaults=True):
    """One emitted or yielded value, as encoded by the codec."""

    id: int
    """The job's revision at this event."""
    attempt: int
    """The attempt it belongs to; 0 before the first."""
    at: int
    """When it was stored."""
    data: bytes
    """The value, encoded."""

    @property
    def value(self) -> Any:  # Any: the type of what a model emits is the caller's to know
        return decode(self.data)


class ResetEvent(Struct, frozen=True, tag="reset", tag_field="kind", omit_defaults=True):
    """A new attempt began: output of earlier attempts is void. Made by the reader, never stored."""

    id: int
    """The id of the last event before it: resuming there tells of the reset again."""
    attempt: int
    """The attempt that began."""
    at: int
    """When the first event of that attempt was stored."""


class GapEvent(Struct, frozen=True, tag="gap", tag_field="kind", omit_defaults=True):
    """Events behind the asked-for id have left the bounded history. Made by the reader, never stored."""

    id: int
    """The id behind which events are missing."""
    attempt: int
    """The attempt of the first event that is still there."""
    at: int
    """When that event was stored."""


StoredEvent = StatusEvent | ProgressEvent | OutputEvent
Event = StatusEvent | ProgressEvent | OutputEvent | ResetEvent | GapEvent
