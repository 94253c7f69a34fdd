"""Submit a job: `POST /v1/jobs`, and `PUT /v1/jobs/{id}` with an id of the client's choice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from asyncinfer import Job, JobHandle, Retention, RetryPolicy, Submission, SubmitOptions, Subscription, wire
from asyncinfer._codec import UNREADABLE, canonical_encoder, misfit
from asyncinfer._offload import offload
from asyncinfer._weight import HEAVY_BYTES
from asyncinfer.adapters.http._call import Answer, Call
from asyncinfer.adapters.http._headers import idempotency_key, preference, traceparent
from asyncinfer.adapters.http._job_webhooks import subscription_of
from asyncinfer.adapters.http._look import job_answer
from asyncinfer.adapters.http._paths import ID
from asyncinfer.adapters.http._problems import invalid, pointer_of

_decoder = msgspec.json.Decoder(wire.Submit)
_EMPTY = Raw(b"{}")
_A_MILLISECOND = timedelta(milliseconds=1)


async def submit(call: Call) -> Answer:
    """Store a job and answer with it, at once or (`Prefer: wait=N`) when it has ended within N seconds."""
    await call.may("submit")
    return await _submit(call, None)


async def put(call: Call) -> Answer:
    """The same with an id of the client's choice, which makes it idempotent for the whole retention."""
    job_id = call.path["id"]
    if ID.fullmatch(job_id) is None:
        raise invalid("id", "expected 1 to 64 of A-Z a-z 0-9 _ -")
    await call.may("submit")
    return await _submit(call, job_id)


async def _submit(call: Call, job_id: str | None) -> Answer:
    call.query()
    key = idempotency_key(call.headers)
    handle, job = await _store(call, key, job_id)
    preferred = preference(call.headers, call.service.bounds.wait_seconds)
    if preferred.wait and not job.is_terminal:
        # When the manager drains meanwhile, the job is stored all the same: it is answered as it stands.
        job = await call.while_connected(handle.wait(preferred.wait)) or await handle.job()
    is_replay = handle.is_existing and (job_id is not None or (key is not None and job.key == key))
    headers = [(b"vary", b"Prefer")]
    if preferred.applied:
        headers.append((b"preference-applied", preferred.applied))
    if is_replay:
        headers.append((b"idempotent-replayed", b"true"))
    return await job_answer(
        call,
        job,
        200 if job.is_terminal else 202,
        headers,
        is_new=True,
        # What has just been accepted is told without a look at the store; its place is for those who ask again.
        is_placed=handle.is_existing or preferred.wait > 0,
        is_deduplicated=handle.is_existing and not is_replay,
    )


async def _store(call: Call, key: str | None, job_id: str | None) -> tuple[JobHandle[Any], Job]:
    """Store the job of a request; its body is let go of before anybody waits for the job."""
    async with call.json_body() as data:
        asked = _decode(data)
        webhook = await subscription_of(call, asked.webhook)
        return await call.owned.submit_bound(await _bind(call, asked, webhook, key, job_id))


def _decode(data: bytes) -> wire.Submit:
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        path, message = misfit(error, "body")
        raise invalid(pointer_of(path.removeprefix("body")), message) from None


async def _bind(
    call: Call, asked: wire.Submit, webhook: Subscription | None, key: str | None, job_id: str | None
) -> Submission[Any]:
    """Return the submission of a request. Raises InvalidInput, InvalidOption or UnknownModel."""
    model = call.owned.model(asked.model)
    options = _options(call, asked, key, job_id)
    if webhook is not None:
        options["webhook"] = webhook
    if options:
        model = model.options(**options)
    if len(memoryview(asked.input)) > HEAVY_BYTES:
        submission = await offload(model.bind_json, bytes(asked.input))
    else:
        submission = model.bind_json(bytes(asked.input))
    if key is None and job_id is None:
        return submission
    return replace(submission, request=_rest_of(asked))


def _options(call: Call, asked: wire.Submit, key: str | None, job_id: str | None) -> SubmitOptions:
    options: SubmitOptions = {}
    if asked.priority != 5:
        options["priority"] = asked.priority
    if asked.not_before is not None:
        options["not_before"] = _in_utc("/not_before", asked.not_before)
    if asked.delay_seconds is not None:
        options["delay"] = asked.delay_seconds
    if asked.deadline is not None:
        options["deadline"] = _in_utc("/deadline", asked.deadline)
    if asked.queue_timeout_seconds is not UNSET:
        options["queue_timeout"] = asked.queue_timeout_seconds
    if asked.time_limit_seconds is not UNSET:
        options["time_limit"] = asked.time_limit_seconds
    if asked.retry is not None:
        options["retry"] = _policy(asked.retry)
    if asked.retention_result_seconds is not UNSET or asked.retention_record_seconds is not UNSET:
        options["retention"] = _retention(call.owned.retention, asked)
    if asked.dedup is not None:
        options["dedup"] = asked.dedup.ttl_seconds
    if asked.labels:
        options["labels"] = asked.labels
    if asked.metadata is not None:
        options["metadata"] = asked.metadata
    if key is not None:
        options["idempotency_key"] = key
    if job_id is not None:
        options["job_id"] = job_id
    trace = traceparent(call.headers)
    if trace is not None:
        options["traceparent"] = trace
    return options


def _in_utc(pointer: str, when: datetime) -> datetime:
    try:
        in_utc = when.astimezone(UTC)
        _ = in_utc + _A_MILLISECOND  # by which it may be rounded up
    except OverflowError:
        raise invalid(pointer, "expected an instant in the years 1 to 9999 of UTC") from None
    return in_utc


def _policy(retry: wire.Retry) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=retry.max_attempts,
        initial_delay=retry.initial_delay_seconds,
        max_delay=max(retry.max_delay_seconds, retry.initial_delay_seconds),
        multiplier=retry.multiplier,
    )


def _retention(default: Retention, asked: wire.Submit) -> Retention:
    result, record = asked.retention_result_seconds, asked.retention_record_seconds
    return replace(
        default,
        result=default.result if result is UNSET else result,
        record=default.record if record is UNSET else record,
    )


def _rest_of(asked: wire.Submit) -> bytes:
    """Return what must be equal, besides model and input, when a key comes again; a webhook is added instead."""
    rest = replace(asked, input=_EMPTY, webhook=None)
    if rest == wire.Submit(model=asked.model, input=_EMPTY):
        return b""
    return canonical_encoder.encode(replace(rest, input=Raw(b"\xc0")))
