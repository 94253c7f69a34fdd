"""Tell telemetry what happens, so that none of it can do harm."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import ParamSpec, Self, TypeAlias, TypeVar

from msgspec.structs import replace

from asyncinfer._clock import Clock
from asyncinfer._job import JobError, NewJob
from asyncinfer._services.attempt import RunningAttempt
from asyncinfer.abc import (
    AttemptOutcome,
    Claim,
    EndedAttempt,
    Finish,
    Inserted,
    Rescued,
    Submitted,
    Telemetry,
    WriteAnswer,
)
from asyncinfer.lifecycle import FinishOutcome

P = ParamSpec("P")
T = TypeVar("T")
TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
Entered: TypeAlias = list[tuple[Telemetry, AbstractContextManager[object]]]
logger = logging.getLogger("asyncinfer.telemetry")


class Observers:
    """Everyone who watches one manager. Whoever has something to tell looks first whether `all` is empty."""

    def __init__(self, telemetry: Sequence[Telemetry], clock: Clock, knows: Callable[[str], bool]) -> None:
        self.all: Sequence[Telemetry] = telemetry
        self._clock = clock
        self._knows = knows
        self._began: dict[RunningAttempt, float] = {}
        self._ran: dict[RunningAttempt, float] = {}
        """Seconds, of attempts whose code has returned."""
        self._failed: set[tuple[int, str]] = set()
        """Methods that have raised."""

    # Submits

    def submit(self, jobs: Sequence[NewJob]) -> Submit:
        """Return what to enter around the insert of `jobs`."""
        return Submit(self, jobs)

    def submitting(self, jobs: Sequence[NewJob]) -> Sequence[NewJob]:
        """Return the jobs as they are to be inserted."""
        for telemetry in self.all:
            jobs = self._safely(telemetry, "submitting", _traced, telemetry, jobs) or jobs
        return jobs

    def submitted(
        self, jobs: Sequence[NewJob], answers: Sequence[Inserted | None], error: BaseException | None
    ) -> None:
        """Tell the final answers; where there is none, `error` came in its place."""
        submits = [
            Submitted(job, answer, error if answer is None else None, self._knows(job.model))
            for job, answer in zip(jobs, answers, strict=True)
        ]
        self._tell("submitted", lambda telemetry: telemetry.submitted(submits))

    # Attempts

    def claimed(self, attempts: Sequence[RunningAttempt]) -> None:
        """Tell of attempts that begin."""
        now = self._clock.monotonic()
        for attempt in attempts:
            self._began[attempt] = now
        claims = [attempt.claim for attempt in attempts]
        self._tell("claimed", lambda telemetry: telemetry.claimed(claims))

    def running(self, attempts: Sequence[RunningAttempt]) -> Running:
        """Return what to enter around the code of `attempts`."""
        return Running(self, attempts)

    def enter(self, attempts: Sequence[RunningAttempt]) -> Entered:
        """Enter what everyone wants around the code of `attempts`."""
        claims = [attempt.claim for attempt in attempts]
        entered: Entered = []
        for telemetry in self.all:
            context = self._safely(telemetry, "running", _entered, telemetry, claims)
            if context is not None:
                entered.append((telemetry, context))
        return entered

    def leave(self, attempts: Sequence[RunningAttempt], entered: Entered) -> None:
        """Leave it again, in reverse, and note how long the code ran."""
        now = self._clock.monotonic()
        for attempt in attempts:
            if not attempt.is_concluded and attempt in self._began:
                self._ran[attempt] = now - self._began[attempt]
        for telemetry, context in reversed(entered):
            self._safely(telemetry, "running", context.__exit__, None, None, None)

    def finished(self, endings: Sequence[tuple[RunningAttempt, Finish]], answers: Sequence[WriteAnswer]) -> None:
        """Tell what a finish has written."""
        self._tell_ended(
            [
                self._ended(attempt, "lease_lost")
                if answer == "lost"
                else self._ended(attempt, _OUTCOMES[finish.outcome], finish.error)
                for (attempt, finish), answer in zip(endings, answers, strict=True)
            ]
        )

    def given_back(self, attempts: Sequence[RunningAttempt], answers: Sequence[WriteAnswer]) -> None:
        """Tell what a give back has written."""
        self._tell_ended(
            [
                self._ended(attempt, "lease_lost" if answer == "lost" else "given_back")
                for attempt, answer in zip(attempts, answers, strict=True)
            ]
        )

    def ended(self, attempts: Sequence[RunningAttempt], outcome: AttemptOutcome) -> None:
        """Tell of attempts that ended without a finish."""
        self._tell_ended([self._ended(attempt, outcome) for attempt in attempts])

    def rescued(self, rescues: Sequence[Rescued]) -> None:
        """Tell of attempts that were taken back."""
        self._tell("rescued", lambda telemetry: telemetry.rescued(rescues))

    # The store

    def store_called(self, call: str, seconds: float, error: BaseException | None) -> None:
        """Tell of one call of the store."""
        self._tell("store_called", lambda telemetry: telemetry.store_called(call, seconds, error))

    def _ended(self, attempt: RunningAttempt, outcome: AttemptOutcome, error: JobError | None = None) -> EndedAttempt:
        began, ran = self._began.pop(attempt, None), self._ran.pop(attempt, None)
        if ran is None:  # its code was not waited for, or nobody watched when it began
            since = (self._clock.now() - attempt.claim.claimed_at) / 1000
            ran = max(0.0, since if began is None else self._clock.monotonic() - began)
        return EndedAttempt(attempt.claim, outcome, error, ran)

    def _tell_ended(self, ended: Sequence[EndedAttempt]) -> None:
        self._tell("ended", lambda telemetry: telemetry.ended(ended))

    def _tell(self, method: str, call: Callable[[Telemetry], None]) -> None:
        for telemetry in self.all:
            self._safely(telemetry, method, call, telemetry)

    def _safely(
        self, telemetry: Telemetry, method: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T | None:
        """Return what `call` returns, or None when it raises; that is logged the first time."""
        try:
            return call(*args, **kwargs)
        except Exception:
            if (id(telemetry), method) not in self._failed:
                self._failed.add((id(telemetry), method))
                logger.exception("telemetry %r failed in %s; that is not logged again", telemetry, method)
            return None


class Submit:
    """The insert of several jobs: told when it is entered and, with what `answers` holds by then, when it is left.

    Nothing is told, and nothing else done, when nobody watches.
    """

    def __init__(self, observers: Observers, jobs: Sequence[NewJob]) -> None:
        self._observers = observers
        self.jobs: Sequence[NewJob] = jobs
        """As they are to be inserted."""
        self.answers: Sequence[Inserted] = ()
        """The store's last word on each."""

    def __enter__(self) -> Self:
        if self._observers.all:
            self.jobs = self._observers.submitting(self.jobs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._observers.all:
            self._observers.submitted(self.jobs, self.answers or [None] * len(self.jobs), error)


class Running:
    """The code of one call while it is watched."""

    def __init__(self, observers: Observers, attempts: Sequence[RunningAttempt]) -> None:
        self._observers = observers
        self._attempts = attempts
        self._entered: Entered = []

    def __enter__(self) -> None:
        self._entered = self._observers.enter(self._attempts)

    def __exit__(self, *exc_info: object) -> None:
        self._observers.leave(self._attempts, self._entered)


def _traced(telemetry: Telemetry, jobs: Sequence[NewJob]) -> Sequence[NewJob]:
    traceparents = telemetry.submitting(jobs)
    if traceparents is None:
        return jobs
    return [
        job if traceparent is None else replace(job, traceparent=_checked(traceparent))
        for job, traceparent in zip(jobs, traceparents, strict=True)
    ]


def _checked(traceparent: str) -> str:
    """Return it. Raise ValueError for what a store may not be able to keep: its job must not be refused for that."""
    if not TRACEPARENT.fullmatch(traceparent):
        raise ValueError(f"expected a W3C traceparent, got {traceparent!r}")
    return traceparent


def _entered(telemetry: Telemetry, claims: Sequence[Claim]) -> AbstractContextManager[object] | None:
    context = telemetry.running(claims)
    if context is not None:
        context.__enter__()
    return context


_OUTCOMES: Mapping[FinishOutcome, AttemptOutcome] = {
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "canceled",
    "retry": "retried",
}
