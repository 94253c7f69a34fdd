"""Pages of jobs, counts and positions. Every statement looks at a bounded number of rows, so that no read is long."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator

import msgspec

from asyncinfer.abc import Counts, JobFilter, JobKey, JobPage
from asyncinfer.errors import InvalidOption
from asyncinfer_sqlite._jobs import SQL, asked_key, job_of
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._rows import Row, asked, fixed_or_default
from asyncinfer_sqlite._sql import Statement
from asyncinfer_sqlite._transaction import as_list

_LOOKED_AT = 1_000
_LAST = "\U0010ffff"
Place = tuple[str, str]
"""Between owners jobs stand in order of (id, owner): ids grow with time, and two owners may hold the same one."""


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
    rows = _matching_rows(connection, owner, matching, start, is_forward=before is None, limit=limit + 1)
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
    rows = _matching_rows(connection, owner, matching, start, is_forward=True, limit=limit)
    return [JobKey(row[1], row[2]) for row in rows]


def _matching_rows(
    connection: sqlite3.Connection,
    owner: str | None,
    matching: JobFilter,
    start: Place | None,
    *,
    is_forward: bool,
    limit: int,
) -> list[Row]:
    names = [None if name is None else asked(name) for name in (matching.model, matching.queue)]
    wanted = {row[0] for row in connection.execute(SQL["lines_matching"].text, names).fetchall()}
    taken: list[Row] = []
    chunks = _chunks(connection, owner, start, is_forward=is_forward)
    for chunk in chunks:
        for row in _with_labels(connection, matching, [row for row in chunk if _matches(row, matching, wanted)]):
            taken.append(row)
            if len(taken) >= limit:
                return taken
    return taken


def _matches(row: Row, matching: JobFilter, lines: set[int]) -> bool:
    _, _, _, line, status, created_at = row
    return (
        status != "pruned"
        and (not matching.status or status in matching.status)
        and line in lines
        and (matching.created_after is None or created_at >= matching.created_after)
        and (matching.created_before is None or created_at <= matching.created_before)
    )


def _with_labels(connection: sqlite3.Connection, matching: JobFilter, rows: list[Row]) -> list[Row]:
    if not matching.labels or not rows:
        return rows
    wanted = as_list(row[0] for row in rows)
    labels = {
        n: fixed_or_default(blob).labels for n, blob in connection.execute(SQL["fixed"].text, (wanted,)).fetchall()
    }
    return [row for row in rows if matching.labels.items() <= labels.get(row[0], {}).items()]


def _chunks(
    connection: sqlite3.Connection, owner: str | None, start: Place | None, *, is_forward: bool
) -> Iterator[list[Row]]:
    if owner is not None:
        yield from _of_owner(connection, owner, start, is_forward=is_forward)
        return
    unscoped = _rows(_of_owner(connection, "", start, is_forward=is_forward))
    owned = _rows(_owned(connection, start, is_forward=is_forward))
    yield from _merged(unscoped, owned, is_forward=is_forward)


def _of_owner(
    connection: sqlite3.Connection, owner: str, start: Place | None, *, is_forward: bool
) -> Iterator[list[Row]]:
    statement, of = SQL["older" if is_forward else "newer"], asked(owner)
    if start is None:
        beyond = _LAST if is_forward else ""
    else:
        # The same id of an owner that sorts on the other side of the cursor still lies beyond it.
        beyond = start[0]
        if (owner < start[1]) if is_forward else (owner > start[1]):
            yield connection.execute(SQL["same_id"].text, (of, start[0])).fetchall()
    while rows := connection.execute(statement.text, (of, beyond, _LOOKED_AT)).fetchall():
        yield rows
        beyond = rows[-1][2]


def _owned(connection: sqlite3.Connection, start: Place | None, *, is_forward: bool) -> Iterator[list[Row]]:
    statement = SQL["owned_older" if is_forward else "owned_newer"]
    place = start or ((_LAST, _LAST) if is_forward else ("", ""))
    while rows := connection.execute(statement.text, (place[0], place[0], place[1], _LOOKED_AT)).fetchall():
        yield rows
        place = (rows[-1][2], rows[-1][1])


def _rows(chunks: Iterable[list[Row]]) -> Iterator[Row]:
    for chunk in chunks:
        yield from chunk


def _merged(left: Iterator[Row], right: Iterator[Row], *, is_forward: bool) -> Iterator[list[Row]]:
    mine, theirs = next(left, None), next(right, None)
    while mine is not None or theirs is not None:
        chunk: list[Row] = []
        while len(chunk) < _LOOKED_AT and (mine is not None or theirs is not None):
            if theirs is None or (mine is not None and ((mine[2], mine[1]) > (theirs[2], theirs[1])) == is_forward):
                assert mine is not None
                chunk.append(mine)
                mine = next(left, None)
            else:
                chunk.append(theirs)
                theirs = next(right, None)
        yield chunk


def counts(connection: sqlite3.Connection, owner: str | None, queue: str | None) -> list[Counts]:
    """Return the counts of one owner, or of all, and a line for each paused queue."""
    paused = {row[0] for row in connection.execute(SQL["paused"].text).fetchall()}
    if owner is None:
        rows = connection.execute(SQL["counts"].text).fetchall()
    else:
        rows = connection.execute(SQL["counts_of_owner"].text, (asked(owner),)).fetchall()
    found = [
        Counts(
            queue=row[0],
            model=row[1],
            queued=row[3],
            running=row[4],
            succeeded=row[5],
            failed=row[6],
            canceled=row[7],
            queued_bytes=row[8],
            oldest_queued_at=_oldest(connection, owner, row[2]) if row[3] else None,
            is_paused=row[0] in paused,
        )
        for row in rows
        if any(row[3:8]) and (queue is None or row[0] == queue)
    ]
    named = {line.queue for line in found}
    found += [
        Counts(queue=name, model="", is_paused=True)
        for name in paused
        if name not in named and (queue is None or name == queue)
    ]
    return sorted(found, key=lambda line: (line.queue, line.model))


def _oldest(connection: sqlite3.Connection, owner: str | None, line: int) -> int | None:
    if owner is not None:
        return _one(connection, SQL["oldest_of_owner"], (owner, line))
    numbers = [_one(connection, SQL[name], (line,)) for name in ("oldest_ready", "oldest_solo", "oldest_delayed")]
    oldest = min((n for n in numbers if n is not None), default=None)
    return None if oldest is None else _one(connection, SQL["created_at"], (oldest,))


def position(connection: sqlite3.Connection, key: JobKey) -> int | None:
    """Return how many ready jobs of its model stand before a ready one."""
    row = connection.execute(SQL["place"].text, asked_key(key)).fetchone()
    if row is None or row[3] == "delayed":
        return None
    n, mine, tag, _ = row
    lines = connection.execute(SQL["lines_beside"].text, (mine,)).fetchall()
    if any(is_paused for line, is_paused in lines if line == mine):
        return None
    return sum(
        _one(connection, SQL[name], (line, tag, tag, n)) or 0
        for line, is_paused in lines
        if not is_paused
        for name in ("ready_before", "solo_before")
    )


def _one(connection: sqlite3.Connection, statement: Statement, values: tuple[object, ...]) -> int | None:
    row = connection.execute(statement.text, values).fetchone()
    return None if row is None else row[0]


def _encoded(row: Row) -> str:
    return msgspec.json.encode([row[2], row[1]]).hex()


def _decoded(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        place = msgspec.json.decode(bytes.fromhex(cursor), type=tuple[str, str])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidOption(f"cursor: {cursor!r} did not come from a page of this store") from None
    return place
