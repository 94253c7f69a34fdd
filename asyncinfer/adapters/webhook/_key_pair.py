"""The ed25519 keys of v1a signatures: the sender keeps the private one, whoever has the public one can only verify."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from typing import final

from asyncinfer.adapters.webhook._key_text import read_key, write_key
from asyncinfer.errors import InvalidOption

PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"
_SIZE = 32


@final
@dataclass(frozen=True, slots=True)
class PublicKey:
    """What receivers verify v1a signatures with. It is no secret."""

    raw: bytes
    """32 bytes (RFC 8032)."""

    def __post_init__(self) -> None:
        _check_size(self.raw, "public key")

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Read `whpk_` and standard padded base64 of 32 bytes. Raises InvalidOption."""
        return cls(read_key(text, PUBLIC_PREFIX, "public key"))

    def __str__(self) -> str:
        return write_key(PUBLIC_PREFIX, self.raw)

    def has_signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature is by its private key. Raises MissingExtra."""
        from asyncinfer.adapters.webhook import _ed25519

        return _ed25519.is_signed(self.raw, message, signature)


@final
@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PrivateKey:
    """What the sender makes v1a signatures with. Two are compared in constant time."""

    seed: bytes = field(repr=False)
    """32 bytes (RFC 8032)."""

    def __post_init__(self) -> None:
        _check_size(self.seed, "private key")

    @classmethod
    def new(cls) -> PrivateKey:
        """Make a random one."""
        return cls(os.urandom(_SIZE))

    @classmethod
    def parse(cls, text: str) -> PrivateKey:
        """Read `whsk_` and standard padded base64. Raises InvalidOption, which does not show it; MissingExtra.

        Of 32 bytes, the seed, as in the libraries of Standard Webhooks; or of 64, the seed and its public key, as the
        Svix server writes it.
        """
        raw = read_key(text, PRIVATE_PREFIX, "private key")
        if len(raw) != 2 * _SIZE:
            return cls(raw)
        key = cls(raw[:_SIZE])
        if key.public().raw != raw[_SIZE:]:
            raise InvalidOption("private key: its second half is not its public key")
        return key

    def reveal(self) -> str:
        """Return its text, of the seed alone."""
        return write_key(PRIVATE_PREFIX, self.seed)

    def public(self) -> PublicKey:
        """Return the key to hand out. Raises MissingExtra."""
        from asyncinfer.adapters.webhook import _ed25519

        return PublicKey(_ed25519.public_of(self.seed))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of a signature. Raises MissingExtra."""
        from asyncinfer.adapters.webhook import _ed25519

        return _ed25519.sign(self.seed, message)

    def __repr__(self) -> str:
        return "<PrivateKey …>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PrivateKey) and hmac.compare_digest(self.seed, other.seed)

    def __hash__(self) -> int:
        return hash(self.seed)


def _check_size(raw: bytes, what: str) -> None:
    if len(raw) != _SIZE:
        raise InvalidOption(f"{what}: expected {_SIZE} bytes, got {len(raw)}")
