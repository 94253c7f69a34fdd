"""The outbox of an SQLite store."""

from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec

from asyncinfer.abc import (
    Delivery,
    DeliveryAttempt,
    DeliveryFilter,
    Endpoint,
    JobKey,
    NewDelivery,
    Outbox,
    Owed,
    Settlement,
)
from asyncinfer_sqlite import _outbox_moves as moves
from asyncinfer_sqlite._outbox_moves import SQL, decode_attempt, delivery_of
from asyncinfer_sqlite._reader import Reader
from asyncinfer_sqlite._rows import asked
from asyncinfer_sqlite._writer import Writer

_LAST = "\U0010ffff"
_decode_endpoint = msgspec.msgpack.Decoder(Endpoint).decode


class SQLiteOutbox(Outbox):
    """Every write is a step of the store's one writer."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def owed(self, limit: int, lease: int) -> Sequence[Owed]:
        if await self._reader.run(lambda db: db.execute(SQL["next_owed"].text).fetchone()[0]) is None:
            return []
        return await self._writer.step(lambda tx: moves.lease_owed(tx, limit, lease))

    async def expand(self, items: Sequence[tuple[Owed, Sequence[NewDelivery]]]) -> None:
        await self._writer.step(lambda tx: moves.expand(tx, items))

    async def due(self, limit: int, lease: int, *, skip: Sequence[str] = ()) -> Sequence[Delivery]:
        if await self._reader.run(lambda db: db.execute(SQL["next_delivery"].text).fetchone()[0]) is None:
            return []
        return await self._writer.step(lambda tx: moves.lease_due(tx, limit, lease, skip))

    async def settle(self, items: Sequence[Settlement]) -> Sequence[bool]:
        return await self._writer.step(lambda tx: moves.settle(tx, items))

    async def next_due_at(self) -> int | None:
        firsts = await self._reader.run(
            lambda db: [db.execute(SQL[name].text).fetchone()[0] for name in ("next_owed", "next_delivery")]
        )
        return min((first for first in firsts if first is not None), default=None)

    async def deliveries(
        self, owner: str | None, matching: DeliveryFilter, *, after: str | None = None, limit: int = 50
    ) -> Sequence[Delivery]:
        statement = SQL["older" if owner is None else "older_of_owner"]
        values = (
            _LAST if after is None else after,
            owner,
            matching.job_id,
            matching.endpoint,
            matching.status,
            matching.since,
            matching.until,
            limit,
        )
        rows = await self._reader.run(lambda db: db.execute(statement.text, values).fetchall())
        return [delivery_of(row) for row in rows]

    async def delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        row = await self._reader.run(lambda db: db.execute(SQL["of_owner"].text, (delivery_id, owner)).fetchone())
        return None if row is None else delivery_of(row)

    async def log(self, owner: str, delivery_id: str) -> Sequence[DeliveryAttempt]:
        rows = await self._reader.run(lambda db: db.execute(SQL["log"].text, (delivery_id, owner)).fetchall())
        return [decode_attempt(row[0]) for row in rows]

    async def redeliver(self, owner: str, delivery_ids: Sequence[str], due_at: int) -> Sequence[bool]:
        return await self._writer.step(lambda tx: moves.redeliver(tx, owner, delivery_ids, due_at))

    async def recover(self, owner: str, endpoint: str, since: int, until: int, due_at: int) -> int:
        return await self._writer.step(lambda tx: moves.recover(tx, owner, endpoint, since, until, due_at))

    async def put_endpoint(self, endpoint: Endpoint, *, because: str = "", notices: Sequence[NewDelivery] = ()) -> bool:
        return await self._writer.step(lambda tx: moves.put_endpoint(tx, endpoint, because, notices))

    async def endpoints(self, owner: str | None, ids: Sequence[str] | None = None) -> Sequence[Endpoint]:
        name = "endpoints" if owner is None else "endpoints_of_owner"
        values: list[object] = [] if owner is None else [asked(owner)]
        if ids is not None:
            name = "endpoints_by_id" if owner is None else "some_of_owner"
            values.append(json.dumps([each for each in ids if isinstance(asked(each), str)]))
        rows = await self._reader.run(lambda db: db.execute(SQL[name].text, values).fetchall())
        return [_decode_endpoint(row[0]) for row in rows]

    async def delete_endpoint(self, owner: str, endpoint_id: str) -> bool:
        return await self._writer.step(lambda tx: moves.delete_endpoint(tx, owner, endpoint_id))

    async def of_job(self, key: JobKey) -> Sequence[Delivery]:
        rows = await self._reader.run(lambda db: db.execute(SQL["of_job"].text, key).fetchall())
        return [delivery_of(row) for row in rows]
