"""A job's events as they come, through as many connections as it takes: every durable one exactly once."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from msgspec import Struct

from asyncinfer import JobError
from asyncinfer.client._calls import path_of_job
from asyncinfer.client._decoding import decoded, fitted
from asyncinfer.client._exchange import Answer, Failure, Flow, Give, Request, Wait, read, send
from asyncinfer.client._patience import Patience
from asyncinfer.client._problems import error_of
from asyncinfer.client._repeating import send_of, wait_before_repeat
from asyncinfer.client._sse import EventStreamParser, Message, StreamTooLong
from asyncinfer.client.errors import UnexpectedAnswer
from asyncinfer.errors import JobCanceled, JobExpired, JobFailed, StreamReset
from asyncinfer.lifecycle import TERMINAL
from asyncinfer.wire import Error, GapEvent, Job, OutputEvent, ProgressEvent, ResetEvent, StatusEvent, StreamedEvent

T = TypeVar("T")

SILENCE_SECONDS = 45.0
"""A stream that sends nothing for so long is dead: the service sends a comment each 15 s."""
RECONNECT_SECONDS = 2.0
"""Until a stream says otherwise (`retry:`)."""
MAX_RECONNECT_SECONDS = 60.0


class Done(Struct, frozen=True, kw_only=True):
    """The last message of a stream."""

    event: StatusEvent
    job: Job


class Follower:
    """Turns the messages of one job's streams into events, none twice; `after` is the last durable id that was given.

    A `reset` or `gap` has no id: it comes again after a cut. And where a stream resumes behind the first event of
    another attempt, only this object knows that there was an earlier one.
    """

    def __init__(self, job_id: str, after: int) -> None:
        self.after = after
        self.is_done = False
        self._job_id = job_id
        self._attempt = 0
        self._progress: ProgressEvent | None = None
        self._gap_after: int | None = None

    def take(self, message: Message) -> list[StreamedEvent]:
        """Return the events that a message brings; a message of a kind unknown here brings none."""
        if message.event == "done":
            self.is_done = True
            return self._durable(self._decoded(message, Done).event)
        kind = _KINDS.get(message.event)
        if kind is None:
            return []
        event = self._decoded(message, kind)
        if isinstance(event, ResetEvent):
            return self._reset(event)
        if isinstance(event, GapEvent):
            is_new, self._gap_after = self._gap_after != self.after, self.after
            return [event] if is_new else []
        if isinstance(event, ProgressEvent):
            is_new, self._progress = event != self._progress, event
            return [*self._began(event), event] if is_new and event.attempt >= self._attempt else []
        return self._durable(event)

    def _durable(self, event: StatusEvent | OutputEvent) -> list[StreamedEvent]:
        if event.id <= self.after:
            return []
        self.after = event.id
        return [*self._began(event), event]

    def _reset(self, event: ResetEvent) -> list[StreamedEvent]:
        if event.attempt <= self._attempt:
            return []
        self._attempt = event.attempt
        return [event]

    def _began(self, event: StatusEvent | OutputEvent | ProgressEvent) -> list[StreamedEvent]:
        """Return the reset that opens an attempt which no `reset` has opened."""
        before, self._attempt = self._attempt, max(self._attempt, event.attempt)
        return [ResetEvent(attempt=event.attempt, at=event.at)] if 0 < before < event.attempt else []

    def _decoded(self, message: Message, kind: type[T]) -> T:
        return decoded(message.data, kind, f"a `{message.event}` event of job {self._job_id}")


class _Heard(NamedTuple):
    """What one connection told beside its messages."""

    is_alive: bool
    """Something came."""
    retry: float | None


def follow(job_id: str, after: int, patience: Patience) -> Flow[None]:
    """Give the events behind id `after` until the job has ended, through reconnects.

    Raises what the first answer means, and ConnectionLost and the like once nothing was heard for `reconnect_for`.
    """
    timing = patience.timing
    follower = Follower(job_id, after)
    heard_at, repeats, reconnect = timing.monotonic(), 0, RECONNECT_SECONDS
    while True:
        request = _request(job_id, follower.after)
        effect = send_of(request, patience, timing.monotonic() + SILENCE_SECONDS, is_stream=True)
        outcome = yield from send(msgspec.structs.replace(effect, silence=SILENCE_SECONDS))
        if isinstance(outcome, Answer) and outcome.status == 204:
            return
        if isinstance(outcome, Answer) and outcome.status == 200:
            _require_event_stream(request, outcome)
            heard = yield from _listen(follower)
            if follower.is_done:
                return
            if heard.is_alive:
                heard_at, repeats = timing.monotonic(), 0
            reconnect = min(heard.retry or reconnect, MAX_RECONNECT_SECONDS)
            outcome = Failure(reason="its event streams end before anything comes", is_sent=True)
            wait: float | None = reconnect * (1 + timing.random() / 4)
        else:
            wait = wait_before_repeat(request, outcome, repeats, timing.random())
        if wait is None or timing.monotonic() + wait > heard_at + patience.reconnect_for:
            raise error_of(request, outcome)
        yield Wait(wait)
        repeats += 1


def _listen(follower: Follower) -> Flow[_Heard]:
    """Give what one connection brings, until it ends."""
    parser = EventStreamParser()
    is_alive = False
    while True:
        chunk = yield from read()
        if isinstance(chunk, Failure) or not chunk:
            return _Heard(is_alive, parser.retry)
        is_alive = True
        try:
            messages = parser.feed(chunk)
        except StreamTooLong as exc:
            raise UnexpectedAnswer(f"the event stream holds {exc}") from None
        for message in messages:
            for event in follower.take(message):
                yield Give(event)
            if follower.is_done:
                return _Heard(is_alive, parser.retry)


def values(job_id: str, events: Flow[None], kind: type[Any] | None) -> Flow[None]:
    """Give what a generator model yields, out of the flow of its events.

    Raises StreamReset when another attempt begins after values were given, JobExpired when values that were not given
    yet have left the bounded history, JobFailed and JobCanceled when the job ends so.
    """
    given, outcome = False, None
    while True:
        try:
            effect = events.send(outcome)
        except StopIteration:
            return
        if not isinstance(effect, Give):
            outcome = yield effect
            continue
        outcome = None
        event = cast("StreamedEvent", effect.value)
        if isinstance(event, OutputEvent):
            given = True
            yield Give(event.value if kind is None else fitted(event.value, kind, f"a value of job {job_id}"))
        else:
            _judge(job_id, event, given=given)


def _judge(job_id: str, event: StreamedEvent, *, given: bool) -> None:
    if isinstance(event, ResetEvent) and given:
        raise StreamReset(job_id, event.attempt)
    if isinstance(event, GapEvent):
        raise JobExpired(f"job {job_id}: values of its stream have left the history; its result, if any, has them all")
    if isinstance(event, StatusEvent) and event.status in TERMINAL:
        raise_if_bad(job_id, event)


def raise_if_bad(job_id: str, ended: StatusEvent | Job) -> None:
    """Raise JobFailed or JobCanceled for those endings."""
    if ended.status == "canceled":
        raise JobCanceled(job_id)
    if ended.status == "failed":
        raise JobFailed(job_id, job_error(ended.error))


def job_error(error: Error | None) -> JobError:
    """Return the library's record of a wire error."""
    if error is None:
        return JobError(code="undecodable", message="its error was not told")
    return error.to_record()


def _request(job_id: str, after: int) -> Request:
    resume = {"last-event-id": str(after)} if after else {}
    # Identity: a proxy that compresses also gathers, and a stream must come as it is made.
    return Request(
        method="GET",
        path=f"{path_of_job(job_id)}/events",
        headers={
            "accept": "text/event-stream",
            "accept-encoding": "identity",
            "cache-control": "no-store",
            **resume,
        },
    )


def _require_event_stream(request: Request, answer: Answer) -> None:
    if answer.media_type() != "text/event-stream":
        raise UnexpectedAnswer(
            f"{request.method} {request.path} was not answered with an event stream",
            status=answer.status,
        )


_KINDS: dict[str, type[StatusEvent | ProgressEvent | OutputEvent | ResetEvent | GapEvent]] = {
    "status": StatusEvent,
    "progress": ProgressEvent,
    "output": OutputEvent,
    "reset": ResetEvent,
    "gap": GapEvent,
}
