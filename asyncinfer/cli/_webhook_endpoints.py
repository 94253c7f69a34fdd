"""`asyncinfer webhooks list|add|rotate|…`: the registered receivers of a store or a service."""

from __future__ import annotations

from typing import Annotated, get_args

import typer
from msgspec import UNSET

from asyncinfer import wire
from asyncinfer.cli._job_tables import console
from asyncinfer.cli._options import JsonOption, StoreOrServiceOption, TokenOption, UrlOption
from asyncinfer.cli._running import FAILED
from asyncinfer.cli._webhook_answers import asked_at, now, print_json
from asyncinfer.cli._webhook_calling import Calling
from asyncinfer.cli._webhook_keys import SigningKeyFileOption
from asyncinfer.cli._webhook_options import (
    AllowHttpOption,
    AllowNetworkOption,
    AllowPortOption,
    EgressProxyOption,
    EndpointArgument,
    PublicBaseUrlOption,
    ReceiversOwnerOption,
    one_of,
)
from asyncinfer.cli._webhook_tables import endpoints_table, origin_of, outcome_of
from asyncinfer.cli._where import webhooks_at

EVENTS: tuple[wire.EndpointEvent, ...] = get_args(wire.EndpointEvent)
PROOFS: tuple[wire.WebhookProof, ...] = get_args(wire.WebhookProof)
FORMATS: tuple[wire.WebhookFormat, ...] = get_args(wire.WebhookFormat)


def list_endpoints(
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
    as_json: JsonOption = False,
) -> None:
    """List an owner's receivers.

    The table shows scheme and host of their URLs, since screens are shared and the rest of a URL may be a secret;
    --json, which programs read, shows the whole, as the HTTP service does to the owner. No secret is shown by either.
    """
    told = asked_at(webhooks_at(store, url, token, owner, Calling()), lambda there: there.list())
    if as_json:
        print_json(wire.WebhookEndpointList(data=list(told)))
    else:
        console().print(endpoints_table(told, now()) if told else "no receivers")


def add_endpoint(
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where webhooks are sent.")],
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
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
    egress_proxy: EgressProxyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a receiver, for jobs that name it as their webhook. Its secret is printed here, and nowhere else.

    With --url the service judges where may be called; the options about that are for --store.
    """
    asked = wire.RegisterWebhook(
        url=receiver,
        events=[one_of("--event", EVENTS, one) for one in event] if event else UNSET,
        description=description,
        proof=one_of("--proof", PROOFS, proof),
        format=one_of("--format", FORMATS, form),
    )
    calling = Calling(
        allow_network=allow_network,
        allow_http=allow_http,
        port=port,
        egress_proxy=egress_proxy,
        public_base_url=public_base_url,
    )
    made = asked_at(webhooks_at(store, url, token, owner, calling), lambda there: there.register(asked))
    _print_new_secret(made, as_json=as_json)


def rotate_secret(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
    as_json: JsonOption = False,
) -> None:
    """Give a receiver a new secret, printed here and nowhere else; the one before signs too for a day."""
    place = webhooks_at(store, url, token, owner, Calling())
    _print_new_secret(asked_at(place, lambda there: there.rotate(endpoint)), as_json=as_json)


def remove_endpoint(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Forget a receiver; what is pending for it is not sent."""
    asked_at(webhooks_at(store, url, token, owner, Calling()), lambda there: there.delete(endpoint))
    print(f"{endpoint}  removed")


def enable_endpoint(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Send to a receiver again that was disabled; `recover` sends what it has missed."""
    place = webhooks_at(store, url, token, owner, Calling())
    asked_at(place, lambda there: there.enable(endpoint, is_enabled=True))
    print(f"{endpoint}  enabled")


def disable_endpoint(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
) -> None:
    """Send a receiver nothing more, until it is enabled."""
    place = webhooks_at(store, url, token, owner, Calling())
    asked_at(place, lambda there: there.enable(endpoint, is_enabled=False))
    print(f"{endpoint}  disabled")


def prove_endpoint(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
    egress_proxy: EgressProxyOption = None,
    signing_key_file: SigningKeyFileOption = None,
    public_base_url: PublicBaseUrlOption = "",
) -> None:
    """Ask a receiver whether it wants webhooks, by a challenge or as CloudEvents do, and enable it when it does.

    With --store it is asked from here, as the options say; with --url by the service.
    """
    calling = Calling(
        allow_network=allow_network,
        allow_http=allow_http,
        port=port,
        egress_proxy=egress_proxy,
        signing_key_file=signing_key_file,
        public_base_url=public_base_url,
        is_signing=True,
    )
    asked_at(webhooks_at(store, url, token, owner, calling), lambda there: there.prove(endpoint))
    print(f"{endpoint}  proven, and enabled")


def try_endpoint(
    endpoint: EndpointArgument,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: ReceiversOwnerOption = "",
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
    egress_proxy: EgressProxyOption = None,
    signing_key_file: SigningKeyFileOption = None,
) -> None:
    """Send a receiver a signed `webhook.test`, once; exit code 1 when it does not arrive.

    With --store it is sent from here, as the options say; with --url by the service.
    """
    calling = Calling(
        allow_network=allow_network,
        allow_http=allow_http,
        port=port,
        egress_proxy=egress_proxy,
        signing_key_file=signing_key_file,
        is_signing=True,
    )
    went = asked_at(webhooks_at(store, url, token, owner, calling), lambda there: there.test(endpoint))
    took = f"{went.latency_seconds * 1000:,.0f} ms"
    print(f"{endpoint}  {outcome_of(went)}, {took}{f': {went.detail}' if went.detail else ''}")
    if went.kind != "delivered":
        raise typer.Exit(FAILED)


def make_secret() -> None:
    """Make a random secret, for `asyncinfer deliver`, `serve --webhooks` and who receives what they send."""
    from asyncinfer.adapters.webhook import Secret

    print(Secret.new().reveal())


def _print_new_secret(told: wire.WebhookEndpoint, *, as_json: bool) -> None:
    """Print an endpoint with the secret that it has just been given."""
    if as_json:
        print_json(told)
        return
    print(f"{told.id}  {origin_of(told.url)}\nsecret {told.secret}")
    if not told.enabled:
        print(f"disabled, until its receiver has the secret and you type: asyncinfer webhooks prove {told.id}")
