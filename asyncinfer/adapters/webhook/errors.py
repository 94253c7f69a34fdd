"""What webhooks raise beside the errors of the library itself.

AsyncinferError
├── SignatureInvalid          the request is not from who holds the secret, or not of now: answer 401, do nothing else
├── UrlRejected               a webhook may not go there: names the kind of fault, shows neither URL nor address
├── UnknownEndpoint           this owner has no such registered endpoint
├── NotProven                 the endpoint did not echo the challenge, or did not allow this sender
├── TooManyEndpoints          this owner has as many as one may have: delete one
└── SigningFailed             a signer, one's own, did not sign: nothing was sent

A mistake of the receiver's own is InvalidOption (a secret that is none) or MissingExtra. No message shows a secret.
"""

from __future__ import annotations

from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from asyncinfer.errors import AsyncinferError

__all__ = ["NotProven", "SignatureInvalid", "SigningFailed", "TooManyEndpoints", "UnknownEndpoint", "UrlRejected"]


class SignatureInvalid(AsyncinferError):
    """No signature of the request is by one of the secrets, or its headers are missing, malformed or too old."""


class UnknownEndpoint(AsyncinferError, LookupError):
    """There is no such registered endpoint for this owner."""


class NotProven(AsyncinferError):
    """The endpoint did not prove that it wants webhooks: it may be somebody's who did not ask for them."""


class TooManyEndpoints(AsyncinferError):
    """This owner has as many registered endpoints as one may have."""


class SigningFailed(AsyncinferError):
    """A signer raised or took too long, so nothing was sent. The message names the kind of error, not its text."""
