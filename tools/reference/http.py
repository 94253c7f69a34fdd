"""The HTTP contract: its operations, problems and records, from the tables and types that the server is made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

import msgspec
from msgspec import Struct

from asyncinfer import wire
from asyncinfer.adapters.http import Action
from asyncinfer.adapters.http._openapi import openapi_of
from asyncinfer.adapters.http._operation import Gives, Operation, Parameter
from asyncinfer.adapters.http._operations import OPERATIONS
from asyncinfer.adapters.http._problems import status_of
from tools.reference.http_words import MEANINGS, RETRY_AFTER, WHEN
from tools.reference.markdown import code, prose, table
from tools.reference.source import attributes

Json = dict[str, Any]  # Any: JSON has no type of its own

OBJECTS = {"Submit.input"}
"""Members that another decoder reads: their schema does not say what they are."""
MOST_WORDS = 8
"""An enumeration of more is a string here: what it may say stands elsewhere."""
ACTIONS: dict[Action, tuple[str, ...]] = {
    "submit": ("submitJob", "putJob"),
    "read": ("getJob",),
    "result": ("getResult",),
    "events": ("getEvents",),
    "cancel": ("cancelJob",),
    "retry": ("retryJob",),
    "delete": ("deleteJob",),
    "list": ("listJobs",),
    "models": ("listModels", "getModel"),
    "queue": ("getQueue",),
    "purge": ("purgeQueue",),
    "webhooks": (
        "listDeliveriesOfJob", "registerWebhook", "listWebhooks", "getWebhook", "changeWebhook", "deleteWebhook",
        "verifyWebhook", "rotateWebhookSecret", "testWebhook", "recoverWebhook", "listDeliveries", "getDelivery",
        "redeliver",
    ),
    "metrics": ("getMetrics",),
}  # fmt: skip
ABOUT_A_JOB = {"read", "result", "events", "cancel", "retry", "delete"}
ABOUT_SOME_JOBS = {"webhooks": "the job with `…/deliveries`, else None"}


class Route(Struct, frozen=True):
    """One method of one path."""

    method: str
    path: str
    operation: Operation

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


ROUTES = tuple(
    Route(method, path, operation) for path, methods in OPERATIONS.items() for method, operation in methods.items()
)
RECORDS: dict[str, tuple[type[Struct], ...]] = {
    "requests": (wire.Submit, wire.Retry, wire.Dedup, wire.Webhook),
    "jobs": (
        wire.Job, wire.Error, wire.Progress, wire.Place, wire.Metrics, wire.JobLinks, wire.Attempt, wire.JobList,
    ),
    "events": (
        wire.EventList, wire.StatusEvent, wire.ProgressEvent, wire.OutputEvent, wire.ResetEvent, wire.GapEvent,
    ),
    "catalog": (wire.Model, wire.ModelList, wire.Queue, wire.Purged, wire.Health, wire.Service),
    "problems": (wire.Problem, wire.FieldError),
    "webhooks": (
        wire.RegisterWebhook, wire.ChangeWebhook, wire.Recover, wire.JobReference, wire.JobProgress, wire.JobOutput,
        wire.WebhookEndpoint,
        wire.WebhookEndpointList, wire.Delivery, wire.DeliveryAttempt, wire.DeliveryList, wire.Recovered,
        wire.WebhookState,
    ),
}  # fmt: skip
"""By the block that shows them; together every record of the wire."""


def routes() -> str:
    """Return every route with what it does and its successes."""
    return table(
        ["route", "answers", "what it does"],
        [
            [
                f"[{code(one.name)}](#{_anchor(one.name)})",
                ", ".join(str(status) for status in one.operation.gives),
                one.operation.says,
            ]
            for one in ROUTES
        ],
    )


def operations() -> str:
    """Return a section for each operation."""
    told = msgspec.json.decode(openapi_of(""), type=Json)
    return "\n\n".join(_section(one, told["paths"][one.path][one.method.lower()]["responses"]) for one in ROUTES)


def problems() -> str:
    """Return every problem that an answer can be."""
    return table(
        ["slug", "status", "when", "`Retry-After`"],
        [
            [code(slug), str(status_of(slug)), WHEN[slug], RETRY_AFTER.get(slug, "")]
            for slug in get_args(wire.ProblemSlug)
        ],
    )


def actions() -> str:
    """Return which operation asks `authorize` for which action."""
    names = {one.operation.id: one.name for one in ROUTES}
    return table(
        ["action", "asked by", "`job`"],
        [
            [
                code(action),
                ", ".join(code(names[operation]) for operation in ACTIONS[action]),
                ABOUT_SOME_JOBS.get(action, "the job" if action in ABOUT_A_JOB else "None"),
            ]
            for action in get_args(Action)
        ],
    )


def records(several: Iterable[type[Struct]]) -> Callable[[], str]:
    """Return what makes the block of these records of the wire."""
    return lambda: "\n\n".join(_record(kind) for kind in several)


def _record(kind: type[Struct]) -> str:
    """Return the members of one record: of a request also what holds when they are left out."""
    schema: Json = msgspec.json.schema(kind)["$defs"][kind.__name__]
    is_request = kind.__struct_config__.forbid_unknown_fields
    rows: list[list[str]] = []
    if kind.__struct_config__.tag is not None:
        rows.append([code("kind"), f'"{kind.__struct_config__.tag}"', "Which event it is."])
    for one in attributes(kind):
        member = schema["properties"][one.name]
        form = "object" if f"{kind.__name__}.{one.name}" in OBJECTS else _shape(member)
        if "datetime" in one.annotation:  # of an answer, which the schema takes for any text
            form = form.replace("string", "instant")
        default = [_default(member, is_required=one.name in schema.get("required", ()))] if is_request else []
        rows.append([code(one.name), form, *default, one.doc or MEANINGS[f"{kind.__name__}.{one.name}"]])
    head = ["member", "JSON", *(["when left out"] if is_request else []), "meaning"]
    return f"### {kind.__name__}\n\n{prose(kind.__doc__ or '')}\n\n{table(head, rows)}"


def _shape(schema: Json) -> str:
    """Return what JSON a schema takes, in words."""
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return _link(schema["$ref"].rpartition("/")[2])
    if "enum" in schema and len(schema["enum"]) <= MOST_WORDS:
        return " or ".join(f'"{one}"' for one in schema["enum"])
    if schema.get("format") == "date-time":
        return "instant"
    kind = "string" if "enum" in schema else schema.get("type", "any")
    if kind == "array":
        return f"array of {_shape(schema.get('items', {}))}"
    if kind == "object" and "additionalProperties" in schema:
        return f"object of {_shape(schema['additionalProperties'])}"
    return f"{kind}{_bounds(schema)}"


def _section(one: Route, responses: Json) -> str:
    operation = one.operation
    parts = [f"### {one.name}", operation.says]
    if operation.parameters:
        parts.append(_parameters(operation.parameters))
    answers = [_gives(status, gives) for status, gives in operation.gives.items()]
    if operation.takes is not None:
        answers.insert(0, f"* Body: {_link(operation.takes.__name__)}.")
    refusals = [
        f"{status} {told['description']}" for status, told in responses.items() if int(status) not in operation.gives
    ]
    if refusals:
        answers.append(f"* Problems: {' · '.join(refusals)}.")
    return "\n\n".join([*parts, "\n".join(answers)])


def _parameters(several: Iterable[Parameter]) -> str:
    rows = [[code(one.name), one.place, _shape(one.schema).replace("array of", "some of"), one.says] for one in several]
    return table(["name", "in", "form", "meaning"], rows)


def _gives(status: int, gives: Gives) -> str:
    parts = [gives.says]
    if gives.body is not None:
        kinds = ", ".join(code(kind) for kind in gives.media_type.split(", "))
        parts.append(f"{kinds}." if gives.body is Any else f"{kinds}: {_link(gives.body.__name__)}.")
    if gives.headers:
        parts.append(f"Headers: {', '.join(code(name) for name in gives.headers)}.")
    return f"* {status}: {' '.join(parts)}"


def _link(record: str) -> str:
    return f"[{record}](#{_anchor(record)})"


def _anchor(heading: str) -> str:
    """Return the anchor that the site, and a repository's viewer, give a heading."""
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())


def _default(schema: Json, *, is_required: bool) -> str:
    if is_required or not schema:
        return "refused" if is_required else "`{}`"
    if "default" not in schema:
        return "as the service has it"
    return code(msgspec.json.encode(schema["default"]).decode())


def _bounds(schema: Json) -> str:
    """Return the bounds of a text or number."""
    if "maxLength" in schema:
        return f" of {schema.get('minLength', 0)} to {schema['maxLength']:,} characters"
    if "pattern" in schema:
        return f" of the form {code(schema['pattern'].strip('^$'))}"
    if "maximum" in schema:
        low = f"above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else f"{schema['minimum']:g}"
        return f", {low} to {schema['maximum']:,}"
    return f", at least {schema['minimum']}" if "minimum" in schema else ""
