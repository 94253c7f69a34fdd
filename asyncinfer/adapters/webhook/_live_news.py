"""What has happened in a running attempt since its receiver was last told, and the bodies that tell it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer import Event, GapEvent, Job, OutputEvent, ProgressEvent, wire
from asyncinfer.abc import Claim
from asyncinfer.adapters._job_answer import progress_of, told_value
from asyncinfer.adapters.webhook._envelope import FULL_BYTES, Envelope, instant

KEPT_BYTES = 4 * FULL_BYTES
"""Of values as they are stored: more than that is more than `FULL_BYTES` as JSON."""
KEPT_VALUES = FULL_BYTES // 2
"""Each is a character and a comma at least."""
_encode = msgspec.json.Encoder().encode


class Subject(Struct, frozen=True):
    """The attempt that is told of."""

    id: str
    model: str
    attempt: int
    links: wire.JobLinks


class Output(Struct):
    """The values of several events, in order; none of them once they are too many to be sent."""

    first: int
    """The id of the first event."""
    last: int = 0
    at: int = 0
    count: int = 0
    size: int = 0
    values: list[bytes] = msgspec.field(default_factory=list[bytes])
    is_thin: bool = False

    def add(self, event: OutputEvent) -> None:
        self.last, self.at = event.id, event.at
        self.count += 1
        self.size += len(event.data)
        if self.size > KEPT_BYTES or self.count > KEPT_VALUES:
            self.is_thin = True
        if self.is_thin:
            self.values.clear()
        else:
            self.values.append(event.data)


class News(Struct):
    """What is still to be told to one receiver: the latest progress, and every value."""

    progress: ProgressEvent | None = None
    output: Output | None = None

    @property
    def is_empty(self) -> bool:
        return self.progress is None and (self.output is None or not self.output.count)

    def add(self, event: Event, wanted: Sequence[str]) -> None:
        """Take what the receiver wants of it."""
        if isinstance(event, ProgressEvent) and "job.progress" in wanted:
            self.progress = event
        elif isinstance(event, OutputEvent) and "job.output" in wanted:
            self.output = self.output or Output(event.id)
            self.output.add(event)
        elif isinstance(event, GapEvent) and "job.output" in wanted:
            self.output = self.output or Output(event.id + 1)
            self.output.is_thin = True


def as_started(job: Job, claim: Claim) -> Job:
    """Return a job as it stood when its attempt began: it may have gone on since."""
    return replace(
        job,
        status="running",
        revision=claim.revision,
        attempt=claim.attempt,
        failures=claim.failures,
        crashes=claim.crashes,
        not_before=claim.not_before,
        started_at=claim.claimed_at,
        cancel_requested_at=None,
        finished_at=None,
        forget_at=None,
        has_result=False,
        result=None,
        error=None,
        progress=None,
    )


def progress_body(subject: Subject, event: ProgressEvent) -> bytes:
    """Return the bytes of a `job.progress`."""
    data = wire.JobProgress(
        id=subject.id,
        model=subject.model,
        attempt=subject.attempt,
        revision=event.id,
        progress=progress_of(event.progress),
        links=subject.links,
    )
    return _encode(Envelope(type="job.progress", timestamp=instant(event.at), data=data))


async def output_body(subject: Subject, output: Output) -> bytes:
    """Return the bytes of a `job.output`: thin where they would be above `FULL_BYTES`."""
    data = wire.JobOutput(
        id=subject.id,
        model=subject.model,
        attempt=subject.attempt,
        revision=output.last,
        first_revision=output.first,
        count=output.count,
        output=[await told_value(value) for value in output.values],
        links=subject.links,
    )
    envelope = Envelope(type="job.output", timestamp=instant(output.at), data=data, truncated=output.is_thin)
    body = _encode(envelope)
    if len(body) <= FULL_BYTES:
        return body
    return _encode(replace(envelope, data=replace(data, output=[]), truncated=True))
