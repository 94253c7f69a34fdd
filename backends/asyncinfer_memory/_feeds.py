"""Hints of changed jobs for managers that share one store object."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from asyncinfer.abc import JobKey

_HINTS_KEPT = 1_000


class Feeds:
    """Passes each changed key on to every open iterator, once there are two: a lone manager knows its own changes."""

    def __init__(self) -> None:
        self.is_wanted = False
        """Whether `hint` has anybody to tell; asked on the way of every move."""
        self._open: set[_Feed] = set()

    def hint(self, owner: str, id: str) -> None:  # noqa: A002  the glossary's name
        key = JobKey(owner, id)
        for feed in self._open:
            feed.put(key)

    async def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        """Iterate over hints until `end`."""
        feed = _Feed()
        self._open.add(feed)
        self.is_wanted = len(self._open) > 1
        try:
            while await feed.wait():
                yield feed.take()
        finally:
            self._open.discard(feed)
            self.is_wanted = len(self._open) > 1

    def end(self) -> None:
        """End every open iterator."""
        for feed in self._open:
            feed.end()


class _Feed:
    """One iterator's buffer: keys, or None once they were too many."""

    def __init__(self) -> None:
        self._keys: dict[JobKey, None] | None = {}
        self._woken = asyncio.Event()
        self._has_ended = False

    def put(self, key: JobKey) -> None:
        if self._keys is not None:
            self._keys[key] = None
            if len(self._keys) > _HINTS_KEPT:
                self._keys = None
        self._woken.set()

    def take(self) -> list[JobKey] | None:
        keys, self._keys = self._keys, {}
        self._woken.clear()
        return None if keys is None else list(keys)

    async def wait(self) -> bool:
        """Return True once there is something to take, False once the feed has ended."""
        await self._woken.wait()
        return not self._has_ended

    def end(self) -> None:
        self._has_ended = True
        self._woken.set()
