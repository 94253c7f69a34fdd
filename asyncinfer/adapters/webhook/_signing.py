"""Sign a delivery as Standard Webhooks 1.0 does: https://www.standardwebhooks.com, `spec/standard-webhooks.md`."""

from __future__ import annotations

import hmac
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from asyncinfer.adapters.webhook._key_pair import PrivateKey, PublicKey
from asyncinfer.adapters.webhook._key_text import to_base64
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.errors import InvalidOption

ID = "webhook-id"
TIMESTAMP = "webhook-timestamp"
SIGNATURE = "webhook-signature"


class Signer(ABC):
    """Signs the deliveries to an endpoint; its key may be in this process or behind a KMS."""

    @abstractmethod
    async def sign(self, message: bytes) -> str:
        """Return the signature of these very bytes: `v1,` or `v1a,` and standard padded base64.

        What it raises ends this attempt at the delivery, as a failure; it bounds its own time.
        """


class HmacSigner(Signer):
    """Signs `v1`, HMAC-SHA256, with a secret that the receiver has too."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def sign(self, message: bytes) -> str:
        return hmac_signature(self._secret, message)


class Ed25519Signer(Signer):
    """Signs `v1a`, ed25519: receivers get the public key only. Needs `cryptography` (the extra `webhook`)."""

    def __init__(self, key: PrivateKey) -> None:
        """Take the key. Raise MissingExtra now rather than at the first delivery."""
        self._key = key
        self.public_key: PublicKey = key.public()
        """What receivers verify with, and what the JWKS document lists."""

    async def sign(self, message: bytes) -> str:
        return f"v1a,{to_base64(self._key.sign(message))}"


async def signed_headers(message_id: str, timestamp: int, body: bytes, signers: Sequence[Signer]) -> dict[str, str]:
    """Return the three headers of one attempt: `timestamp`, in seconds, is that of the attempt, the id the event's.

    The signatures stand in the order of the signers: the current secret, previous ones in their overlap, then ed25519.
    A receiver whose secret is any of them accepts. The body must be sent as these very bytes. Raises InvalidOption.
    """
    # A dot would let one message pass for another: `a` at 1 with body `2.x` is signed as `a.1` at 2 with body `x` is.
    if not _ID.fullmatch(message_id):
        raise InvalidOption(f"message_id: expected 1 to 64 of A-Z, a-z, 0-9, _ and -, got {message_id!r}")
    if timestamp < 0:
        raise InvalidOption(f"timestamp: expected seconds since 1970, got {timestamp}")
    if not signers:
        raise InvalidOption("signers: expected at least one")
    message = signed_bytes(message_id, str(timestamp), body)
    signatures = [_checked(await signer.sign(message), signer) for signer in signers]
    return {ID: message_id, TIMESTAMP: str(timestamp), SIGNATURE: " ".join(signatures)}


def signed_bytes(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode("ascii") + body


def hmac_signature(secret: Secret, message: bytes) -> str:
    return f"v1,{to_base64(hmac.digest(secret.key, message, 'sha256'))}"


_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ONE_SIGNATURE = re.compile(r"v1a?,[A-Za-z0-9+/]+={0,2}")


def _checked(signature: str, signer: Signer) -> str:
    """A signer is somebody's own: what it returns must not break the header of the others."""
    if not _ONE_SIGNATURE.fullmatch(signature):
        raise InvalidOption(f"{type(signer).__name__}.sign: expected `v1,` or `v1a,` and standard padded base64")
    return signature
