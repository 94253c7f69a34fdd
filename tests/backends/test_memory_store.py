"""The memory store keeps every rule of the contract, and what only it promises."""

from pathlib import Path

from asyncinfer.abc import Clock, JobStore
from asyncinfer.testing.store_suite import StoreSuite
from asyncinfer_memory import MemoryStore


class TestMemoryStore(StoreSuite):
    def make_store(self, clock: Clock, place: Path) -> JobStore:
        return MemoryStore(clock)
