"""The OpenAPI 3.1 document, made from the table of operations and the types that parse and write the wire."""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from asyncinfer import wire
from asyncinfer.adapters.http._openapi_webhooks import SENT, callbacks, webhooks
from asyncinfer.adapters.http._problems import status_of

if TYPE_CHECKING:
    from asyncinfer.adapters.http._operation import Gives, Json, Operation, Parameter

_EVERYWHERE: tuple[wire.ProblemSlug, ...] = ("headers-too-large", "draining", "store-unavailable")
_NAMED: tuple[wire.ProblemSlug, ...] = ("malformed-request", "unauthorized", "forbidden", "rate-limited")
_HEADERS = {
    "Location": "The job's URL.",
    "Operation-Location": "The job's URL, under the name that pollers look for.",
    "ETag": "The job's revision, for If-None-Match.",
    "Retry-After": "Seconds after which to look again.",
    "Link": "The next and the previous page (RFC 8288).",
}
_SUBMITS = (("/v1/jobs", "post"), ("/v1/jobs/{id}", "put"))
_LINKS: dict[Any, tuple[str, ...]] = {
    wire.Job: ("getJob", "getResult", "getEvents", "cancelJob", "deleteJob", "retryJob", "listDeliveriesOfJob"),
    wire.WebhookEndpoint: (
        "getWebhook",
        "changeWebhook",
        "deleteWebhook",
        "verifyWebhook",
        "rotateWebhookSecret",
        "testWebhook",
        "recoverWebhook",
    ),
    wire.Delivery: ("getDelivery", "redeliver"),
}
"""What can be asked of what an answer is, by its `id`."""


@lru_cache(maxsize=8)
def openapi_of(base_url: str, *, has_webhooks: bool = True) -> bytes:
    """Return the document as JSON. An application without a sender has none of the routes of webhooks."""
    from importlib.metadata import version

    from asyncinfer.adapters.http._operations import OPERATIONS
    from asyncinfer.adapters.http._webhook_operations import WEBHOOKS

    routes = {path: methods for path, methods in OPERATIONS.items() if has_webhooks or path not in WEBHOOKS}
    operations = [operation for methods in routes.values() for operation in methods.values()]
    types = list(dict.fromkeys([*_types_of(operations), *SENT, wire.Problem]))
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(types, schemas, strict=True))
    known = {operation.id for operation in operations}
    paths = {
        path: {method.lower(): _operation(operation, schema_of, known) for method, operation in methods.items()}
        for path, methods in routes.items()
    }
    if has_webhooks:
        for path, method in _SUBMITS:
            paths[path][method]["callbacks"] = callbacks()
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "asyncinfer",
                "version": version("asyncinfer"),
                "description": "Durable background inference jobs: submit, poll, wait, stream, cancel.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": base_url}],
            "paths": paths,
            "webhooks": webhooks() if has_webhooks else {},
            "components": {
                "schemas": _with_objects(components),
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _types_of(operations: Iterable[Operation]) -> Iterable[Any]:
    for operation in operations:
        if operation.takes is not None:
            yield operation.takes
        for gives in operation.gives.values():
            if gives.body is not None and gives.body is not Any:
                yield gives.body


def _operation(operation: Operation, schema_of: dict[Any, Json], known: Set[str]) -> Json:
    told: Json = {
        "operationId": operation.id,
        "summary": operation.says,
        "parameters": [_parameter(one) for one in operation.parameters],
        "responses": {str(status): _success(gives, schema_of, known) for status, gives in operation.gives.items()}
        | _problems(operation, schema_of),
        "security": [] if operation.is_public else [{"bearer": []}],
    }
    if operation.takes is not None:
        content = {"application/json": {"schema": schema_of[operation.takes]}}
        told["requestBody"] = {"required": True, "content": content}
    return told


def _parameter(one: Parameter) -> Json:
    told: Json = {
        "name": one.name,
        "in": one.place,
        "required": one.place == "path",
        "description": one.says,
        "schema": one.schema,
    }
    if one.schema.get("type") == "array":
        told |= {"style": "form", "explode": False}  # parted by commas
    return told if one.example is None else told | {"example": one.example}


def _success(gives: Gives, schema_of: dict[Any, Json], known: Set[str]) -> Json:
    told: Json = {"description": gives.says}
    if gives.headers:
        told["headers"] = {
            name: {"description": _HEADERS[name], "schema": {"type": "string"}} for name in gives.headers
        }
    if gives.body is not None:
        schema = {} if gives.body is Any else schema_of[gives.body]
        told["content"] = {
            kind: {"schema": schema if kind == "application/json" else {}} for kind in gives.media_type.split(", ")
        }
    links = [name for name in _LINKS.get(gives.body, ()) if name in known]
    if links:
        told["links"] = {name: {"operationId": name, "parameters": {"id": "$response.body#/id"}} for name in links}
    return told


def _problems(operation: Operation, schema_of: dict[Any, Json]) -> Json:
    slugs = (*operation.problems, *_EVERYWHERE, *(() if operation.is_public else _NAMED))
    by_status: dict[int, list[str]] = {}
    for slug in slugs:
        by_status.setdefault(status_of(slug), []).append(slug)
    content = {"application/problem+json": {"schema": schema_of[wire.Problem]}}
    return {
        str(status): {"description": ", ".join(names), "content": content}
        for status, names in sorted(by_status.items())
        if status not in operation.gives
    }


def _with_objects(components: dict[str, Json]) -> dict[str, Json]:
    """Say that a submit's input is an object: its type on the wire is bytes that another decoder reads."""
    submit = components["Submit"]
    submit["properties"]["input"] = {"type": "object", "default": {}, "description": "By the model's parameter names."}
    return components
