"""What webhooks raise beside the errors of the library itself.

AsyncinferError
├── SignatureInvalid          the request is not from who holds the secret, or not of now: answer 401, do nothing else
├── UrlRejected               a webhook may not go there: names the kind of fault, shows neither URL nor address
├── UnknownEndpoint           this owner has no such registered endpoint
└── NotProven                 the endpoint did not echo the challenge

A mistake of the receiver's own is InvalidOption (a secret that is none) or MissingExtra. No message shows a secret.
"""

from __future__ import annotations

from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from asyncinfer.errors import AsyncinferError

__all__ = ["NotProven", "SignatureInvalid", "UnknownEndpoint", "UrlRejected"]


class SignatureInvalid(AsyncinferError):
    """No signature of the request is by one of the secrets, or its headers are missing, malformed or too old."""


class UnknownEndpoint(AsyncinferError, LookupError):
    """There is no such registered endpoint for this owner."""


class NotProven(AsyncinferError):
    """The endpoint did not echo the challenge: it may be somebody's who did not ask for webhooks."""
