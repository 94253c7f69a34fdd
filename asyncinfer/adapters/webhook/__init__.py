"""Webhooks: Standard Webhooks 1.0 signatures for senders, `verify` for receivers. Sending needs the extra `webhook`.

verify(await request.body(), request.headers, secrets=os.environ["WEBHOOK_SECRET"])

`verify` of `whsec_…` needs nothing but asyncinfer itself.
"""

from __future__ import annotations

from asyncinfer.adapters.webhook._jwks import Jwk, Jwks, jwks
from asyncinfer.adapters.webhook._key_pair import PrivateKey, PublicKey
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import Ed25519Signer, HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook._verify import verify
from asyncinfer.adapters.webhook.errors import SignatureInvalid

__all__ = [
    "Ed25519Signer",
    "HmacSigner",
    "Jwk",
    "Jwks",
    "PrivateKey",
    "PublicKey",
    "Secret",
    "SignatureInvalid",
    "Signer",
    "jwks",
    "signed_headers",
    "verify",
]
