"""JobContext: what a model can say and ask while it runs; `current_job()` finds it, so signatures stay the user's."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from asyncinfer._codec import decode, decode_as, encode
from asyncinfer._job import Progress
from asyncinfer.errors import CancelRequested, InvalidOption

S = TypeVar("S")


class Reporter(Protocol):
    """Where a context sends what the model says: the journal in the manager's process, a pipe in a child's.

    Every method may be called from any thread and returns at once, except `emit`, which waits in a worker thread while
    its bounded buffer is full.
    """

    def report(self, progress: Progress) -> None: ...

    def emit(self, data: bytes) -> None: ...

    def save_checkpoint(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class SetupContext(Struct, frozen=True, kw_only=True):
    """What a class model's `setup` is told."""

    model: str
    executor: str
    device: str | None = None


class JobContext:
    """One attempt of one job, as its model sees it. Safe to use from any thread of the attempt."""

    __slots__ = (
        "_is_canceled",
        "_reporter",
        "attempt",
        "checkpoint_bytes",
        "deadline",
        "job_id",
        "metadata_bytes",
        "model",
        "owner",
        "time_limit",
    )

    def __init__(
        self,
        reporter: Reporter,
        # By position too: one is made for every attempt, and by keyword that takes twice as long.
        job_id: str,
        owner: str,
        model: str,
        attempt: int,
        deadline: int | None = None,
        time_limit: int | None = None,
        checkpoint: bytes | None = None,
        metadata_bytes: bytes = b"",
    ) -> None:
        self._reporter = reporter
        self._is_canceled = False
        self.job_id: str = job_id
        self.owner: str = owner
        self.model: str = model
        self.attempt: int = attempt
        """Counted from 1 over the job's whole life."""
        self.deadline: int | None = deadline
        """Instant in milliseconds after which the result is useless, or None."""
        self.time_limit: int | None = time_limit
        """Milliseconds that this attempt may take, or None."""
        self.checkpoint_bytes: bytes | None = checkpoint
        """What this job last saved, encoded."""
        self.metadata_bytes: bytes = metadata_bytes

    @property
    def metadata(self) -> Any:  # Any: opaque to us, the submitter's to know
        return decode(self.metadata_bytes) if self.metadata_bytes else None

    def progress(
        self,
        fraction: float | None = None,
        message: str = "",
        *,
        current: float | None = None,
        total: float | None = None,
    ) -> None:
        """Report how far the work is; cheap (only the latest report within 50 ms is kept). `fraction` is 0 to 1."""
        if fraction is not None and not 0 <= fraction <= 1:
            raise InvalidOption(f"progress.fraction: expected 0 to 1, got {fraction!r}")
        self._reporter.report(Progress(fraction=fraction, message=message, current=current, total=total))

    def emit(self, value: object) -> None:
        """Add one value to the job's durable output stream.

        Raise TypeError when it cannot be encoded, TooLarge above `Limits.result_bytes`.
        """
        self._reporter.emit(encode(value))

    async def drain(self) -> None:
        """Wait until what was emitted is stored; an async model that emits much awaits this now and then."""
        await self._reporter.drain()

    def save_checkpoint(self, state: object) -> None:
        """Keep `state` for a later attempt of this job; the newest one wins.

        Raises TypeError when it cannot be encoded, TooLarge above `Limits.checkpoint_bytes`.
        """
        data = encode(state)
        self._reporter.save_checkpoint(data)
        self.checkpoint_bytes = data

    def load_checkpoint(self, kind: type[S]) -> S | None:
        """Return what this job last saved, decoded as `kind`, or None. Raise TypeError when it does not fit."""
        return None if self.checkpoint_bytes is None else decode_as(self.checkpoint_bytes, kind)

    @property
    def is_canceled(self) -> bool:
        """Someone wants this attempt to stop: the owner, a time limit, a lost lease or a drain at its end."""
        return self._is_canceled

    def raise_if_canceled(self) -> None:
        """Raise CancelRequested if the attempt should stop; models call it between steps."""
        if self._is_canceled:
            raise CancelRequested(f"job {self.job_id} was asked to stop")

    def request_cancel(self) -> None:
        """Set the token that `is_canceled` shows; called by executors and the manager."""
        self._is_canceled = True


_current: ContextVar[tuple[JobContext, ...]] = ContextVar("asyncinfer_current_jobs")


def current_job() -> JobContext:
    """Return the context of the job that is running here.

    Raises LookupError outside a job, and in a thread that the model started itself: run such a thread's target with
    `contextvars.copy_context().run`.
    """
    return current_batch()[0]


def current_batch() -> Sequence[JobContext]:
    """Return the contexts of the batch that is running here, one per item. Raises LookupError as `current_job` does."""
    try:
        return _current.get()
    except LookupError:
        raise LookupError(
            "no job is running here; a thread started by the model needs contextvars.copy_context().run(target)"
        ) from None


def set_current(contexts: tuple[JobContext, ...]) -> None:
    """Make `contexts` what `current_batch` returns from here on in this context."""
    _current.set(contexts)
