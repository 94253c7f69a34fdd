"""One job as its submitter holds it: wait for it, stream it, cancel it, or keep only its id."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar, overload

from asyncinfer import Status
from asyncinfer.client import _calls, _events, _result
from asyncinfer.client._shells import Shell
from asyncinfer.wire import EventList, Job, StreamedEvent

T = TypeVar("T")


class RemoteJob:
    """One job of a service; objects of the same job are interchangeable."""

    __slots__ = ("_shell", "id", "idempotency_key", "is_existing", "record")

    def __init__(
        self,
        shell: Shell,
        job_id: str,
        *,
        record: Job | None = None,
        idempotency_key: str | None = None,
        is_existing: bool = False,
    ) -> None:
        self._shell = shell
        self.id: str = job_id
        self.record: Job | None = record
        """The job as the submit or retry answered it; None where nothing was looked up."""
        self.idempotency_key: str | None = idempotency_key
        """The key of the submit that returned this."""
        self.is_existing: bool = is_existing
        """The submit was answered by a job that was there already: same key, same id, or deduplicated.

        After a lost answer it may be the job of this very call.
        """

    def __repr__(self) -> str:
        return f"<RemoteJob {self.id}>"

    @overload
    def result(self, timeout: float | None = None) -> Any: ...
    @overload
    def result(self, timeout: float | None = None, *, type: type[T]) -> T: ...
    def result(self, timeout: float | None = None, *, type: type[Any] | None = None) -> Any:  # noqa: A002  as msgspec
        """Wait for the job to end and return its output: JSON, or what `type` makes of it with msgspec.

        Raises JobFailed or JobCanceled for those endings, TimeoutError after `timeout` seconds (the job goes on),
        UnknownJob, JobExpired once the result has been pruned, UnexpectedAnswer when it does not fit `type`. Lost
        connections are made again.
        """
        return self._shell.run(_result.result(self.id, timeout, type, self._shell.patience, self.record))

    def result_bytes(self, timeout: float | None = None) -> bytes:
        """Wait for the job to end and return its output as it is served: raw where the model gave bytes, else JSON.

        Raises what `result` raises.
        """
        return self._shell.run(_result.result_bytes(self.id, timeout, self._shell.patience, self.record))

    def job(self, *, with_input: bool = False, with_attempts: bool = False) -> Job:
        """Return the job's record as it stands. Raises UnknownJob or JobExpired."""
        include = [name for name, wanted in (("input", with_input), ("attempts", with_attempts)) if wanted]
        return self._shell.run(_calls.job(self.id, self._shell.patience, include=include))

    def status(self) -> Status:
        """Return the job's status as it stands. Raises UnknownJob or JobExpired."""
        return self.job().status

    def cancel(self) -> Job:
        """Cancel the job if it waits, ask it to stop if it runs, leave it if it has ended; return it as it stands.

        Raises UnknownJob or JobExpired.
        """
        return self._shell.run(_calls.cancel(self.id, self._shell.patience))

    def retry(self) -> RemoteJob:
        """Run an ended job again, as a new job with `retry_of`.

        After ConnectionLost with `is_sent` it may have been done: look for it before asking again. Raises JobNotEnded,
        UnknownJob, JobExpired, QueueFull and StorageFull.
        """
        job = self._shell.run(_calls.retry(self.id, self._shell.patience))
        return RemoteJob(self._shell, job.id, record=job)

    def delete(self) -> None:
        """Forget an ended job now, cancel and forget a waiting one. Raises JobNotEnded while it runs, UnknownJob."""
        self._shell.run(_calls.delete(self.id, self._shell.patience))

    def event_page(self, after: int = 0, *, limit: int = 200) -> EventList:
        """Return the job's events behind id `after` as they stand, at most `limit` (1 to 1,000) of them.

        Raises UnknownJob or JobExpired.
        """
        return self._shell.run(_calls.event_page(self.id, after, limit, self._shell.patience))

    def events(self, after: int = 0) -> Generator[StreamedEvent, None, None]:
        """Yield the job's events behind id `after`, as they happen, until it has ended.

        Through lost connections too: status and output events come exactly once each. A `reset` opens every new attempt
        after the first; a `gap` says that output has left the bounded history. Raises UnknownJob or JobExpired.
        """
        return self._shell.iterate(_events.follow(self.id, after, self._shell.patience))

    @overload
    def stream(self) -> Generator[Any, None, None]: ...
    @overload
    def stream(self, *, type: type[T]) -> Generator[T, None, None]: ...
    def stream(self, *, type: type[Any] | None = None) -> Generator[Any, None, None]:  # noqa: A002  as msgspec
        """Yield what a generator model yields: JSON, or what `type` makes of each value with msgspec.

        Raises StreamReset when another attempt begins after values were given, JobExpired when values that were not
        given yet have left the bounded history, JobFailed or JobCanceled when the job ends so, and UnknownJob.
        """
        events = _events.follow(self.id, 0, self._shell.patience)
        return self._shell.iterate(_events.values(self.id, events, type))
