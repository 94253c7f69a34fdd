"""Webhooks: Standard Webhooks 1.0 signatures for senders, `verify` for receivers. Sending needs the extra `webhook`.

verify(await request.body(), request.headers, secrets=os.environ["WEBHOOK_SECRET"])

`verify` of `whsec_…` needs nothing but asyncinfer itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from asyncinfer.adapters.webhook._jwks import Jwk, Jwks, jwks
from asyncinfer.adapters.webhook._key_pair import PrivateKey, PublicKey
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import Ed25519Signer, HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook._told import delivery_told, endpoint_told
from asyncinfer.adapters.webhook._verify import verify
from asyncinfer.adapters.webhook.errors import (
    NotProven,
    SignatureInvalid,
    SigningFailed,
    TooManyEndpoints,
    UnknownEndpoint,
    UrlRejected,
)
from asyncinfer.errors import MissingExtra

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook._endpoints import Endpoints
    from asyncinfer.adapters.webhook._guard import Guard
    from asyncinfer.adapters.webhook._sender import WebhookSender
    from asyncinfer.adapters.webhook._transport import Transport

__all__ = [
    "Ed25519Signer",
    "Endpoints",
    "Guard",
    "HmacSigner",
    "Jwk",
    "Jwks",
    "NotProven",
    "PrivateKey",
    "PublicKey",
    "Secret",
    "SignatureInvalid",
    "Signer",
    "SigningFailed",
    "TooManyEndpoints",
    "Transport",
    "UnknownEndpoint",
    "UrlRejected",
    "WebhookSender",
    "delivery_told",
    "endpoint_told",
    "jwks",
    "signed_headers",
    "verify",
]

_NEED_HTTPCORE = {"Endpoints": "_endpoints", "Guard": "_guard", "Transport": "_transport", "WebhookSender": "_sender"}


def __getattr__(name: str) -> Any:  # Any: one of the four classes
    """Import what sends when it is asked for: receivers verify without httpcore."""
    if name not in _NEED_HTTPCORE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_NEED_HTTPCORE[name]}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "httpcore":
            raise
        raise MissingExtra("sending webhooks needs httpcore: pip install 'asyncinfer[webhook]'") from error
    return getattr(module, name)
