"""`asyncinfer webhooks deliveries|redeliver|recover`: the log of deliveries, and sending again."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, get_args

import typer

from asyncinfer.abc import DeliveryFilter, DeliveryStatus
from asyncinfer.cli._job_tables import console
from asyncinfer.cli._options import JsonOption, StoreOrServiceOption, TokenOption, UrlOption
from asyncinfer.cli._running import FAILED, complain
from asyncinfer.cli._seen_webhooks import Webhooks
from asyncinfer.cli._webhook_answers import asked_at, now, print_json
from asyncinfer.cli._webhook_calling import Calling
from asyncinfer.cli._webhook_options import EndpointArgument, ReceiversOwnerOption
from asyncinfer.cli._webhook_tables import deliveries_table, delivery_sheet
from asyncinfer.cli._where import webhooks_at
from asyncinfer.errors import AsyncinferError

DELIVERY_STATUSES: tuple[DeliveryStatus, ...] = get_args(DeliveryStatus)
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def list_deliveries(
    delivery: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of this one alone, with the log of its attempts.")
    ] = None,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
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
    matching = DeliveryFilter(job_id=job, endpoint=endpoint, status=_status(status))
    place = webhooks_at(store, url, token, owner, Calling())
    if delivery is not None:
        told = asked_at(place, lambda there: there.delivery(delivery))
        if as_json:
            print_json(told)
        else:
            console().print(delivery_sheet(told, now()))
        return
    page = asked_at(place, lambda there: there.page(matching, after=after, limit=limit))
    if as_json:
        print_json(page)
        return
    console().print(deliveries_table(page.data, now()) if page.data else "no deliveries")
    if page.next_cursor is not None:
        console().print(f"more: --after {page.next_cursor}", style="dim", soft_wrap=True)


def redeliver(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Deliveries that have ended.")],
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Have deliveries sent again, by the sender that runs, with the same id and body."""
    errors: list[AsyncinferError] = []

    async def work(there: Webhooks) -> None:
        for delivery in ids:
            try:
                await there.redeliver(delivery)
                print(f"{delivery}  is sent again", flush=True)
            except AsyncinferError as error:  # the others go on
                errors.append(error)

    asked_at(webhooks_at(store, url, token, owner, Calling()), work)
    for error in errors:
        complain(str(error))
    if errors:
        raise typer.Exit(FAILED)


def recover(
    endpoint: EndpointArgument,
    since: Annotated[
        str,
        typer.Option(
            "--since", metavar="WHEN", help="From then on: an instant with its zone, or an age: 90m, 24h, 3d."
        ),
    ],
    until: Annotated[str | None, typer.Option("--until", metavar="WHEN", help="Up to then; default: now.")] = None,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Have sent again what came to nothing at a receiver in a time."""
    present = now()
    first = _instant("--since", since, present)
    last = None if until is None else _instant("--until", until, present)
    place = webhooks_at(store, url, token, owner, Calling())
    print(f"{asked_at(place, lambda there: there.recover(endpoint, first, last))} deliveries are sent again")


def _status(text: str | None) -> DeliveryStatus | None:
    """Return the status that an option names. Raise typer.BadParameter for another word."""
    for one in DELIVERY_STATUSES:
        if one == text:
            return one
    if text is not None:
        raise typer.BadParameter(f"--status: expected one of {', '.join(DELIVERY_STATUSES)}, got {text!r}")
    return None


def _instant(option: str, text: str, present: datetime) -> datetime:
    """Return an instant that is written out, or as its age. Raise typer.BadParameter for anything else."""
    found = re.fullmatch(r"([0-9]{1,6})([mhd])", text)
    try:
        if found is not None:
            return present - timedelta(**{UNITS[found[2]]: int(found[1])})
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    except (ValueError, OverflowError):
        pass
    raise typer.BadParameter(f"{option}: expected an instant with its zone, or an age as 24h, got {text!r}")
