"""`asyncinfer webhooks deliveries|redeliver|recover`: the log of a store's deliveries, and sending again."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, get_args

import typer

from asyncinfer import JobManager, wire
from asyncinfer.abc import DeliveryFilter, DeliveryStatus
from asyncinfer.cli._job_tables import console
from asyncinfer.cli._options import JsonOption, StoreOption
from asyncinfer.cli._running import FAILED, complain
from asyncinfer.cli._webhook_options import EndpointArgument, ReceiversOwnerOption
from asyncinfer.cli._webhook_tables import deliveries_table, delivery_sheet
from asyncinfer.cli._webhooks_of_store import now, print_json, with_store
from asyncinfer.errors import AsyncinferError

DELIVERY_STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def list_deliveries(
    store: StoreOption,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of this one alone, with the log of its attempts.")
    ] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="ID", help="Of this job.")] = None,
    endpoint: Annotated[str | None, typer.Option("--endpoint", metavar="ID", help="To this receiver.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"{', '.join(DELIVERY_STATUSES)}.")
    ] = None,
    owner: ReceiversOwnerOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="The next_cursor of the page before.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List an owner's deliveries, newest first, or show one with its log. Of URLs scheme and host are shown."""
    if delivery is not None:
        _show_delivery(store, owner, delivery, as_json=as_json)
        return
    matching = DeliveryFilter(job_id=job, endpoint=endpoint, status=_status(status))
    page = _page(store, owner, matching, after, limit)
    if as_json:
        print_json(page)
        return
    console().print(deliveries_table(page.data, now()) if page.data else "no deliveries")
    if page.next_cursor is not None:
        console().print(f"more: --after {page.next_cursor}", style="dim", soft_wrap=True)


def redeliver(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Deliveries that have ended.")],
    store: StoreOption,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Have deliveries sent again, by the sender that runs, with the same id and body."""
    done = with_store(store, lambda manager: manager.outbox.redeliver(owner, ids, manager.clock.now()))
    for delivery, is_known in zip(ids, done, strict=True):
        if is_known:
            print(f"{delivery}  is sent again")
        else:
            complain(f"there is no delivery {delivery} of this owner")
    if not all(done):
        raise typer.Exit(FAILED)


def recover(
    endpoint: EndpointArgument,
    store: StoreOption,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="WHEN", help="From then on: an instant with its zone, or an age: 90m, 24h, 3d."
        ),
    ],
    until: Annotated[str, typer.Option("--until", metavar="WHEN", help="Up to then; default: now.")] = "0m",
    owner: ReceiversOwnerOption = "",
) -> None:
    """Have sent again what came to nothing at a receiver in a time."""
    present = now()
    first, last = _milliseconds("--since", since, present), _milliseconds("--until", until, present)

    async def work(manager: JobManager) -> int:
        if not await manager.outbox.endpoints(owner, [endpoint]):
            raise AsyncinferError(f"there is no receiver {endpoint} of this owner")
        return await manager.outbox.recover(owner, endpoint, first, last, manager.clock.now())

    print(f"{with_store(store, work)} deliveries are sent again")


def _status(text: str | None) -> DeliveryStatus | None:
    """Return the status that an option names. Raise typer.BadParameter for another word."""
    for one in DELIVERY_STATUSES:
        if one == text:
            return one
    if text is not None:
        raise typer.BadParameter(f"--status: expected one of {', '.join(DELIVERY_STATUSES)}, got {text!r}")
    return None


def _milliseconds(option: str, text: str, present: datetime) -> int:
    """Return an instant that is written out, or as its age. Raise typer.BadParameter for anything else."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        if found is not None:
            return round((present - timedelta(**{UNITS[found[2]]: int(found[1])})).timestamp() * 1000)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        pass
    raise typer.BadParameter(f"{option}: expected an instant with its zone, or an age as 24h, got {text!r}")


def _page(store: str, owner: str, matching: DeliveryFilter, after: str | None, limit: int) -> wire.DeliveryList:
    from asyncinfer.adapters.webhook import delivery_told

    found = with_store(store, lambda manager: manager.outbox.deliveries(owner, matching, after=after, limit=limit + 1))
    cursor = found[limit - 1].id if len(found) > limit else None
    return wire.DeliveryList(data=[delivery_told(one) for one in found[:limit]], next_cursor=cursor)


def _show_delivery(store: str, owner: str, delivery_id: str, *, as_json: bool) -> None:
    from asyncinfer.adapters.webhook import delivery_told

    async def work(manager: JobManager) -> wire.Delivery:
        found = await manager.outbox.delivery(owner, delivery_id)
        if found is None:
            raise AsyncinferError(f"there is no delivery {delivery_id} of this owner")
        return delivery_told(found, await manager.outbox.log(owner, delivery_id))

    told = with_store(store, work)
    if as_json:
        print_json(told)
    else:
        console().print(delivery_sheet(told, now()))
