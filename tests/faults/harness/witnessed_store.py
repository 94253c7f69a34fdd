"""SQLite stores as fault tests open them; one tells a witness what it has answered to the writes of its worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from asyncinfer.abc import Finish, Lease, Limits, Record, WriteAnswer
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.witness import Witness


class WitnessedStore(SQLiteStore):
    """Writes a line for each answer: event `finish`, `give_back` or `record`, and what was answered as its note."""

    def __init__(self, path: Path, witness: Witness) -> None:
        super().__init__(path)
        self._witness = witness

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        answers = await super().finish(items)
        for item, answer in zip(items, answers, strict=True):
            self._witness.write("finish", item.id, item.attempt, f"{item.outcome} {answer}")
        return answers

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        answers = await super().give_back(leases, move_id)
        for lease, answer in zip(leases, answers, strict=True):
            self._witness.write("give_back", lease.id, lease.attempt, answer)
        return answers

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        answers = await super().record(items, limits)
        for item, answer in zip(items, answers, strict=True):
            self._witness.write("record", item.id, item.attempt, "lost" if answer is None else "done")
        return answers


@asynccontextmanager
async def opened(store: SQLiteStore) -> AsyncGenerator[SQLiteStore, None]:
    """Open a store; whatever happens, close it."""
    await store.open()
    try:
        yield store
    finally:
        await store.close()
