"""Look at jobs: one, its result, or many; wait for one to change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from asyncinfer import Job, JobFilter, JobHandle, Status, wire
from asyncinfer._json import is_bytes, raw_bytes
from asyncinfer.abc import JSON
from asyncinfer.adapters._job_answer import told_value
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._headers import etag_of, known_revisions
from asyncinfer.adapters.http._job_webhooks import webhooks_of
from asyncinfer.adapters.http._paths import ID
from asyncinfer.adapters.http._problems import invalid, problem
from asyncinfer.errors import UnknownJob

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,20})?([eE](\+?\d{1,2}|-\d{1,3}))?")
_COUNT = re.compile(r"\d{1,9}")
_LABEL = "label."
_STATUSES: tuple[Status, ...] = get_args(Status)
LONGEST_PAGE = 200
LONGEST_WAIT = 86_400
"""Seconds that may be asked for; `Bounds.wait_seconds` are given."""


async def get(call: Call) -> Answer:
    """Answer with the job, at once or (`wait`) when it has ended or changed."""
    query = call.query("wait", "until", "include")
    wait = min(seconds_in(query, "wait"), call.service.bounds.wait_seconds)
    until = query.get("until", "terminal")
    if until not in ("terminal", "change"):
        raise invalid("until", "expected terminal or change")
    include = _included(query)
    handle, job = await found(call)
    await call.may("read", job)
    known = known_revisions(call.headers)
    if wait and not job.is_terminal:
        beyond = None if until == "terminal" else max(known, default=job.revision)
        if beyond is None or job.revision <= beyond:
            waited = await call.while_connected(handle.wait(wait, after=beyond))
            if waited is None:
                raise problem("draining", "ask again", retry_after=1)
            job = waited
    if job.revision in known:
        return Answer(304, b"", [(b"etag", etag_of(job.revision))])
    return await job_answer(call, job, include=include)


async def result(call: Call) -> Answer:
    """Answer with the result alone: bytes as they are, everything else as JSON."""
    call.query()
    _, job = await found(call)
    await call.may("result", job)
    if not job.is_terminal:
        # A poller that waits for another answer than 202 stays here; one that reads a status goes to the job.
        url = call.service.jobs.url(job.id).encode()
        return await job_answer(call, job, 202, [(b"location", url + b"/result"), (b"operation-location", url)])
    if job.status != "succeeded":
        raise problem("no-result", f"the job ended {job.status}", job_id=job.id, code=job.error and job.error.code)
    if job.result is None:
        raise problem("job-expired", "the result's retention has passed", job_id=job.id)
    headers = [(b"etag", etag_of(job.revision))]
    if is_bytes(job.result):
        return Answer(200, raw_bytes(job.result), [(b"content-type", b"application/octet-stream"), *headers])
    return Answer(200, bytes(await told_value(job.result)), [(b"content-type", b"application/json"), *headers])


async def find(call: Call) -> Answer:
    """Answer with a page of jobs, newest first."""
    await call.may("list")
    filters = ("status", "model", "queue", "created_after", "created_before")
    query = call.query(*filters, "limit", "after", "before", prefix=_LABEL)
    matching = JobFilter(
        status=_statuses(query),
        model=query.get("model"),
        queue=query.get("queue"),
        created_after=milliseconds_in(query, "created_after"),
        created_before=milliseconds_in(query, "created_before"),
        labels={name.removeprefix(_LABEL): text for name, text in query.items() if name.startswith(_LABEL)},
    )
    if "after" in query and "before" in query:
        raise invalid("before", "expected none beside after")
    limit = count_in(query, "limit", default=50, highest=LONGEST_PAGE)
    try:
        page = await call.owned.find(matching, after=query.get("after"), before=query.get("before"), limit=limit)
    except ValueError:
        raise invalid("after" if "after" in query else "before", "this is no cursor of this listing") from None
    now = call.now()
    listed = wire.JobList(
        data=[call.service.jobs.job(job, now) for job in page.jobs],
        next_cursor=page.next_cursor,
        prev_cursor=page.prev_cursor,
    )
    return answer(listed, 200, _links(call, query, listed))


async def found(call: Call) -> tuple[JobHandle[Any], Job]:
    """Return the job that the path names, of who asks. Raises UnknownJob or JobExpired."""
    handle = handle_of(call)
    return handle, await handle.job()


def handle_of(call: Call) -> JobHandle[Any]:
    """Return a handle of the job that the path names; nothing is looked up. Raises UnknownJob for an impossible id."""
    job_id = call.path["id"]
    if ID.fullmatch(job_id) is None:
        raise UnknownJob("there is no such job")
    return call.owned.handle(job_id)


async def job_answer(
    call: Call,
    job: Job,
    status: int = 200,
    headers: Sequence[tuple[bytes, bytes]] = (),
    *,
    is_new: bool = False,
    is_placed: bool = True,
    is_deduplicated: bool = False,
    include: frozenset[str] = frozenset(),
) -> Answer:
    """Return a job as the answer; `is_new` says where it is, `is_placed` where it stands in its queue."""
    place = None
    if job.status == "queued":
        place = await _place(call, job) if is_placed else wire.Place(name=job.queue, position=None, eta_seconds=None)
    told = await call.service.jobs.told(job, call.now(), place=place, is_deduplicated=is_deduplicated)
    if job.has_subscriptions:
        told = replace(told, webhook=await webhooks_of(call, job))
    if include:
        told = replace(
            told,
            input=await _input(call, job) if "input" in include else UNSET,
            attempts=(
                call.service.jobs.attempts(await call.owned.attempts(job.id)) if "attempts" in include else UNSET
            ),
        )
    all_headers = [(b"etag", etag_of(job.revision)), *headers]
    if told.retry_after_seconds is not None:
        all_headers.append((b"retry-after", b"%d" % told.retry_after_seconds))
    if is_new:
        url = told.links.self.encode()
        all_headers += [(b"location", url), (b"operation-location", url)]
    return answer(told, status, all_headers)


def seconds_in(query: dict[str, str], name: str) -> float:
    """Return a query parameter of seconds; 0 when it is not given."""
    given = query.get(name, "0")
    if _SECONDS.fullmatch(given) is None or not given.isascii() or float(given) > LONGEST_WAIT:
        raise invalid(name, f"expected seconds from 0 to {LONGEST_WAIT}")
    return float(given)


def count_in(query: dict[str, str], name: str, *, default: int, highest: int, lowest: int = 1) -> int:
    """Return a query parameter that counts."""
    given = query.get(name, str(default))
    if _COUNT.fullmatch(given) is None or not given.isascii() or not lowest <= int(given) <= highest:
        raise invalid(name, f"expected a whole number from {lowest} to {highest}")
    return int(given)


def milliseconds_in(query: dict[str, str], name: str) -> int | None:
    """Return a query parameter that is an instant."""
    given = query.get(name)
    if given is None:
        return None
    try:
        when = msgspec.convert(given, datetime)
    except msgspec.ValidationError:
        when = None
    if when is None or when.tzinfo is None:
        raise invalid(name, "expected an instant as in RFC 3339, with its offset")
    return round(when.timestamp() * 1000)


async def _place(call: Call, job: Job) -> wire.Place:
    ahead = await call.owned.position(job.id)
    eta = None if ahead is None else call.owned.eta(job.model, ahead)
    return wire.Place(name=job.queue, position=ahead, eta_seconds=eta and round(eta, 3))


async def _input(call: Call, job: Job) -> msgspec.Raw:
    submitted = await call.owned.submission(job.id)
    if submitted.content_type == JSON:
        return msgspec.Raw(submitted.input)
    return await told_value(submitted.input)


def _included(query: dict[str, str]) -> frozenset[str]:
    include = frozenset(name for name in query.get("include", "").split(",") if name)
    if not include <= {"input", "attempts"}:
        raise invalid("include", "expected input, attempts or both, parted by a comma")
    return include


def _statuses(query: dict[str, str]) -> tuple[Status, ...]:
    given = {status for status in query.get("status", "").split(",") if status}
    if not given <= set(_STATUSES):
        raise invalid("status", f"expected some of {', '.join(_STATUSES)}, parted by commas")
    return tuple(status for status in _STATUSES if status in given)


def _links(call: Call, query: dict[str, str], page: wire.JobList) -> list[tuple[bytes, bytes]]:
    rest = {name: value for name, value in query.items() if name not in ("after", "before")}
    url = f"{call.service.base_url}/v1/jobs"
    turns = (("next", "after", page.next_cursor), ("prev", "before", page.prev_cursor))
    links = [
        f'<{url}?{urlencode({**rest, name: cursor})}>; rel="{relation}"' for relation, name, cursor in turns if cursor
    ]
    return [(b"link", ", ".join(links).encode())] if links else []
