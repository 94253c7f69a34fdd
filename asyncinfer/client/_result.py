"""Waiting for a job to end: long polls, one after the other, through lost connections."""

from __future__ import annotations

import math
from typing import Any

from asyncinfer.client._calls import path_of_job
from asyncinfer.client._decoding import decoded, fitted
from asyncinfer.client._events import raise_if_bad
from asyncinfer.client._exchange import Answer, Flow, Request, Wait
from asyncinfer.client._patience import Patience, require_seconds
from asyncinfer.client._repeating import Budget, call
from asyncinfer.client.errors import ConnectionLost, ServiceFailed
from asyncinfer.errors import JobExpired, Refused, StoreUnavailable
from asyncinfer.lifecycle import TERMINAL
from asyncinfer.wire import Job

POLL_SECONDS = 30.0
"""How long the service is asked to hold one look at a job that has not ended."""
LOOK_SECONDS = 1.0
"""What a look may take beyond the caller's timeout, so that `timeout=0` can look at all."""
EARLY_SECONDS = 1.0
"""An unfinished job answered sooner than this was not held: wait before the next look."""
MAX_EARLY_WAIT = 30.0


def result(
    job_id: str, timeout: float | None, kind: type[Any] | None, patience: Patience, known: Job | None
) -> Flow[Any]:  # Any: the JSON of the model, or the caller's `kind`
    """Wait for the end and return the output, as `kind` if that is given."""
    ended = yield from ending(job_id, timeout, patience, known)
    output = ended.output
    if output is None:
        # A result that is null, or one whose retention has passed: only its own resource tells them apart.
        answer = yield from _read_result(job_id, "application/json", patience)
        output = decoded(answer.body, object, f"the result of job {job_id}")
    return output if kind is None else fitted(output, kind, f"the result of job {job_id}")


def result_bytes(job_id: str, timeout: float | None, patience: Patience, known: Job | None) -> Flow[bytes]:
    """Wait for the end and return the output as it is served: raw bytes where the model gave bytes, else JSON."""
    yield from ending(job_id, timeout, patience, known)
    answer = yield from _read_result(job_id, "application/octet-stream, application/json;q=0.9", patience)
    return answer.body


def ending(job_id: str, timeout: float | None, patience: Patience, known: Job | None) -> Flow[Job]:
    """Wait for the job to succeed.

    Raises JobFailed and JobCanceled, TimeoutError after `timeout` seconds, and what a look raises.
    """
    timing = patience.timing
    deadline = None if timeout is None else timing.monotonic() + require_seconds("timeout", timeout)
    job = known
    while job is None or job.status not in TERMINAL:
        job = yield from _look(job_id, deadline, patience)
    raise_if_bad(job_id, job)
    return job


def _look(job_id: str, deadline: float | None, patience: Patience) -> Flow[Job]:
    """Long-poll once. After an answer that came too soon, or none by the deadline, wait as long as it makes sense."""
    timing = patience.timing
    began_at = timing.monotonic()
    hold = POLL_SECONDS if deadline is None else min(POLL_SECONDS, max(deadline - began_at, 0.0))
    request = _poll(job_id, hold)
    patient_until = began_at + hold + patience.reconnect_for
    until = patient_until if deadline is None else min(patient_until, max(deadline, began_at + LOOK_SECONDS))
    try:
        answer = yield from call(request, patience, Budget(until, None))
    except (ConnectionLost, ServiceFailed, Refused, StoreUnavailable) as error:
        if deadline is None or until == patient_until:
            raise
        yield Wait(max(deadline - timing.monotonic(), 0.0))
        raise _timed_out(job_id) from error
    job = decoded(answer.body, Job, f"the answer about job {job_id}")
    if job.status in TERMINAL:
        return job
    now = timing.monotonic()
    left = math.inf if deadline is None else deadline - now
    if left > 0 and now - began_at < EARLY_SECONDS:
        yield Wait(min(job.retry_after_seconds or EARLY_SECONDS, MAX_EARLY_WAIT, left))
        left = math.inf if deadline is None else deadline - timing.monotonic()
    if left <= 0:
        raise _timed_out(job_id)
    return job


def _poll(job_id: str, hold: float) -> Request:
    query = (("wait", str(math.ceil(hold))),) if hold else ()
    return Request(method="GET", path=path_of_job(job_id), query=query, hold=hold)


def _read_result(job_id: str, accept: str, patience: Patience) -> Flow[Answer]:
    request = Request(method="GET", path=f"{path_of_job(job_id)}/result", headers={"accept": accept})
    answer = yield from call(request, patience)
    if answer.status != 200:
        raise JobExpired(f"job {job_id} has ended, but its result cannot be read")
    return answer


def _timed_out(job_id: str) -> TimeoutError:
    return TimeoutError(f"job {job_id} has not ended in time; it goes on")
