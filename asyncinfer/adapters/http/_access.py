"""Who is asking, and what they may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct
from starlette.requests import Request

from asyncinfer import Job
from asyncinfer.errors import InvalidOption

Action = Literal[
    "submit",
    "read",
    "result",
    "events",
    "cancel",
    "retry",
    "delete",
    "list",
    "models",
    "queue",
    "purge",
    "webhooks",
    "metrics",
]


class Principal(Struct, frozen=True):
    """Who is asking. `owner` owns the jobs: it is part of every query, and sees nobody else's."""

    owner: str
    """1 to 255 characters."""

    def __post_init__(self) -> None:
        if not isinstance(self.owner, str) or not 1 <= len(self.owner) <= 255:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"Principal.owner: expected 1 to 255 characters, got {type(self.owner).__name__}")


Authenticate: TypeAlias = Callable[[Request], Awaitable[Principal | None]]
"""Return who sent a request, or None: 401. It may read headers; the body is not its to read."""
Authorize: TypeAlias = Callable[[Principal, Action, Job | None], Awaitable[bool]]
"""Return whether it may; False: 403. The job is None where the action is not about one job of the principal's."""


class BearerTokens:
    """Authenticate by static bearer tokens, which are kept as SHA-256 hashes only.

    `BearerTokens({BearerTokens.hash("s3cret"): "ann"})`. A token should be random, 128 bits or more
    (`secrets.token_urlsafe()`): a hash without salt protects no guessable one.
    """

    def __init__(self, owners: Mapping[str, str]) -> None:
        """Take the owner of each token's hash (64 hexadecimal digits). Raise InvalidOption."""
        self._principals: list[tuple[bytes, Principal]] = []
        for digest, owner in owners.items():
            try:
                raw = bytes.fromhex(digest)
            except ValueError:
                raw = b""
            if len(raw) != hashlib.sha256().digest_size:
                raise InvalidOption("BearerTokens: expected hashes of 64 hexadecimal digits; BearerTokens.hash(token)")
            self._principals.append((raw, Principal(owner)))

    def __repr__(self) -> str:
        return f"<BearerTokens of {len(self._principals)}>"

    @staticmethod
    def hash(token: str) -> str:
        """Return what is kept of a token."""
        return hashlib.sha256(token.encode()).hexdigest()

    async def __call__(self, request: Request) -> Principal | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        # Headers arrive as latin-1. All hashes are compared, so that the time tells nothing of which was near.
        digest = hashlib.sha256(token.strip().encode("latin-1", "replace")).digest()
        found: Principal | None = None
        for known, principal in self._principals:
            if hmac.compare_digest(known, digest):
                found = principal
        return found
