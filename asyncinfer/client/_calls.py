"""Every call of the contract as a flow: what is asked, and what its answer is made into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, TypedDict, TypeVar

import msgspec

from asyncinfer import Status
from asyncinfer.client._decoding import decoded
from asyncinfer.client._exchange import Answer, Flow, Give, Request
from asyncinfer.client._patience import Patience
from asyncinfer.client._problems import error_of
from asyncinfer.client._repeating import call
from asyncinfer.client._submission import RemoteOptions, key_for, prepare, require_job_id, require_name
from asyncinfer.client.errors import UnexpectedAnswer
from asyncinfer.errors import AsyncinferError, InvalidOption
from asyncinfer.wire import EventList, Health, Job, JobList, Model, ModelList, Purged, Queue

T = TypeVar("T")

MAX_PAGE = 200


class Submitted(NamedTuple):
    """What a submit came to."""

    job: Job
    key: str | None
    is_existing: bool


class JobQuery(TypedDict, total=False):
    """Which jobs: all that is given must hold."""

    status: Status | Iterable[Status]
    """Any of these."""
    model: str
    queue: str
    labels: Mapping[str, str]
    """Each of these."""
    created_after: datetime
    """Aware."""
    created_before: datetime
    """Aware."""


def submit(
    model: str, given: Mapping[str, object] | None, wait: float | None, options: RemoteOptions, patience: Patience
) -> Flow[Submitted]:
    """Submit under one key, made before the first try; whatever is raised carries it."""
    key = key_for(options)
    try:
        prepared = prepare(model, given, wait, options, key)
        answer = yield from call(prepared.request, patience)
        job = _job(answer)
    except AsyncinferError as error:
        error.idempotency_key = key
        raise
    is_replayed = answer.headers.get("idempotent-replayed", "").strip().lower() == "true"
    return Submitted(job, key, is_existing=job.deduplicated or (is_replayed and prepared.is_named))


def job(job_id: str, patience: Patience, *, include: Sequence[str] = ()) -> Flow[Job]:
    query = (("include", ",".join(include)),) if include else ()
    answer = yield from call(Request(method="GET", path=path_of_job(job_id), query=query), patience)
    return _job(answer)


def event_page(job_id: str, after: int, limit: int, patience: Patience) -> Flow[EventList]:
    path, query = f"{path_of_job(job_id)}/events", (("after", str(after)), ("limit", str(limit)))
    answer = yield from call(
        Request(method="GET", path=path, query=query, headers={"accept": "application/json"}), patience
    )
    return decoded(answer.body, EventList, f"the answer of {path}")


def cancel(job_id: str, patience: Patience) -> Flow[Job]:
    answer = yield from call(Request(method="POST", path=f"{path_of_job(job_id)}/cancel"), patience)
    return _job(answer)


def retry(job_id: str, patience: Patience) -> Flow[Job]:
    """Ask for a new job; the contract has no key here, so once it may have been read it is not asked again."""
    request = Request(method="POST", path=f"{path_of_job(job_id)}/retry", repeatable="unless_read")
    answer = yield from call(request, patience)
    return _job(answer)


def delete(job_id: str, patience: Patience) -> Flow[None]:
    yield from call(Request(method="DELETE", path=path_of_job(job_id)), patience)


def page(
    query: JobQuery, patience: Patience, *, after: str | None = None, before: str | None = None, limit: int = 50
) -> Flow[JobList]:
    if not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise InvalidOption(f"limit: expected 1 to {MAX_PAGE}, got {limit!r}")
    asked = [*_filters(query), ("limit", str(limit))]
    asked += [(name, cursor) for name, cursor in (("after", after), ("before", before)) if cursor is not None]
    return (yield from _get("/v1/jobs", JobList, patience, tuple(asked)))


def jobs(query: JobQuery, limit: int | None, patience: Patience) -> Flow[None]:
    """Give every job that matches, at most `limit`, a page at a time."""
    if limit is not None and limit < 1:
        raise InvalidOption(f"limit: expected at least 1, got {limit!r}")
    left, after = limit, None
    while True:
        size = MAX_PAGE if left is None else min(left, MAX_PAGE)
        found = yield from page(query, patience, after=after, limit=size)
        for one in found.data:
            yield Give(one)
        left, after = None if left is None else left - len(found.data), found.next_cursor
        if after is None or left == 0:
            return


def models(patience: Patience) -> Flow[list[Model]]:
    found = yield from _get("/v1/models", ModelList, patience)
    return found.data


def model(name: str, patience: Patience) -> Flow[Model]:
    return (yield from _get(f"/v1/models/{require_name('model', name)}", Model, patience))


def queue(name: str, patience: Patience) -> Flow[Queue]:
    return (yield from _get(f"/v1/queues/{require_name('queue', name)}", Queue, patience))


def purge(name: str, patience: Patience) -> Flow[list[str]]:
    """Cancel what waits; not asked again once it may have been read: it would cancel what came in between."""
    path = f"/v1/queues/{require_name('queue', name)}/purge"
    answer = yield from call(Request(method="POST", path=path, repeatable="unless_read"), patience)
    return decoded(answer.body, Purged, "the answer to a purge").data


def health(patience: Patience) -> Flow[Health]:
    """Ask once: that it is not ready is an answer."""
    once = msgspec.structs.replace(patience, max_retries=0)
    request = Request(method="GET", path="/readyz")
    answer = yield from call(request, once, accepted=503)
    try:
        return decoded(answer.body, Health, "the answer of /readyz")
    except UnexpectedAnswer:
        if answer.status == 503:
            raise error_of(request, answer) from None
        raise


def path_of_job(job_id: str) -> str:
    return f"/v1/jobs/{require_job_id(job_id)}"


def _get(path: str, kind: type[T], patience: Patience, query: tuple[tuple[str, str], ...] = ()) -> Flow[T]:
    answer = yield from call(Request(method="GET", path=path, query=query), patience)
    return decoded(answer.body, kind, f"the answer of {path}")


def _job(answer: Answer) -> Job:
    return decoded(answer.body, Job, "the answer")


def _filters(query: JobQuery) -> list[tuple[str, str]]:
    status = query.get("status", ())
    statuses = [status] if isinstance(status, str) else list(status)
    asked = [("status", ",".join(statuses))] if statuses else []
    names = {"model": query.get("model"), "queue": query.get("queue")}
    asked += [(name, text) for name, text in names.items() if text is not None]
    bounds = {"created_after": query.get("created_after"), "created_before": query.get("created_before")}
    for name, when in bounds.items():
        if when is not None:
            if when.utcoffset() is None:
                raise InvalidOption(f"{name}: expected an aware datetime")
            asked.append((name, when.isoformat()))
    return asked + [(f"label.{name}", text) for name, text in query.get("labels", {}).items()]
