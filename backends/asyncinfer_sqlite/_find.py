"""Pages of jobs. Every statement looks at a bounded number of rows, so that no read is long."""

from __future__ import annotations

import heapq
import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
from msgspec import Struct

from asyncinfer.abc import JobFilter, JobKey, JobPage
from asyncinfer.errors import InvalidOption
from asyncinfer_sqlite._jobs import SQL, job_of
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._rows import Row, asked, fixed_or_default
from asyncinfer_sqlite._transaction import as_list

_LOOKED_AT = 5_000
"""Jobs that one statement looks at: a few milliseconds, so that no read keeps the log from being moved."""
_LAST = "\U0010ffff"
Place = tuple[str, str]
"""Between owners jobs stand in order of (id, owner): ids grow with time, and two owners may hold the same one."""


class _Wanted(Struct, frozen=True):
    """A filter in the words of the statements."""

    statuses: str | None
    lines: str | None
    since: int | None
    until: int | None
    labels: dict[str, str]


def find(
    connection: sqlite3.Connection,
    lines: Lines,
    owner: str | None,
    matching: JobFilter,
    after: str | None,
    before: str | None,
    limit: int,
) -> JobPage:
    """Return the page behind the cursor `after`, or the one that ends in front of `before`."""
    if after is not None and before is not None:
        raise InvalidOption("after, before: give one cursor, not both")
    start = _decoded(after if before is None else before)
    rows = _selected(connection, owner, matching, start, is_older=before is None, limit=limit + 1)
    if before is not None:
        has_newer, has_older = len(rows) > limit, True
        rows = rows[:limit][::-1]
    else:
        has_newer, has_older = after is not None, len(rows) > limit
        rows = rows[:limit]
    wanted = as_list(row[0] for row in rows)
    found = {row[0]: row for row in connection.execute(SQL["jobs_by_number"].text, (wanted,))}
    return JobPage(
        jobs=[job_of(connection, lines, found[row[0]], with_result=False) for row in rows if row[0] in found],
        next_cursor=_encoded(rows[-1]) if rows and has_older else None,
        prev_cursor=_encoded(rows[0]) if rows and has_newer else None,
    )


def find_keys(
    connection: sqlite3.Connection, owner: str | None, matching: JobFilter, below: JobKey | None, limit: int
) -> list[JobKey]:
    """Return the keys of selected jobs behind `below`, newest first."""
    start = None if below is None else (below.id, below.owner)
    rows = _selected(connection, owner, matching, start, is_older=True, limit=limit)
    return [JobKey(row[1], row[2]) for row in rows]


def _selected(
    connection: sqlite3.Connection,
    owner: str | None,
    matching: JobFilter,
    start: Place | None,
    *,
    is_older: bool,
    limit: int,
) -> list[Row]:
    wanted = _wanted(connection, matching)
    place = start or ((_LAST, _LAST) if is_older else ("", ""))
    if owner is not None:
        rows = _of_owner(connection, owner, place, wanted, is_older=is_older, limit=limit)
    else:
        # Jobs without an owner are most of all where they are any: they need no index of their own.
        unscoped = _of_owner(connection, "", place, wanted, is_older=is_older, limit=limit)
        owned = _of_owner(connection, None, place, wanted, is_older=is_older, limit=limit)
        rows = heapq.merge(unscoped, owned, key=_place_of, reverse=is_older)
    return list(islice(rows, limit))


def _wanted(connection: sqlite3.Connection, matching: JobFilter) -> _Wanted:
    lines: str | None = None
    if matching.model is not None or matching.queue is not None:
        names = [None if name is None else asked(name) for name in (matching.model, matching.queue)]
        lines = as_list(row[0] for row in connection.execute(SQL["lines_matching"].text, names).fetchall())
    return _Wanted(
        statuses=json.dumps(matching.status) if matching.status else None,
        lines=lines,
        since=matching.created_after,
        until=matching.created_before,
        labels=matching.labels,
    )


def _of_owner(
    connection: sqlite3.Connection, owner: str | None, start: Place, wanted: _Wanted, *, is_older: bool, limit: int
) -> Iterator[Row]:
    """Iterate over the selected jobs of one owner, or of every named one (None), beyond `start`."""
    name = ("" if owner is not None else "owned_") + ("older" if is_older else "newer")
    of, most = asked(owner or ""), _LOOKED_AT if wanted.labels else limit
    filters = (wanted.statuses, wanted.lines, wanted.since, wanted.until)
    # Behind a bound every owner's job of that id has been seen.
    end = "" if is_older else _LAST
    place = start
    while True:
        beyond = (of, asked(place[0]), asked(place[1]))
        found = connection.execute(SQL[f"{name}_bound"].text, (*beyond, _LOOKED_AT - 1)).fetchone()
        bound = end if found is None else found[0]
        rows = connection.execute(SQL[name].text, (*beyond, bound, *filters, most)).fetchall()
        yield from _with_labels(connection, wanted.labels, rows)
        if len(rows) == most:
            place = _place_of(rows[-1])
        elif found is None:
            return
        else:
            place = (bound, end)


def _with_labels(connection: sqlite3.Connection, labels: dict[str, str], rows: list[Row]) -> Iterable[Row]:
    if not labels or not rows:
        return rows
    wanted = as_list(row[0] for row in rows)
    found = {n: fixed_or_default(blob).labels for n, blob in connection.execute(SQL["fixed"].text, (wanted,))}
    return [row for row in rows if labels.items() <= found.get(row[0], {}).items()]


def _place_of(row: Row) -> Place:
    return row[2], row[1]


def _encoded(row: Row) -> str:
    return msgspec.json.encode([row[2], row[1]]).hex()


def _decoded(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        return msgspec.json.decode(bytes.fromhex(cursor), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidOption(f"cursor: {cursor!r} did not come from a page of this store") from None
