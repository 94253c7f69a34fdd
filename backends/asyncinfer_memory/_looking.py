"""Pages of jobs, counts and positions: what is read without changing anything."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

import msgspec

from asyncinfer.abc import Counts, JobFilter, JobKey, JobPage
from asyncinfer.errors import InvalidOption
from asyncinfer_memory._history import job_of
from asyncinfer_memory._lanes import Lane
from asyncinfer_memory._rows import Row
from asyncinfer_memory._shelves import Shelf
from asyncinfer_memory._tables import Tables
from asyncinfer_memory._tallies import Tally


def matching_rows(tables: Tables, owner: str | None, matching: JobFilter) -> list[Row]:
    """Return every selected job, newest id first; an empty filter is refused."""
    if matching.is_empty:
        raise InvalidOption("matching: an empty JobFilter would select every job; name a status, model, queue or label")
    return [row for row in _newest_first(tables, owner, None) if _matches(row, matching)]


def find(
    tables: Tables, owner: str | None, matching: JobFilter, after: str | None, before: str | None, limit: int
) -> JobPage:
    """Return the page behind the cursor `after`, or the one that ends in front of `before`."""
    if after is not None and before is not None:
        raise InvalidOption("after, before: give one cursor, not both")
    if before is not None:
        rows = _take(_oldest_first(tables, owner, _decoded(before)), matching, limit + 1)
        has_newer, has_older = len(rows) > limit, True
        rows = rows[:limit][::-1]
    else:
        start = None if after is None else _decoded(after)
        rows = _take(_newest_first(tables, owner, start), matching, limit + 1)
        has_newer, has_older = start is not None, len(rows) > limit
        rows = rows[:limit]
    return JobPage(
        jobs=[job_of(row, with_result=False) for row in rows],
        next_cursor=_encoded(rows[-1]) if rows and has_older else None,
        prev_cursor=_encoded(rows[0]) if rows and has_newer else None,
    )


def counts(tables: Tables, owner: str | None, queue: str | None) -> list[Counts]:
    """Return the counts of one owner, or of all, and a line for each paused queue."""
    if owner is None:
        tallies = {lane: lane.tally for line in tables.models.values() for lane in line.lanes.values()}
    else:
        shelf = tables.shelves.get(owner)
        tallies = {} if shelf is None else shelf.tallies
    lines = [
        _counts_of(lane, tally, owner)
        for lane, tally in tallies.items()
        if not tally.is_empty and (queue is None or lane.queue == queue)
    ]
    named = {line.queue for line in lines}
    lines += [
        Counts(queue=name, model="", is_paused=True)
        for name, state in tables.queues.items()
        if state.is_paused and name not in named and (queue is None or name == queue)
    ]
    return sorted(lines, key=lambda line: (line.queue, line.model))


def position(tables: Tables, key: JobKey) -> int | None:
    """Return how many ready jobs of its model stand before a ready one."""
    row = tables.row(*key)
    if row is None or row.status != "queued" or row.tag is None or tables.queues[row.new.queue].is_paused:
        return None
    entry = (row.tag, row.n, row)
    lanes = [lane for lane in tables.models[row.new.model].lanes.values() if not lane.state.is_paused]
    return sum(lane.ready.rank(entry) + lane.solo.rank(entry) for lane in lanes)


def _counts_of(lane: Lane, tally: Tally, owner: str | None) -> Counts:
    return Counts(
        queue=lane.queue,
        model=lane.model,
        queued=tally.counts["queued"],
        running=tally.counts["running"],
        succeeded=tally.counts["succeeded"],
        failed=tally.counts["failed"],
        canceled=tally.counts["canceled"],
        queued_bytes=tally.queued_bytes,
        oldest_queued_at=lane.oldest_queued_at(owner) if tally.counts["queued"] else None,
        is_paused=lane.state.is_paused,
    )


def _take(rows: Iterator[Row], matching: JobFilter, limit: int) -> list[Row]:
    taken: list[Row] = []
    for row in rows:
        if _matches(row, matching):
            taken.append(row)
            if len(taken) >= limit:
                break
    return taken


def _matches(row: Row, matching: JobFilter) -> bool:
    new = row.new
    return (
        (not matching.status or row.status in matching.status)
        and (matching.model is None or new.model == matching.model)
        and (matching.queue is None or new.queue == matching.queue)
        and (matching.created_after is None or row.created_at >= matching.created_after)
        and (matching.created_before is None or row.created_at <= matching.created_before)
        and all(new.labels.get(label) == value for label, value in matching.labels.items())
    )


# Between owners jobs stand in order of (id, owner): ids are time-ordered, and two owners may hold the same one.
_Place = tuple[str, str]


def _newest_first(tables: Tables, owner: str | None, below: _Place | None) -> Iterator[Row]:
    def of_shelf(name: str, shelf: Shelf) -> Iterator[str]:
        if below is not None and name < below[1] and below[0] in shelf.rows:
            yield below[0]
        yield from shelf.ids.descending(None if below is None else below[0])

    return _merged(tables, owner, of_shelf, reverse=True)


def _oldest_first(tables: Tables, owner: str | None, above: _Place) -> Iterator[Row]:
    def of_shelf(name: str, shelf: Shelf) -> Iterator[str]:
        for each in shelf.ids.ascending(above[0]):
            if each != above[0] or name > above[1]:
                yield each

    return _merged(tables, owner, of_shelf, reverse=False)


def _merged(
    tables: Tables, owner: str | None, of_shelf: Callable[[str, Shelf], Iterator[str]], *, reverse: bool
) -> Iterator[Row]:
    if owner is not None:
        shelf = tables.shelves.get(owner)
        return iter(()) if shelf is None else (shelf.rows[each] for each in of_shelf(owner, shelf))

    def placed(name: str, shelf: Shelf) -> Iterator[tuple[str, str, Row]]:
        return ((each, name, shelf.rows[each]) for each in of_shelf(name, shelf))

    every = (placed(name, shelf) for name, shelf in tables.shelves.items())
    return (row for _, _, row in heapq.merge(*every, reverse=reverse))


def _encoded(row: Row) -> str:
    return msgspec.json.encode([row.new.id, row.new.owner]).hex()


def _decoded(cursor: str) -> _Place:
    try:
        each, owner = msgspec.json.decode(bytes.fromhex(cursor), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidOption(f"cursor: {cursor!r} did not come from a page of this store") from None
    return each, owner
