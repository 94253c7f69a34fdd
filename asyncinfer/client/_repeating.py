"""Which requests are sent again, after how long, and when to give up."""

from __future__ import annotations

from msgspec import Struct

from asyncinfer.client._exchange import Answer, Failure, Flow, Request, Send, Wait, send
from asyncinfer.client._patience import Patience
from asyncinfer.client._problems import error_of, problem_in, retry_after_of

PASSING = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Statuses after which waiting may help; 409 only with Retry-After."""
NOTHING_STORED = frozenset({"quota-exceeded", "rate-limited", "queue-full", "storage-full", "draining"})
"""Problems that say that the request had no effect."""
MAX_RETRY_AFTER = 60.0
"""A longer wait that a service asks for is cut to this."""
FIRST_BACKOFF = 0.5
MAX_BACKOFF = 15.0


class Budget(Struct, frozen=True):
    """What one call may spend on being sent again."""

    until: float
    """On the monotonic clock."""
    retries: int | None
    """None: as many as fit."""


def budget_of(request: Request, patience: Patience) -> Budget:
    """Return what an ordinary call may spend."""
    return Budget(patience.timing.monotonic() + patience.timeout + request.hold, patience.max_retries)


def call(request: Request, patience: Patience, budget: Budget | None = None, *, accepted: int = 0) -> Flow[Answer]:
    """Send a request, again where that is safe and may help, until it is answered well; raise what else came of it.

    Any 2xx and 304 is well, and so is the status `accepted`.
    """
    budget = budget or budget_of(request, patience)
    repeats = 0
    while True:
        outcome = yield from send(send_of(request, patience, budget.until))
        if isinstance(outcome, Answer) and (outcome.status in (304, accepted) or 200 <= outcome.status < 300):
            return outcome
        wait = wait_before_repeat(request, outcome, repeats, patience.timing.random())
        if wait is None or _is_spent(budget, repeats, patience.timing.monotonic() + wait):
            raise error_of(request, outcome)
        yield Wait(wait)
        repeats += 1


def send_of(request: Request, patience: Patience, until: float, *, is_stream: bool = False) -> Send:
    """Return the effect that sends `request` within the bounds of one attempt, and not beyond `until`."""
    left = max(until - patience.timing.monotonic(), 0.01)
    return Send(
        request=request,
        connect=min(patience.connect_timeout, left),
        silence=min(patience.attempt_timeout + request.hold, left),
        queue=left,
        is_stream=is_stream,
    )


def wait_before_repeat(request: Request, outcome: Answer | Failure, repeats: int, random: float) -> float | None:
    """Return the seconds before the request is sent again, or None when that is unsafe or useless.

    `random` is drawn from [0, 1): full jitter over an exponential backoff, unless the service named a time.
    """
    if isinstance(outcome, Failure):
        is_worth_it = request.repeatable == "always" or not outcome.is_sent
        return backoff(repeats, random) if is_worth_it else None
    told = retry_after_of(outcome)
    if outcome.status not in PASSING or (outcome.status == 409 and told is None):
        return None
    if request.repeatable == "unless_read" and not _says_nothing_stored(outcome):
        return None
    return backoff(repeats, random) if told is None else min(told, MAX_RETRY_AFTER)


def backoff(repeats: int, random: float) -> float:
    """Return a wait of 0 to 0.5 s, doubled with each repeat up to 15 s (full jitter)."""
    return random * min(FIRST_BACKOFF * 2.0 ** min(repeats, 10), MAX_BACKOFF)


def _is_spent(budget: Budget, repeats: int, next_at: float) -> bool:
    return next_at >= budget.until or (budget.retries is not None and repeats >= budget.retries)


def _says_nothing_stored(answer: Answer) -> bool:
    problem = problem_in(answer)
    return answer.status in (429, 503) and problem is not None and problem.slug in NOTHING_STORED
