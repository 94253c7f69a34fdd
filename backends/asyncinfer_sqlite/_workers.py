"""Who runs jobs, which models they published, and which attempts run."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from asyncinfer.abc import JobKey, PublishedModel, RunningLease, WorkerInfo
from asyncinfer_sqlite._liveness import LivenessLock
from asyncinfer_sqlite._rows import fixed_or_default
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction

_SQL = load("worker")
_encode = msgspec.msgpack.Encoder().encode
_decode_worker = msgspec.msgpack.Decoder(WorkerInfo).decode
_decode_model = msgspec.msgpack.Decoder(PublishedModel).decode


def register(tx: Transaction, worker: WorkerInfo, lease: int) -> None:
    """Make a worker and its models known, and tie it to this store's lock."""
    tx.execute(_SQL["register"], (worker.worker, tx.lock, tx.now + lease, _encode(worker)))
    tx.write(_SQL["publish"], [(model.name, _encode(model)) for model in worker.models])


def unregister(tx: Transaction, worker: str) -> None:
    """Forget a worker."""
    tx.execute(_SQL["unregister"], (worker,))


def workers(connection: sqlite3.Connection, now: int) -> list[WorkerInfo]:
    """Return the workers that have extended within their lease."""
    return [_decode_worker(row[0]) for row in connection.execute(_SQL["workers"].text, (now,)).fetchall()]


def models(connection: sqlite3.Connection) -> list[PublishedModel]:
    """Return every model ever published."""
    return [_decode_model(row[0]) for row in connection.execute(_SQL["models"].text).fetchall()]


def leases(connection: sqlite3.Connection, lock: LivenessLock, after: JobKey | None, limit: int) -> list[RunningLease]:
    """Return running attempts behind `after`; each lock is tried once a call."""
    owner, id_ = after or ("", "")
    rows = connection.execute(_SQL["leases"].text, (owner, owner, id_, limit)).fetchall()
    gone = {name: lock.is_gone(name) for name in {row[8] for row in rows} if name is not None}
    found: list[RunningLease] = []
    for row in rows:
        fixed = fixed_or_default(row[7])
        found.append(
            RunningLease(
                owner=row[0],
                id=row[1],
                attempt=row[2],
                renewals=row[3],
                worker=row[4],
                is_gone=gone.get(row[8], False),
                cancel_requested=row[5] is not None,
                time_limit_at=None if fixed.time_limit is None else row[6] + fixed.time_limit,
                deadline=fixed.deadline,
            )
        )
    return found


def locks(connection: sqlite3.Connection) -> set[str]:
    """Return the locks that some worker is tied to."""
    return {row[0] for row in connection.execute(_SQL["locks"].text).fetchall()}


def forget(tx: Transaction, locks: Sequence[str]) -> set[str]:
    """Forget the workers of dead stores that run nothing; return the locks that are still named."""
    tx.execute(_SQL["forget_workers"], (msgspec.json.encode(locks).decode(),))
    return {row[0] for row in tx.all(_SQL["locks"])}


def runs_anything(connection: sqlite3.Connection, lock: str) -> bool:
    """Tell whether a worker of this store still has a running job."""
    return bool(connection.execute(_SQL["runs_anything"].text, (lock,)).fetchone()[0])
