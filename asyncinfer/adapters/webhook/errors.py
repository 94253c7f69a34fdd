"""What receiving a webhook raises beside the errors of the library itself.

AsyncinferError
└── SignatureInvalid          the request is not from who holds the secret, or not of now: answer 401, do nothing else

A mistake of the receiver's own is InvalidOption (a secret that is none) or MissingExtra. No message shows a secret.
"""

from __future__ import annotations

from asyncinfer.errors import AsyncinferError


class SignatureInvalid(AsyncinferError):
    """No signature of the request is by one of the secrets, or its headers are missing, malformed or too old."""
