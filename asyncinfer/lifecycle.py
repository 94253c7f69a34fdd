"""The table of a job's legal moves, and the pure rules that pick the next status.

Every store asks these functions inside its own atomic step; none of them awaits, reads a clock or draws a number.
Lua scripts restate them and are held to them by the StoreSuite.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from msgspec.structs import replace

from asyncinfer._job import Job, JobError, NewJob, Status

MoveName = Literal[
    "submit", "claim", "succeed", "fail", "retry", "give_back", "rescue", "request_cancel", "cancel", "expire", "prune"
]
FinishOutcome = Literal["succeeded", "failed", "canceled", "retry"]

HELD_BATCHES = 64
"""A claim looks past so many batches of a model that are held back, and leaves what lies behind for the next."""
STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "canceled")
TERMINAL: frozenset[Status] = frozenset({"succeeded", "failed", "canceled"})


class Move(NamedTuple):
    """One row of the table: from which statuses, to which; what it charges; who makes it."""

    name: MoveName
    sources: tuple[Status | None, ...]
    targets: tuple[Status | None, ...]
    charges: Literal["", "attempt", "failures", "crashes"]
    made_by: str


MOVES: tuple[Move, ...] = (
    Move("submit", (None,), ("queued",), "", "the submitter"),
    Move("claim", ("queued",), ("running",), "attempt", "a worker with room"),
    Move("succeed", ("running",), ("succeeded",), "", "the worker that holds the lease"),
    Move(
        "fail", ("running",), ("failed",), "failures", "the worker that holds the lease, or the rescuer at time_limit"
    ),
    Move("retry", ("running",), ("queued", "canceled"), "failures", "the worker that holds the lease"),
    Move("give_back", ("running",), ("queued", "canceled"), "", "a draining worker"),
    Move("rescue", ("running",), ("queued", "failed", "canceled"), "crashes", "any manager, on proof of loss"),
    Move("request_cancel", ("running",), ("running",), "", "the owner"),
    Move("cancel", ("queued", "running"), ("canceled",), "", "the owner while queued, the worker while running"),
    Move("expire", ("queued",), ("failed",), "", "any manager, or the claim that meets it"),
    Move("prune", ("succeeded", "failed", "canceled"), (None,), "", "any manager"),
)
_LEGAL: frozenset[tuple[Status | None, Status | None]] = frozenset(
    (source, target) for move in MOVES for source in move.sources for target in move.targets
)


def is_legal(source: Status | None, target: Status | None) -> bool:
    """Tell whether some move leads from `source` to `target`; None is "no record"."""
    return (source, target) in _LEGAL


def status_after_finish(outcome: FinishOutcome, *, cancel_requested: bool) -> Status:
    """Return where `finish` leaves a running job: a retry of a job that should be canceled ends it."""
    if outcome != "retry":
        return outcome
    return "canceled" if cancel_requested else "queued"


def accepted(new: NewJob, created_at: int) -> Job:
    """Return the record of a job that has just been inserted; its tag is its store's to know."""
    return Job(
        owner=new.owner,
        id=new.id,
        model=new.model,
        queue=new.queue,
        status="queued",
        revision=1,
        created_at=created_at,
        max_attempts=new.max_attempts,
        crash_budget=new.crash_budget,
        priority=new.priority,
        content_type=new.content_type,
        not_before=new.not_before,
        deadline=new.deadline,
        expire_at=new.expire_at,
        time_limit=new.time_limit,
        fingerprint=new.fingerprint,
        key=new.key,
        labels=new.labels,
        metadata=new.metadata,
        retry_of=new.retry_of,
        traceparent=new.traceparent,
        limit_key=new.limit_key,
        group_id=new.group_id,
        parent_id=new.parent_id,
        has_subscriptions=bool(new.subscriptions),
    )


def status_after_give_back(*, cancel_requested: bool) -> Status:
    """Return where `give_back` leaves a running job."""
    return "canceled" if cancel_requested else "queued"


