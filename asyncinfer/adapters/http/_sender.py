"""The webhook sender beside an application, where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncinfer.adapters.http._call import Call
from asyncinfer.adapters.http._problems import problem

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender


def sender_of(call: Call) -> WebhookSender:
    """Return it. Raise a Problem where there is none: then these routes are not there either."""
    sender = call.service.webhooks
    if sender is None:
        raise problem("not-found", "this server sends no webhooks")
    return sender
