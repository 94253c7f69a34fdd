"""The webhook sender beside the manager of `serve` or `work`: what it is told by, and itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from asyncinfer import JobManager
from asyncinfer.cli._webhook_keys import signers_from
from asyncinfer.cli._webhook_options import SECRET_VARIABLE, guard_from, secrets_from
from asyncinfer.errors import InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

WebhooksOption = Annotated[
    bool,
    typer.Option(
        "--webhooks", help=f"Send webhooks too, signed with the secret in {SECRET_VARIABLE} or --secret-file."
    ),
]
ReceiverPortOption = Annotated[
    list[int] | None,
    typer.Option(
        "--receiver-port",
        metavar="PORT",
        min=1,
        max=65_535,
        help="A port of receivers, instead of 443 and 8443; may be given several times.",
    ),
]


class SenderOptions(Struct, frozen=True, kw_only=True):
    """The options that need --webhooks."""

    secret_file: Path | None
    signing_key_file: Path | None
    allow_network: list[str] | None
    allow_http: bool
    receiver_port: list[int] | None
    egress_proxy: str | None


def sender_beside(manager: JobManager, url: str, options: SenderOptions, *, is_wanted: bool) -> WebhookSender | None:
    """Return the sender that the options describe; None where none is wanted. Raises InvalidOption, MissingExtra."""
    if not is_wanted:
        if any(getattr(options, name) for name in options.__struct_fields__):
            names = ", ".join("--" + name.replace("_", "-") for name in options.__struct_fields__)
            raise InvalidOption(f"{names}: expected --webhooks")
        return None
    from asyncinfer.adapters.webhook import WebhookSender

    guard = guard_from(
        options.allow_network,
        options.receiver_port,
        allow_http=options.allow_http,
        egress_proxy=options.egress_proxy,
    )
    signers = signers_from(options.signing_key_file)
    given = os.environ.get(SECRET_VARIABLE, "").split()
    signing = secrets_from(given, options.secret_file, is_needed=not signers)
    return WebhookSender(
        manager,
        secret=next(iter(signing), None),
        previous_secrets=signing[1:],
        signers=signers,
        guard=guard,
        public_base_url=url,
    )
