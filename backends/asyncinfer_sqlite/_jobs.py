"""What can be told of a job: its record, events and attempts, derived from its rows. Runs on a reader."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from asyncinfer import lifecycle
from asyncinfer.abc import (
    Attempt,
    EventPage,
    Job,
    JobKey,
    NewJob,
    OutputEvent,
    Progress,
    ProgressEvent,
    StatusEvent,
    StoredEvent,
)
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._rows import INLINE_BYTES, Row, asked, error_of, fixed_or_default
from asyncinfer_sqlite._sql import load, read_rows

SQL = load("look")
_ATTEMPTS_SHOWN = 100
_STATUS_EVENTS_KEPT = 1_000
_decode_progress = msgspec.msgpack.Decoder(Progress).decode


def get(connection: sqlite3.Connection, lines: Lines, keys: Sequence[JobKey], *, with_result: bool) -> list[Job | None]:
    """Return jobs by key."""
    wanted = [(asked(key.owner), asked(key.id)) for key in dict.fromkeys(keys)]
    rows = read_rows(connection, SQL["jobs"], wanted)
    found: dict[tuple[str, str], Job] = {}
    for row in rows:
        job = job_of(connection, lines, row, with_result=with_result)
        found[job.owner, job.id] = job
    return [found.get(key) for key in keys]


def job_of(connection: sqlite3.Connection, lines: Lines, row: Row, *, with_result: bool) -> Job:
    """Return the public record. What is damaged shows its default: a damaged job must still be seen to have failed."""
    fixed = fixed_or_default(row[10])
    model, queue = lines.names(connection, row[3])
    finished_at, result_bytes, crashes = row[17], row[11], row[9]
    result = None
    if with_result and result_bytes is not None:
        result = row[12] if result_bytes < INLINE_BYTES else _large_result(connection, row[0])
    return Job(
        owner=row[1],
        id=row[2],
        model=model,
        queue=queue,
        status=row[4],
        revision=row[5],
        created_at=row[6],
        attempt=row[7],
        failures=row[8],
        crashes=crashes,
        max_attempts=fixed.max_attempts,
        crash_budget=fixed.crash_budget,
        priority=fixed.priority,
        content_type=fixed.content_type,
        has_result=result_bytes is not None,
        result=result,
        error=error_of(row[13]),
        progress=_progress_of(row[23]),
        not_before=row[14],
        deadline=fixed.deadline,
        expire_at=row[15],
        time_limit=fixed.time_limit,
        started_at=row[16],
        finished_at=finished_at,
        forget_at=None if finished_at is None else finished_at + fixed.retention_record,
        cancel_requested_at=row[18],
        worker=row[19],
        renewals=row[20],
        tag=row[21],
        is_solo=lifecycle.is_last_chance(crashes=crashes, crash_budget=fixed.crash_budget),
        fingerprint=fixed.fingerprint,
        key=fixed.key,
        labels=fixed.labels,
        metadata=fixed.metadata,
        retry_of=fixed.retry_of,
        traceparent=fixed.traceparent,
        limit_key=fixed.limit_key,
        group_id=fixed.group_id,
        parent_id=fixed.parent_id,
        has_subscriptions=bool(row[22]),
    )


def is_tombstone(connection: sqlite3.Connection, key: JobKey) -> bool:
    """Tell whether the id belonged to a job that has been pruned."""
    return bool(connection.execute(SQL["is_pruned"].text, asked_key(key)).fetchone()[0])


def asked_key(key: JobKey) -> tuple[str | bytes, str | bytes]:
    """Return a key to compare with."""
    return asked(key.owner), asked(key.id)


def submissions(connection: sqlite3.Connection, lines: Lines, keys: Sequence[JobKey]) -> list[NewJob | None]:
    """Return jobs as they were inserted."""
    return [_submission(connection, lines, key) for key in keys]


def _submission(connection: sqlite3.Connection, lines: Lines, key: JobKey) -> NewJob | None:
    row = connection.execute(SQL["submission"].text, asked_key(key)).fetchone()
    if row is None:
        return None
    fixed = fixed_or_default(row[4])
    model, queue = lines.names(connection, row[1])
    inline, apart = row[5], row[6]
    return NewJob(
        owner=key.owner,
        id=key.id,
        model=model,
        queue=queue,
        input=(b"" if apart is None else apart) if inline is None else inline,
        input_ref=fixed.input_ref,
        content_type=fixed.content_type,
        fingerprint=fixed.fingerprint,
        priority=fixed.priority,
        not_before=fixed.not_before,
        deadline=fixed.deadline,
        expire_at=row[2],
        expire_code=fixed.expire_code,
        time_limit=fixed.time_limit,
        key=fixed.key,
        key_until=fixed.key_until,
        dedup=fixed.dedup,
        dedup_until=fixed.dedup_until,
        batch_key=row[3],
        cost=fixed.cost,
        max_attempts=fixed.max_attempts,
        crash_budget=fixed.crash_budget,
        backoff=fixed.backoff,
        retention_result=fixed.retention_result,
        retention_record=fixed.retention_record,
        subscriptions=fixed.subscriptions,
        labels=fixed.labels,
        metadata=fixed.metadata,
        retry_of=fixed.retry_of,
        traceparent=fixed.traceparent,
        limit_key=fixed.limit_key,
        group_id=fixed.group_id,
        parent_id=fixed.parent_id,
    )


def events(connection: sqlite3.Connection, key: JobKey, after: int, limit: int) -> EventPage:
    """Return one page of events behind `after`: statuses are derived, progress and output are read."""
    head = connection.execute(SQL["head"].text, asked_key(key)).fetchone()
    if head is None:
        return EventPage(events=[])
    n = head[0]
    found: list[StoredEvent] = [event for event in _statuses(connection, head) if event.id > after]
    has_gap = False
    report = connection.execute(SQL["report"].text, (n,)).fetchone()
    if report is not None:
        blob, revision, attempt, at, dropped = report
        has_gap = after < dropped
        progress = _progress_of(blob)
        if progress is not None and revision > after:
            found.append(ProgressEvent(id=revision, attempt=attempt, at=at, progress=progress))
        outputs = connection.execute(SQL["outputs"].text, (n, after, limit + 1)).fetchall()
        found += [
            OutputEvent(id=revision, attempt=attempt, at=at, data=data) for revision, attempt, at, data in outputs
        ]
        found.sort(key=_id_of)
    return EventPage(events=found[:limit], has_gap=has_gap, has_more=len(found) > limit)


def attempts(connection: sqlite3.Connection, key: JobKey) -> list[Attempt]:
    """Return the newest attempts, oldest first: earlier ones from their rows, the last from the job's own."""
    head = connection.execute(SQL["head"].text, asked_key(key)).fetchone()
    if head is None:
        return []
    n, status, _, _, attempt, started_at, finished_at, error, worker, ending = head
    shown = [
        Attempt(
            number=number,
            worker=of,
            started_at=began,
            ended_at=ended,
            outcome=outcome,
            error=error_of(blob),
        )
        for number, of, began, ended, outcome, blob, _ in reversed(_earlier(connection, n, _ATTEMPTS_SHOWN))
    ]
    if attempt and (not shown or shown[-1].number < attempt):
        shown.append(
            Attempt(
                number=attempt,
                worker=worker or "",
                started_at=started_at,
                ended_at=finished_at,
                outcome=ending or (None if finished_at is None else status),
                error=error_of(error),
            )
        )
    return shown[-_ATTEMPTS_SHOWN:]


