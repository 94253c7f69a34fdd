"""What the writer remembers of the store between two batches, so that a batch need not ask again."""

from __future__ import annotations

import sqlite3

from msgspec import Struct

from asyncinfer.abc import NewJob
from asyncinfer_sqlite._rows import Fixed

_MOST = 16_384
"""Entries of each kind. Beyond, new ones are not remembered, or old ones are asked for again."""


class Line(Struct, frozen=True):
    """One model in one queue."""

    number: int
    queue: str
    is_paused: bool


class Head(Struct, frozen=True, gc=False):
    """A job that may be claimed next."""

    n: int
    owner: str
    id: str
    line: int
    tag: float
    attempt: int
    failures: int
    crashes: int
    expire_at: int | None
    created_at: int
    batch_key: str
    is_subscribed: bool
    input_bytes: int
    fixed: Fixed | NewJob
    input: bytes | None
    is_solo: bool = False
    not_before: int | None = None
    revision: int = 1

    @property
    def place(self) -> tuple[float, int]:
        return self.tag, self.n


class Known:
    """True until another connection commits, or a batch of our own is rolled back: then everything is forgotten."""

    def __init__(self) -> None:
        self.tied: set[str] = set()
        """Workers that are tied to this store's lock."""
        self._version = -1
        self._forget()

    def _forget(self) -> None:
        self.next_n: int | None = None
        self.newest_at = 0
        self.newest_ids: dict[str, str] = {}
        """The largest id of each owner: a larger one is stored nowhere."""
        self.loads: dict[str, tuple[int, int]] = {}
        """Waiting jobs and bytes of each queue."""
        self.flows: dict[tuple[str, str, int], float] = {}
        self.lines_of_models: dict[str, list[Line]] = {}
        self.is_plain: bool | None = None
        """No delayed job and no last chance waits anywhere."""
        self.has_checkpoints: bool | None = None
        self.fresh: dict[int, Head] = {}
        """Jobs that were accepted here and have not moved since: a claim need not read them back."""

    def forget(self) -> None:
        """Forget everything: a batch was rolled back."""
        self.tied.clear()
        self._forget()

    def check(self, connection: sqlite3.Connection) -> None:
        """Forget what another connection may have changed. Call it inside the transaction that relies on it."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._forget()

    def keep_fresh(self, head: Head) -> None:
        """Remember an accepted job; of too many the later ones, which are claimed last, are not remembered."""
        if len(self.fresh) < _MOST:
            self.fresh[head.n] = head

    def bound(self) -> None:
        """Keep what grows with the number of owners within bounds."""
        if len(self.newest_ids) > _MOST:
            self.newest_ids.clear()
        if len(self.flows) > _MOST:
            self.flows.clear()
