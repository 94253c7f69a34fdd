"""Everything that is public: signatures and docstrings as they stand in the code."""

from __future__ import annotations

import inspect
import itertools
import types
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import get_args

from msgspec import Struct

import asyncinfer
from asyncinfer import client
from asyncinfer.abc import Executor, JobStore, Outbox
from asyncinfer.adapters import http, webhook
from tools.reference.markdown import code, prose, table
from tools.reference.source import Attribute, Method, attributes, function, instance_attributes, methods

GROUPS = {
    "models": ("model", "Model", "Submission", "ModelOptions", "SubmitOptions", "Batch", "Resources", "RetryPolicy"),
    "managers": ("JobManager", "ScopedManager", "Limits", "QueueLimits", "MemoryBudget", "Retention", "Health"),
    "handles": ("JobHandle",),
    "contexts": ("current_job", "current_batch", "JobContext", "SetupContext"),
    "records": ("Job", "JobKey", "Status", "Attempt", "JobError", "Progress", "Subscription"),
    "queries": ("JobFilter", "JobPage", "Counts", "PublishedModel", "WorkerInfo", "EventPage", "CancelAnswer"),
    "events": ("Event", "StatusEvent", "ProgressEvent", "OutputEvent", "ResetEvent", "GapEvent"),
    "errors": (
        "AsyncinferError", "InvalidInput", "IdempotencyConflict", "TooLarge", "Refused", "QueueFull", "JobFailed",
        "JobCanceled", "JobExpired", "StreamReset", "UnknownJob", "RetryLater", "CancelRequested",
    ),
}  # fmt: skip
"""By the block that shows them; together everything that is public."""


CLIENT_GROUPS = {
    "async": ("AsyncClient", "AsyncRemoteJob", "AsyncWebhooks"),
    "sync": ("Client", "RemoteJob", "Webhooks"),
    "options": ("RemoteOptions", "JobQuery", "DeliveryQuery"),
    "errors": (
        "ConnectionLost", "ServiceFailed", "Unauthorized", "Forbidden", "JobNotEnded", "UnexpectedAnswer", "NotFound",
    ),
    "tests": ("Timing",),
}  # fmt: skip
"""By the block that shows them; together everything that `asyncinfer.client` exports."""
HTTP_GROUPS = {
    "app": ("create_app",),
    "access": ("Principal", "BearerTokens"),
    "bounds": ("Bounds", "RateLimit"),
}
"""The same of `asyncinfer.adapters.http`, but for the aliases of types, which its page tells in words."""
WEBHOOK_GROUPS = {
    "receiving": ("verify", "SignatureInvalid"),
    "sending": ("WebhookSender",),
    "endpoints": ("Endpoints", "UnknownEndpoint", "NotProven", "TooManyEndpoints", "SigningFailed"),
    "guard": ("Guard", "UrlRejected", "Transport"),
    "signing": ("Secret", "Signer", "HmacSigner", "Ed25519Signer", "signed_headers"),
    "keys": ("PrivateKey", "PublicKey", "jwks", "Jwks", "Jwk"),
    "telling": ("endpoint_told", "delivery_told"),
}
"""By the block that shows them; together everything that `asyncinfer.adapters.webhook` exports."""
WITH_CONSTRUCTOR = (
    asyncinfer.JobManager, client.AsyncClient, client.Client, http.BearerTokens, webhook.WebhookSender,
    webhook.Endpoints, webhook.Guard, webhook.Transport, webhook.HmacSigner, webhook.Ed25519Signer,
)  # fmt: skip
"""Beside the errors, what a caller makes by hand."""


def group(names: Iterable[str], module: ModuleType = asyncinfer) -> Callable[[], str]:
    """Return what makes the block of these public names."""
    return lambda: "\n\n".join(_entry(name, getattr(module, name)) for name in names)


def contract_of_stores() -> str:
    """Return every method of JobStore."""
    return _methods(methods(JobStore, with_constructor=False))


def contract_of_outboxes() -> str:
    """Return every method of Outbox."""
    return _methods(methods(Outbox, with_constructor=False))


def contract_of_executors() -> str:
    """Return every method of Executor."""
    return _methods(methods(Executor))


def fields(kind: type) -> str:
    """Return the fields of a record."""
    return table(
        ["field", "type", "default", "meaning"],
        [[code(one.name), code(one.annotation), code(_default(one.default)), one.doc] for one in attributes(kind)],
    )


def _entry(name: str, public: object) -> str:
    if isinstance(public, types.UnionType):
        return f"### {name}\n\nOne of {', '.join(code(one.__name__) for one in get_args(public))}."
    if inspect.isclass(public):
        return f"### {name}\n\n{_class(public)}"
    return f"### {name}\n\n{_function(public)}"


def _class(public: type) -> str:
    parts = [prose(inspect.getdoc(public) or "") if public.__doc__ else ""]
    if _is_record(public):
        parts.append(fields(public) if attributes(public) else "")
    else:
        parts.append(_attributes([*attributes(public), *instance_attributes(public)]))
    has_constructor = public in WITH_CONSTRUCTOR or _is_error(public)
    parts.append(_methods(methods(public, with_constructor=has_constructor)))
    return "\n\n".join(part for part in parts if part)


def _function(public: object) -> str:
    values = get_args(public)
    if values:
        return f"One of {', '.join(code(repr(value)) for value in values)}."
    shown = function(public)
    return f"{_fenced([shown])}\n\n{prose(shown.doc)}"


def _attributes(shown: Iterable[Attribute]) -> str:
    rows = [[code(one.name), code(one.annotation), one.doc] for one in shown]
    return table(["name", "type", "meaning"], rows) if rows else ""


def _methods(shown: Iterable[Method]) -> str:
    """Return signatures with their docstrings; what has none stands together with its neighbours."""
    parts: list[str] = []
    for has_doc, several in itertools.groupby(shown, lambda one: bool(one.doc)):
        if has_doc:
            parts += [f"{_fenced([one])}\n\n{prose(one.doc)}" for one in several]
        else:
            parts.append(_fenced(several))
    return "\n\n".join(parts)


def _fenced(shown: Iterable[Method]) -> str:
    return "\n".join(["```python", *(line for one in shown for line in one.signatures), "```"])


def _default(written: str) -> str:
    return "" if "default_factory" in written else written


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