def status_after_rescue(*, crashes: int, crash_budget: int, cancel_requested: bool) -> Status:
    """Return where `rescue` leaves a running job; `crashes` counts this loss already."""
    if cancel_requested:
        return "canceled"
    return "failed" if crashes >= crash_budget else "queued"


def is_last_chance(*, crashes: int, crash_budget: int) -> bool:
    """Tell whether the next loss would exhaust the crash budget: such a job is claimed solo.

    A budget of 1 does not make every first attempt solo: a job that never crashed is no suspect.
    """
    return 0 < crashes and crashes + 1 >= crash_budget


def tag_step(priority: int) -> float:
    """Return how far one job of `priority` (0 most urgent, 9 least) moves its flow: 0.18 at 0, 1 at 5, 4 at 9."""
    return _STEPS[priority]


def next_tag(virtual_time: float, flow_end: float, priority: int) -> tuple[float, float]:
    """Return (tag, new end of the flow) for a job that becomes ready (start-time fair queueing, Goyal et al. 1996).

    `virtual_time` is the largest tag claimed so far of the model; `flow_end` the end tag of (model, owner, priority).
    """
    tag = virtual_time if virtual_time > flow_end else flow_end
    return tag, tag + _STEPS[priority]


def ready_since(created_at: int, not_before: int | None) -> int:
    """Return when a waiting job became ready; for one given back or rescued, which has waited before, its creation."""
    return created_at if not_before is None or not_before < created_at else not_before


def batch_held_until(ready: Iterable[int], wait: int, now: int) -> int | None:
    """Return until when a batch that is not full is held back for others to join; None when it goes now.

    `ready` says since when each of its jobs is: the oldest waits no longer than `wait`. Where that lies ahead of `now`
    the clock was set back, and the batch goes rather than wait for it to come round again.
    """
    oldest = min(ready)
    return oldest + wait if oldest <= now < oldest + wait else None


def worker_lost_error(worker: str, attempt: int, cause: JobError | None = None) -> JobError:
    """Say why a rescued job is queued again; `cause` is how its process died, where that is known.

    The attempt keeps the code of the cause, such as `out_of_memory`, and its traceback: the tail of standard error.
    """
    message = f"attempt {attempt} was lost with its worker {worker}"
    if cause is None:
        return JobError(code="worker_lost", message=message, retryable=True, attempt=attempt)
    return replace(cause, message=f"{message}: {cause.message}", retryable=True, attempt=attempt)


def crash_budget_error(crashes: int, attempt: int, cause: JobError | None = None) -> JobError:
    """Say why a rescued job is not run again; `crashes` counts the last loss, `cause` is its reason, where known.

    The message ends in the reason, the traceback is the cause's, and `details["cause"]` its code.
    """
    message = f"attempt {attempt} was lost with its worker, crash {crashes} of this job: its crash budget is spent"
    if cause is None:
        return JobError(code="crash_budget", message=message, attempt=attempt)
    return JobError(
        code="crash_budget",
        message=f"{message}: {cause.message}",
        type=cause.type,
        traceback=cause.traceback,
        attempt=attempt,
        details={**cause.details, "cause": cause.code},
    )


def expired_error(code: Literal["queue_timeout", "deadline"], attempt: int) -> JobError:
    """Say why a job failed while it was queued; `attempt` counts what began before."""
    waited = "its deadline passed" if code == "deadline" else "its queue_timeout passed"
    return JobError(code=code, message=f"{waited} while it was queued", attempt=attempt)


def undecodable_error(reason: str, attempt: int) -> JobError:
    """Say why a job whose stored row cannot be read back has failed."""
    return JobError(code="undecodable", message=f"its stored row cannot be read back: {reason}", attempt=attempt)


_STEPS = tuple(2 ** ((priority - 5) / 2) for priority in range(10))
