"""What every part of a manager that speaks to the store has in common: the store may be changed under it."""

from __future__ import annotations

from asyncinfer.abc import JobStore


class UsesStore:
    """A part that speaks to the store."""

    _store: JobStore

    def use_store(self, store: JobStore) -> None:
        """Speak to `store` from now on: the same one, measured since somebody began to watch."""
        self._store = store
