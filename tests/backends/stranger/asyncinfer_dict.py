"""A store that a stranger might publish: a package of its own, on the public names of asyncinfer alone.

It keeps its jobs in a store that it contains, through the contract, and answers to URLs `dict://`.
"""

from __future__ import annotations

from asyncinfer.abc import Clock, JobStore
from asyncinfer.errors import InvalidOption
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore


class DictStore(FaultyStore):
    """Forwards every call of the contract; no fault is ever planned."""

    schemes = ("dict",)

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(MemoryStore(clock))

    @classmethod
    def from_url(cls, url: str) -> JobStore:
        if url != "dict://":
            raise InvalidOption(f"store: expected 'dict://', got {url!r}")
        return cls()
