"""What each route takes and gives: the one table from which the routes and the OpenAPI document are made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from asyncinfer import Status, wire
from asyncinfer.adapters.http import _catalog, _change, _events, _look, _status, _submit
from asyncinfer.adapters.http._operation import CURSOR, INSTANT, TEXT, Gives, Json, Method, Operation, Parameter
from asyncinfer.adapters.http._webhook_operations import WEBHOOKS

_WAIT: Json = {"type": "number", "minimum": 0, "maximum": _look.LONGEST_WAIT}
_EVENT_ID: Json = {"type": "integer", "minimum": 0, "maximum": _events.HIGHEST_ID}


def _some_of(*names: str) -> Json:
    return {"type": "array", "items": {"enum": list(names)}}


_ID = Parameter("id", "path", {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}, "The job.")
_NAME = Parameter("name", "path", {"type": "string", "minLength": 1, "maxLength": 128}, "Its name.")
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "The same key and body again is answered with the same job.",
)
_PREFER = Parameter("Prefer", "header", TEXT, "`respond-async` (the default) or `wait=N`, N seconds, at most 60.")
_TRACE = Parameter("traceparent", "header", TEXT, "The W3C trace context that the job belongs to.")
_CONDITION = Parameter("If-None-Match", "header", TEXT, "The ETag of the job as it is known: 304 if it still is so.")

_MADE = ("Location", "Operation-Location", "ETag", "Retry-After")
_SUBMITS: tuple[wire.ProblemSlug, ...] = (
    "model-not-found",
    "not-found",
    "request-timeout",
    "job-expired",
    "payload-too-large",
    "unsupported-media-type",
    "validation",
    "idempotency-key-reused",
    "webhook-url-rejected",
    "quota-exceeded",
    "queue-full",
    "storage-full",
)
_SUBMITTED = {
    200: Gives("It has ended: within the wait, or it is a replay of an ended one.", wire.Job, _MADE),
    202: Gives("It is stored and will run.", wire.Job, _MADE),
}
_ONE_JOB: tuple[wire.ProblemSlug, ...] = ("job-not-found", "job-expired", "validation")

OPERATIONS: Mapping[str, Mapping[Method, Operation]] = {
    "/v1/jobs": {
        "POST": Operation(
            id="submitJob",
            handler=_submit.submit,
            says="Submit a job.",
            parameters=(_KEY, _PREFER, _TRACE),
            takes=wire.Submit,
            gives=_SUBMITTED,
            problems=_SUBMITS,
        ),
        "GET": Operation(
            id="listJobs",
            handler=_look.find,
            says="List jobs, newest first, without outputs.",
            parameters=(
                Parameter(
                    "status",
                    "query",
                    _some_of(*get_args(Status)),
                    "Some of the statuses, parted by commas.",
                    ["queued"],
                ),
                Parameter("model", "query", TEXT, "Of this model."),
                Parameter("queue", "query", TEXT, "Of this queue."),
                Parameter("created_after", "query", INSTANT, "Not before this instant."),
                Parameter("created_before", "query", INSTANT, "Not after this instant."),
                Parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 200}, "How many; default 50."),
                Parameter("after", "query", CURSOR, "The `next_cursor` of a page."),
                Parameter("before", "query", CURSOR, "The `prev_cursor` of a page; not beside `after`."),
            ),
            gives={200: Gives("A page. Labels filter too: `label.NAME=TEXT`.", wire.JobList, ("Link",))},
            problems=("validation",),
        ),
    },
    "/v1/jobs/{id}": {
        "PUT": Operation(
            id="putJob",
            handler=_submit.put,
            says="Submit a job with an id of your choice: repeating it is harmless for the whole retention.",
            parameters=(_ID, _KEY, _PREFER, _TRACE),
            takes=wire.Submit,
            gives=_SUBMITTED,
            problems=_SUBMITS,
        ),
        "GET": Operation(
            id="getJob",
            handler=_look.get,
            says="Look at a job, or wait for it.",
            parameters=(
                _ID,
                Parameter(
                    "wait", "query", _WAIT, "Seconds to wait until it has ended (see `until`); more than 60 are 60."
                ),
                Parameter("until", "query", {"enum": ["terminal", "change"]}, "What to wait for; default terminal."),
                Parameter(
                    "include", "query", _some_of("input", "attempts"), "Some more of it, parted by a comma.", ["input"]
                ),
                _CONDITION,
            ),
            gives={200: Gives("The job.", wire.Job, ("ETag", "Retry-After")), 304: Gives("It is as you know it.")},
            problems=_ONE_JOB,
        ),
        "DELETE": Operation(
            id="deleteJob",
            handler=_change.delete,
            says="Forget an ended job; cancel and forget a waiting one.",
            parameters=(_ID,),
            gives={204: Gives("It is forgotten.")},
            problems=(*_ONE_JOB, "job-not-terminal"),
        ),
    },
    "/v1/jobs/{id}/result": {
        "GET": Operation(
            id="getResult",
            handler=_look.result,
            says="The result alone: bytes as they are, everything else as JSON.",
            parameters=(_ID,),
            gives={
                200: Gives("The result.", Any, ("ETag",), "application/json, application/octet-stream"),
                202: Gives("The job has not ended.", wire.Job, _MADE),
            },
            problems=(*_ONE_JOB, "no-result"),
        )
    },
    "/v1/jobs/{id}/events": {
        "GET": Operation(
            id="getEvents",
            handler=_events.events,
            says="What the job tells: a page, or with `Accept: text/event-stream` all of it as it happens.",
            parameters=(
                _ID,
                Parameter("after", "query", _EVENT_ID, "What lies behind this id."),
                Parameter(
                    "limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}, "Of a page; default 200."
                ),
                Parameter(
                    "Last-Event-ID",
                    "header",
                    {"type": "string", "pattern": "^[0-9]{0,18}$"},
                    "As `after`, from a stream that was cut; it wins.",
                ),
            ),
            gives={
                200: Gives("A page, or a stream.", wire.EventList, (), "application/json, text/event-stream"),
                204: Gives("The stream has been read to its end."),
            },
            problems=_ONE_JOB,
        )
    },
    "/v1/jobs/{id}/cancel": {
        "POST": Operation(
            id="cancelJob",
            handler=_change.cancel,
            says="Cancel a waiting job, ask a running one to stop; an ended one stays as it is.",
            parameters=(_ID,),
            gives={
                200: Gives("It has ended.", wire.Job, ("ETag",)),
                202: Gives("It is asked to stop.", wire.Job, ("ETag", "Retry-After")),
            },
            problems=_ONE_JOB,
        )
    },
    "/v1/jobs/{id}/retry": {
        "POST": Operation(
            id="retryJob",
            handler=_change.retry,
            says="Run an ended job again, as a new one with `retry_of`.",
            parameters=(_ID,),
            gives={202: Gives("The new job.", wire.Job, _MADE)},
            problems=(*_ONE_JOB, "job-not-terminal", "quota-exceeded", "queue-full", "storage-full"),
        )
    },
    "/v1/models": {
        "GET": Operation(
            id="listModels",
            handler=_catalog.models,
            says="Every model.",
            gives={200: Gives("All.", wire.ModelList)},
            problems=("validation",),
        )
    },
    "/v1/models/{name}": {
        "GET": Operation(
            id="getModel",
            handler=_catalog.model,
            says="One model, with the JSON Schemas of its input and output.",
            parameters=(_NAME,),
            gives={200: Gives("The model.", wire.Model)},
            problems=("model-not-found", "validation"),
        )
    },
    "/v1/queues/{name}": {
        "GET": Operation(
            id="getQueue",
            handler=_catalog.queue,
            says="How your jobs stand in a queue.",
            parameters=(_NAME,),
            gives={200: Gives("The queue.", wire.Queue)},
            problems=("not-found", "validation"),
        )
    },
    "/v1/queues/{name}/purge": {
        "POST": Operation(
            id="purgeQueue",
            handler=_catalog.purge,
            says="Cancel your waiting jobs of a queue.",
            parameters=(_NAME,),
            gives={200: Gives("Their ids.", wire.Purged)},
            problems=("not-found", "validation"),
        )
    },
    **WEBHOOKS,
    "/healthz": {
        "GET": Operation(
            id="isLive",
            handler=_status.live,
            says="Whether the process works; if not, start it again.",
            gives={200: Gives("It does.", wire.Health), 503: Gives("It does not.", wire.Health)},
            is_public=True,
        )
    },
    "/readyz": {
        "GET": Operation(
            id="isReady",
            handler=_status.ready,
            says="Whether it takes jobs now.",
            gives={200: Gives("It does.", wire.Health), 503: Gives("It does not.", wire.Health)},
            is_public=True,
        )
    },
    "/metrics": {
        "GET": Operation(
            id="getMetrics",
            handler=_status.metrics,
            says="The metrics of this process and its store, for Prometheus.",
            gives={200: Gives("Text exposition, or OpenMetrics by `Accept`.", Any, (), "text/plain")},
        )
    },
    "/openapi.json": {
        "GET": Operation(
            id="getOpenAPI",
            handler=_status.openapi,
            says="This document.",
            gives={200: Gives("OpenAPI 3.1.", Any)},
            is_public=True,
        )
    },
    "/": {
        "GET": Operation(
            id="getService",
            handler=_status.service,
            says="What this is, and where to go on.",
            gives={200: Gives("The service.", wire.Service)},
            is_public=True,
        )
    },
}
