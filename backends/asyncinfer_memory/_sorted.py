"""A sorted sequence that stays cheap at a million entries."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

_FULL = 512
"""Entries in a chunk that grows at its end; one that grows inside splits at twice that. Moving 4 KiB costs 50 ns."""


class _Ordered(Protocol):
    def __lt__(self, other: Any, /) -> bool: ...  # Any: tuples and strings each accept only their own kind


T = TypeVar("T", bound=_Ordered)


class SortedChunks(Generic[T]):
    """Distinct entries in ascending order, in short lists: adding at the end and taking the first cost the same always.

    Entries leave when what they promise ends, never later, so nothing here needs a check against the truth.
    """

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: list[list[T]] = [[]]

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def __bool__(self) -> bool:
        return bool(self._chunks[0])

    def __iter__(self) -> Iterator[T]:
        for chunk in self._chunks:
            yield from chunk

    def add(self, entry: T) -> None:
        chunks = self._chunks
        last = chunks[-1]
        if not last or last[-1] < entry:
            if len(last) < _FULL:
                last.append(entry)
            else:
                chunks.append([entry])
        elif len(chunks) == 1 or chunks[-2][-1] < entry:
            # Ids of one millisecond come in any order: nearly at the end is the usual place.
            self._insert(len(chunks) - 1, entry)
        else:
            self._insert(self._chunk_of(entry), entry)

    def _insert(self, at: int, entry: T) -> None:
        chunk = self._chunks[at]
        insort(chunk, entry)
        if len(chunk) > 2 * _FULL:
            self._chunks.insert(at + 1, chunk[_FULL:])
            del chunk[_FULL:]

    def remove(self, entry: T) -> None:
        """Take an entry out; it must be there."""
        chunk = self._chunks[0]
        if chunk and chunk[0] == entry:
            at = place = 0
        else:
            at = self._chunk_of(entry)
            chunk = self._chunks[at]
            place = bisect_left(chunk, entry)
            if chunk[place] != entry:
                raise KeyError(entry)
        del chunk[place]
        if not chunk and len(self._chunks) > 1:
            del self._chunks[at]

    @property
    def first(self) -> T | None:
        chunk = self._chunks[0]
        return chunk[0] if chunk else None

    def rank(self, entry: T) -> int:
        """Return how many entries are smaller."""
        at = self._chunk_of(entry)
        if at == len(self._chunks):
            return len(self)
        return sum(map(len, self._chunks[:at])) + bisect_left(self._chunks[at], entry)

    def descending(self, below: T | None = None) -> Iterator[T]:
        """Iterate from the largest, or from the largest that is smaller than `below`."""
        chunks = self._chunks
        at = len(chunks) if below is None else self._chunk_of(below)
        if below is not None and at < len(chunks):
            chunk = chunks[at]
            yield from reversed(chunk[: bisect_left(chunk, below)])
        for chunk in reversed(chunks[:at]):
            yield from reversed(chunk)

    def ascending(self, above: T) -> Iterator[T]:
        """Iterate from the smallest that is not smaller than `above`."""
        at = self._chunk_of(above)
        for chunk in self._chunks[at : at + 1]:
            yield from chunk[bisect_left(chunk, above) :]
        for chunk in self._chunks[at + 1 :]:
            yield from chunk

    def _chunk_of(self, entry: T) -> int:
        chunks = self._chunks
        low, high = 0, len(chunks) if chunks[0] else 0
        while low < high:
            middle = (low + high) // 2
            if chunks[middle][-1] < entry:
                low = middle + 1
            else:
                high = middle
        return low
