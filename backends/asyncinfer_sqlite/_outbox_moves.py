"""The steps of the outbox, each inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncinfer.abc import Delivery, DeliveryAttempt, Endpoint, JobKey, NewDelivery, Owed, Settlement, Subscription
from asyncinfer_sqlite._rows import Row, asked
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction, as_list

SQL = load("outbox")
_LOG_KEPT = 100
_encode = msgspec.msgpack.Encoder().encode
_decode_subscriptions = msgspec.msgpack.Decoder(tuple[Subscription, ...]).decode
decode_attempt = msgspec.msgpack.Decoder(DeliveryAttempt).decode


def lease_owed(tx: Transaction, limit: int, lease: int) -> list[Owed]:
    """Lease owed events, oldest first."""
    rows = tx.all(SQL["owed"], (tx.now, limit))
    if rows:
        tx.execute(SQL["lease_owed"], (tx.now + lease, as_list(row[0] for row in rows)))
    return [
        Owed(n, owner, id_, status, at, revision, _decode_subscriptions(blob))
        for n, owner, id_, status, at, revision, blob in rows
    ]


def expand(tx: Transaction, items: Sequence[tuple[Owed, Sequence[NewDelivery]]]) -> None:
    """Replace owed events by deliveries; what is owed no more adds nothing."""
    for owed, deliveries in items:
        if tx.execute(SQL["expand"], (owed.n,)).rowcount:
            key = JobKey(owed.owner, owed.id)
            tx.write(SQL["add_delivery"], [_delivery_values(tx, key, each) for each in deliveries])


def _delivery_values(tx: Transaction, key: JobKey, new: NewDelivery) -> tuple[object, ...]:
    return (
        new.id,
        key.owner,
        key.id,
        new.target,
        new.event,
        new.body,
        "pending",
        new.due_at,
        new.due_at,
        tx.now,
        new.endpoint,
        new.secret,
    )


def lease_due(tx: Transaction, limit: int, lease: int, skip: Sequence[str]) -> list[Delivery]:
    """Lease pending deliveries whose time has come."""
    skipped = msgspec.json.encode(list(skip)).decode()
    ids = [row[0] for row in tx.all(SQL["due"], (tx.now, skipped, limit))]
    if not ids:
        return []
    # The rows of a RETURNING statement must all be fetched, or the statement is not done.
    next_token = tx.all(SQL["take_tokens"], (len(ids),))[0][0]
    for token, each in enumerate(ids, next_token - len(ids)):
        tx.execute(SQL["lease_delivery"], (tx.now + lease, token, each))
    return [delivery_of(tx.all(SQL["delivery"], (each,))[0]) for each in ids]


def settle(tx: Transaction, items: Sequence[Settlement]) -> list[bool]:
    """Write how attempts went; an ended delivery of a job that is gone is forgotten."""
    return [_settle_one(tx, item) for item in items]


def _settle_one(tx: Transaction, item: Settlement) -> bool:
    blob = _encode(item.attempt)
    due_at = item.due_at if item.status == "pending" else None
    found = tx.all(SQL["settle"], (item.status, due_at, due_at, blob, item.id, item.lease_token))
    if not found:
        return False
    number, owner, job_id = found[0]
    tx.execute(SQL["keep_log"], (item.id, number, blob))
    tx.execute(SQL["drop_log"], (item.id, number - _LOG_KEPT))
    if item.status != "pending":
        _forget_orphan(tx, item.id, JobKey(owner, job_id))
    return True


def _forget_orphan(tx: Transaction, delivery: str, key: JobKey) -> None:
    if not tx.execute(SQL["job_is_kept"], key).fetchone()[0]:
        tx.execute(SQL["drop_delivery"], (delivery,))


def redeliver(tx: Transaction, owner: str, ids: Sequence[str], due_at: int) -> list[bool]:
    """Make ended deliveries pending again."""
    answers: list[bool] = []
    for each in ids:
        is_known = tx.execute(SQL["status"], (asked(each), asked(owner))).fetchone() is not None
        if is_known:
            tx.execute(SQL["reopen"], (due_at, each))
        answers.append(is_known)
    return answers


def recover(tx: Transaction, owner: str, endpoint: str, since: int, until: int, due_at: int) -> int:
    """Make an endpoint's fruitless deliveries pending again."""
    return tx.execute(SQL["recover"], (due_at, owner, endpoint, since, until)).rowcount


def put_endpoint(tx: Transaction, endpoint: Endpoint, because: str, notices: Sequence[NewDelivery]) -> bool:
    """Store an endpoint whose revision follows the stored one, and what is told of it."""
    row = tx.execute(SQL["endpoint_revision"], (endpoint.owner, endpoint.id)).fetchone()
    if endpoint.revision != (1 if row is None else row[0] + 1):
        return False
    tx.write(SQL["put_endpoint"], [(endpoint.owner, endpoint.id, _encode(endpoint), endpoint.revision)])
    if notices and (cause := tx.execute(SQL["job_of"], (because, endpoint.owner)).fetchone()) is not None:
        key = JobKey(endpoint.owner, cause[0])
        tx.write(SQL["add_delivery"], [_delivery_values(tx, key, each) for each in notices])
    return True


def delete_endpoint(tx: Transaction, owner: str, endpoint_id: str) -> bool:
    """Forget an endpoint; what is pending for it becomes disabled."""
    if not tx.execute(SQL["delete_endpoint"], (owner, endpoint_id)).rowcount:
        return False
    for delivery, of, job_id in tx.all(SQL["disable"], (owner, endpoint_id)):
        _forget_orphan(tx, delivery, JobKey(of, job_id))
    return True


def delivery_of(row: Row) -> Delivery:
    """Return the public record."""
    return Delivery(
        id=row[0],
        owner=row[1],
        job_id=row[2],
        target=row[3],
        event=row[4],
        body=row[5],
        status=row[6],
        attempts=row[7],
        due_at=row[8],
        created_at=row[9],
        endpoint=row[10],
        secret=row[11],
        last=None if row[12] is None else decode_attempt(row[12]),
        lease_token=row[13],
        attempts_before=row[14],
    )
