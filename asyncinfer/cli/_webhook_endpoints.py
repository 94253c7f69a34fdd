"""`asyncinfer webhooks list|add|rotate|…`: the registered receivers of a store."""

from __future__ import annotations

from typing import Annotated, get_args

import typer

from asyncinfer import wire
from asyncinfer.abc import Endpoint
from asyncinfer.cli._job_tables import console
from asyncinfer.cli._options import JsonOption, StoreOption
from asyncinfer.cli._running import FAILED, errors_told
from asyncinfer.cli._webhook_options import (
    AllowHttpOption,
    AllowNetworkOption,
    AllowPortOption,
    EndpointArgument,
    PublicBaseUrlOption,
    ReceiversOwnerOption,
    guard_from,
    one_of,
)
from asyncinfer.cli._webhook_tables import endpoints_table, origin_of
from asyncinfer.cli._webhooks_of_store import now, print_json, with_endpoints

EVENTS: tuple[wire.EndpointEvent, ...] = get_args(wire.EndpointEvent)
ENDINGS: tuple[wire.EndpointEvent, ...] = ("job.succeeded", "job.failed", "job.canceled")
PROOFS: tuple[wire.WebhookProof, ...] = get_args(wire.WebhookProof)
FORMATS: tuple[wire.WebhookFormat, ...] = get_args(wire.WebhookFormat)


def list_endpoints(store: StoreOption, owner: ReceiversOwnerOption = "", as_json: JsonOption = False) -> None:
    """List an owner's receivers.

    The table shows scheme and host of their URLs, since screens are shared and the rest of a URL may be a secret;
    --json, which programs read, shows the whole, as the HTTP service does to the owner. No secret is shown by either.
    """
    from asyncinfer.adapters.webhook import endpoint_told

    found = with_endpoints(store, lambda endpoints: endpoints.list(owner))
    told = [endpoint_told(one) for one in found]
    if as_json:
        print_json(wire.WebhookEndpointList(data=told))
    else:
        console().print(endpoints_table(told, now()) if told else "no receivers")


def add_endpoint(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where webhooks are sent.")],
    store: StoreOption,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="EVENT", help=f"{', '.join(EVENTS)}; default: all endings."),
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="For people.")] = "",
    proof: Annotated[
        str,
        typer.Option(
            "--proof",
            metavar="PROOF",
            help="challenge or cloudevents: it stays disabled until `asyncinfer webhooks prove` has asked it so.",
        ),
    ] = "none",
    form: Annotated[
        str,
        typer.Option(
            "--format", metavar="FORMAT", help=f"How events are written, for ever: one of {', '.join(FORMATS)}."
        ),
    ] = "standard",
    public_base_url: PublicBaseUrlOption = "",
    owner: ReceiversOwnerOption = "",
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a receiver, for jobs that name it as their webhook. Its secret is printed here, and nowhere else."""
    chosen_proof, chosen_format = one_of("--proof", PROOFS, proof), one_of("--format", FORMATS, form)
    with errors_told():
        guard = guard_from(allow_network, port, allow_http=allow_http)
    endpoint = with_endpoints(
        store,
        lambda endpoints: endpoints.register(
            owner,
            url,
            events=event or ENDINGS,
            description=description,
            proof=chosen_proof,
            format=chosen_format,
        ),
        guard,
        public_base_url,
    )
    _print_new_secret(endpoint, as_json=as_json)


def rotate_secret(
    endpoint: EndpointArgument, store: StoreOption, owner: ReceiversOwnerOption = "", as_json: JsonOption = False
) -> None:
    """Give a receiver a new secret, printed here and nowhere else; the one before signs too for a day."""
    rotated = with_endpoints(store, lambda endpoints: endpoints.rotate(owner, endpoint))
    _print_new_secret(rotated, as_json=as_json)


def remove_endpoint(endpoint: EndpointArgument, store: StoreOption, owner: ReceiversOwnerOption = "") -> None:
    """Forget a receiver; what is pending for it is not sent."""
    with_endpoints(store, lambda endpoints: endpoints.delete(owner, endpoint))
    print(f"{endpoint}  removed")


def enable_endpoint(endpoint: EndpointArgument, store: StoreOption, owner: ReceiversOwnerOption = "") -> None:
    """Send to a receiver again that was disabled; `recover` sends what it has missed."""
    with_endpoints(store, lambda endpoints: endpoints.change(owner, endpoint, is_enabled=True))
    print(f"{endpoint}  enabled")


def disable_endpoint(endpoint: EndpointArgument, store: StoreOption, owner: ReceiversOwnerOption = "") -> None:
    """Send a receiver nothing more, until it is enabled."""
    with_endpoints(store, lambda endpoints: endpoints.change(owner, endpoint, is_enabled=False))
    print(f"{endpoint}  disabled")


def prove_endpoint(
    endpoint: EndpointArgument,
    store: StoreOption,
    owner: ReceiversOwnerOption = "",
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
    public_base_url: PublicBaseUrlOption = "",
) -> None:
    """Ask a receiver whether it wants webhooks, by a challenge or as CloudEvents do, and enable it when it does."""
    with errors_told():
        guard = guard_from(allow_network, port, allow_http=allow_http)
    with_endpoints(store, lambda endpoints: endpoints.prove(owner, endpoint), guard, public_base_url)
    print(f"{endpoint}  proven, and enabled")


def try_endpoint(
    endpoint: EndpointArgument,
    store: StoreOption,
    owner: ReceiversOwnerOption = "",
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
) -> None:
    """Send a receiver a signed `webhook.test`, once, from here; exit code 1 when it does not arrive."""
    with errors_told():
        guard = guard_from(allow_network, port, allow_http=allow_http)
    went = with_endpoints(store, lambda endpoints: endpoints.test(owner, endpoint), guard)
    status = "" if went.status is None else f" {went.status}"
    print(f"{endpoint}  {went.kind}{status}, {went.latency:,} ms{f': {went.detail}' if went.detail else ''}")
    if not went.is_delivered:
        raise typer.Exit(FAILED)


def make_secret() -> None:
    """Make a random secret, for `asyncinfer deliver`, `serve --webhooks` and who receives what they send."""
    from asyncinfer.adapters.webhook import Secret

    print(Secret.new().reveal())


def _print_new_secret(endpoint: Endpoint, *, as_json: bool) -> None:
    """Print an endpoint with the secret that it has just been given."""
    from asyncinfer.adapters.webhook import endpoint_told

    told = endpoint_told(endpoint, shows_secret=True)
    if as_json:
        print_json(told)
        return
    print(f"{told.id}  {origin_of(told.url)}\nsecret {told.secret}")
    if not told.enabled:
        print(f"disabled, until its receiver has the secret and you type: asyncinfer webhooks prove {told.id}")
