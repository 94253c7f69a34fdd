"""What the service sends, as the OpenAPI document tells it: `webhooks`, and the `callbacks` of a submit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from asyncinfer import wire
from asyncinfer.adapters.webhook._cloud_events import TYPE_PREFIX

Json = dict[str, Any]  # Any: JSON has no type of its own

SENT = (wire.Job, wire.JobReference, wire.JobProgress, wire.JobOutput)
"""The records of the wire that only webhooks need, or they too."""


def webhooks() -> Json:
    """Return every event that is sent."""
    return {
        event: {"post": _post(says, [event], data, _FOLLOWS.get(event, _ANSWERS))}
        for event, (says, data) in _EVENTS.items()
    }


def callbacks() -> Json:
    """Return what a submit with `webhook.url` is followed by."""
    endings = [event for event in _EVENTS if event.startswith("job.") and event not in _LIVE]
    told = {
        "ended": _post("The job has ended.", endings, _JOB, _ANSWERS_OF_URL, is_for_endpoints=False),
        **{
            event.removeprefix("job."): _post(says, [event], data, _ANSWERS_LIVE, is_for_endpoints=False)
            for event, (says, data) in _LIVE.items()
        },
    }
    return {name: {"{$request.body#/webhook/url}": {"post": post}} for name, post in told.items()}


def _post(
    says: str, events: list[str], data: Json, answers: Mapping[str, str], *, is_for_endpoints: bool = True
) -> Json:
    content: Json = {"application/json": {"schema": _envelope(events, data)}}
    if is_for_endpoints:
        bare = {"description": "Of the format `cloudevents-binary`, beside headers `ce-…`.", "allOf": [data]}
        content = {
            "application/json": {"schema": {"anyOf": [_envelope(events, data), bare]}},
            "application/cloudevents+json": {"schema": _cloud_event(events, data)},
        }
    return {
        "summary": says,
        "parameters": [_header(name, *told) for name, told in _HEADERS.items()],
        "requestBody": {"required": True, "content": content},
        "responses": {status: {"description": follows} for status, follows in answers.items()},
        "security": [],
    }


def _header(name: str, says: str, pattern: str) -> Json:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "header", "required": True, "description": says, "schema": schema}


def _envelope(events: list[str], data: Json) -> Json:
    return {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"enum": events},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": data,
            "truncated": {
                "type": "boolean",
                "default": False,
                "description": "`data` only names the job, or has no values of its output: all of it would be above"
                " 20 kB, or it is forgotten by now.",
            },
        },
    }


def _cloud_event(events: list[str], data: Json) -> Json:
    """Return what an endpoint gets whose format is `cloudevents-structured`."""
    texts = {name: {"type": "string", "minLength": 1} for name in ("id", "source", "subject")}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"],
        "properties": {
            **texts,
            "specversion": {"const": "1.0"},
            "type": {"enum": [TYPE_PREFIX + event for event in events]},
            "time": {"type": "string", "format": "date-time", "description": "When it happened."},
            "datacontenttype": {"const": "application/json"},
            "truncated": {"type": "boolean", "default": False, "description": "`data` is not whole."},
            "data": data,
        },
    }


def _of(record: type[Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{record.__name__}"}


def _said(member: str, says: str) -> Json:
    return {"type": "object", "required": [member], "properties": {member: {"type": "string", "description": says}}}


_FORGOTTEN: Json = {
    "type": "object",
    "description": "A job that its owner has deleted meanwhile.",
    "required": ["object", "id", "status"],
    "properties": {"object": {"enum": ["job"]}, "id": {"type": "string"}, "status": {"type": "string"}},
}
_STARTED: Json = {"anyOf": [_of(wire.Job), _of(wire.JobReference)]}
_JOB: Json = {"anyOf": [*_STARTED["anyOf"], _FORGOTTEN]}
_LIVE: Mapping[str, tuple[str, Json]] = {
    "job.started": ("An attempt at a job has begun.", _STARTED),
    "job.progress": (
        "A running job has come so far; what it reported within half a second is one.",
        _of(wire.JobProgress),
    ),
    "job.output": ("A running job has emitted values: all of half a second, in order.", _of(wire.JobOutput)),
}
_EVENTS: Mapping[str, tuple[str, Json]] = {
    **_LIVE,
    "job.succeeded": ("A job has succeeded.", _JOB),
    "job.failed": ("A job has failed.", _JOB),
    "job.canceled": ("A job was canceled.", _JOB),
    "webhook.verification": (
        "A registered endpoint is asked whether it wants webhooks: it answers 2xx with the challenge as its body, or as"
        " `challenge` of a JSON object.",
        _said("challenge", "What to send back."),
    ),
    "webhook.disabled": (
        "Another of the owner's endpoints is disabled: it answered 410, or every attempt of 120 hours failed.",
        {
            "type": "object",
            "required": ["endpoint", "url_host", "disabled_because", "disabled_at"],
            "properties": {
                "endpoint": {"type": "string", "description": "Its id."},
                "url_host": {"type": "string", "description": "Scheme and host of its URL."},
                "disabled_because": {"type": "string"},
                "disabled_at": {"type": "string", "format": "date-time"},
            },
        },
    ),
    "webhook.test": ("Somebody tries a registered endpoint out.", _said("endpoint", "Its id.")),
}
_DELIVERED = "It is delivered."
_LATER = "It is sent again later, until its attempts are used up; a redirect is not followed."
_ANSWERS = {
    "2XX": _DELIVERED,
    "410": "It is not sent again. If it was for a registered endpoint, that is disabled, and gets nothing more until it"
    " is enabled. A URL that came with a job stays as it is: other jobs that name it are told there.",
    "default": _LATER,
}
_ANSWERS_OF_URL = {
    "2XX": _DELIVERED,
    "410": "It is not sent again. This ends this delivery alone: other jobs that name the URL are told there.",
    "default": _LATER,
}
_ANSWERS_ONCE = {
    "2XX": _DELIVERED,
    "default": "It has failed, and is not sent again; an endpoint stays as it is. A redirect is not followed.",
}
_ANSWERS_LIVE = {
    "2XX": _DELIVERED,
    "default": "It is lost, and not sent again. Nothing is told of it to whoever fails five times in a row for 10 s.",
}
_FOLLOWS: Mapping[str, Mapping[str, str]] = {
    "webhook.verification": _ANSWERS_ONCE,
    "webhook.test": _ANSWERS_ONCE,
    **dict.fromkeys(_LIVE, _ANSWERS_LIVE),
}
_HEADERS = {
    "webhook-id": ("The same for every attempt at one event: the key against doubles.", "^[A-Za-z0-9_-]{1,64}$"),
    "webhook-timestamp": ("When this attempt was made, in seconds since 1970.", "^[0-9]{1,12}$"),
    "webhook-signature": (
        "Standard Webhooks 1.0: signatures of `id.timestamp.body`, parted by spaces, each `v1,` and the base64 of an"
        " HMAC-SHA256 or `v1a,` and that of an ed25519 signature.",
        "^v1a?,[A-Za-z0-9+/]+={0,2}( v1a?,[A-Za-z0-9+/]+={0,2})*$",
    ),
}