def _statuses(connection: sqlite3.Connection, head: Row) -> list[StatusEvent]:
    n, status, revision, created_at, attempt, started_at, finished_at, error, _, _ = head
    found = [StatusEvent(id=1, attempt=0, at=created_at, status="queued")]
    begun_at, last = 2, 0
    if attempt > 1 or (attempt and status != "running"):
        # An attempt begins one revision after the event that queued the job: nothing moves it between.
        for number, _, began, ended, _, blob, queued_at in reversed(_earlier(connection, n, _STATUS_EVENTS_KEPT)):
            if last or number == 1:
                found.append(StatusEvent(id=begun_at, attempt=number, at=began, status="running"))
            found.append(StatusEvent(id=queued_at, attempt=number, at=ended, status="queued", error=error_of(blob)))
            begun_at, last = queued_at + 1, number
    if attempt > last:
        found.append(StatusEvent(id=begun_at, attempt=attempt, at=started_at, status="running"))
    if finished_at is not None:
        found.append(StatusEvent(id=revision, attempt=attempt, at=finished_at, status=status, error=error_of(error)))
    return found


def _earlier(connection: sqlite3.Connection, n: int, limit: int) -> list[Row]:
    return connection.execute(SQL["attempts"].text, (n, limit)).fetchall()


def _large_result(connection: sqlite3.Connection, n: int) -> bytes | None:
    row = connection.execute(SQL["result"].text, (n,)).fetchone()
    return None if row is None else row[0]


def _progress_of(blob: object) -> Progress | None:
    if not isinstance(blob, bytes):
        return None
    try:
        return _decode_progress(blob)
    except (msgspec.MsgspecError, UnicodeError):
        return None


def _id_of(event: StoredEvent) -> int:
    return event.id
