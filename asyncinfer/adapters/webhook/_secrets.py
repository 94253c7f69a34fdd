"""The secret that a sender and one receiver share, and that no repr, log line or message shows."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field
from typing import final

from asyncinfer.adapters.webhook._key_text import read_key, write_key
from asyncinfer.errors import InvalidOption

SECRET_PREFIX = "whsec_"
_NEW_SIZE = 32
_LEAST, _MOST = 24, 64
"""Bytes that Standard Webhooks 1.0 allows."""


@final
@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Secret:
    """A shared secret of 24 to 64 bytes. Two are compared in constant time."""

    key: bytes = field(repr=False)
    """The bytes that the HMAC is made with."""

    def __post_init__(self) -> None:
        if not _LEAST <= len(self.key) <= _MOST:
            raise InvalidOption(f"secret: expected {_LEAST} to {_MOST} bytes, got {len(self.key)}")

    @classmethod
    def new(cls) -> Secret:
        """Make one of 32 random bytes."""
        return cls(os.urandom(_NEW_SIZE))

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read `whsec_` and standard padded base64 of 24 to 64 bytes. Raises InvalidOption, which does not show it."""
        return cls(read_key(text, SECRET_PREFIX, "secret"))

    def reveal(self) -> str:
        """Return its text, for the store and for the one answer that shows it to the receiver."""
        return write_key(SECRET_PREFIX, self.key)

    @property
    def hint(self) -> str:
        """The last four characters of its text, to tell one from another: 24 bits at most."""
        return self.reveal()[-4:]

    def __repr__(self) -> str:
        return f"<Secret …{self.hint}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self.key, other.key)

    def __hash__(self) -> int:
        return hash(self.key)
