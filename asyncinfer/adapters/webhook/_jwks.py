"""The JWKS document of public keys (RFC 7517), for receivers that fetch them rather than being handed a `whpk_…`."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import Struct

from asyncinfer.adapters.webhook._key_pair import PublicKey


class Jwk(Struct, frozen=True, kw_only=True, tag_field="kty", tag="OKP"):
    """One Ed25519 public key (RFC 8037)."""

    crv: Literal["Ed25519"] = "Ed25519"
    x: str
    """base64url of its 32 bytes, unpadded."""
    kid: str
    """Its RFC 7638 thumbprint: the same wherever it is computed."""
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"


class Jwks(Struct, frozen=True):
    """What `/.well-known/jwks.json` answers."""

    keys: list[Jwk]


def jwks(keys: Iterable[PublicKey]) -> Jwks:
    """Return the document: current key first, then previous ones in their overlap; each key once."""
    return Jwks([_jwk(key) for key in dict.fromkeys(keys)])


def _jwk(key: PublicKey) -> Jwk:
    x = _base64url(key.raw)
    # RFC 7638: the required members of its type (RFC 8037: crv, kty, x) in this order, without spaces.
    canonical = msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": x})
    return Jwk(x=x, kid=_base64url(hashlib.sha256(canonical).digest()))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")
