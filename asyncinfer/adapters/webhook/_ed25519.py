"""Ed25519 on bytes, by `cryptography`. Imported only where a v1a key is used: v1 needs nothing but Python."""

from __future__ import annotations

from asyncinfer.errors import MissingExtra

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "cryptography":
        raise
    raise MissingExtra("v1a signatures need cryptography: pip install 'asyncinfer[webhook]'") from _error


def sign(seed: bytes, message: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def public_of(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
