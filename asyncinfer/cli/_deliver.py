"""`asyncinfer deliver`: send the webhooks of a store, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated

import typer

from asyncinfer.cli._client import client_of
from asyncinfer.cli._lifetime import run_until_told
from asyncinfer.cli._options import LogLevelOption, StoreOption, log_from
from asyncinfer.cli._running import errors_told, run
from asyncinfer.cli._webhook_keys import SigningKeyFileOption, signers_from
from asyncinfer.cli._webhook_options import (
    AllowHttpOption,
    AllowNetworkOption,
    AllowPortOption,
    EgressProxyOption,
    SecretFileOption,
    SecretsOption,
    guard_from,
    secrets_from,
)

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

logger = logging.getLogger("asyncinfer.deliver")


def deliver(
    store: StoreOption,
    secret: SecretsOption = None,
    secret_file: SecretFileOption = None,
    signing_key_file: SigningKeyFileOption = None,
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    port: AllowPortOption = None,
    egress_proxy: EgressProxyOption = None,
    public_base_url: Annotated[
        str, typer.Option("--public-base-url", metavar="URL", help="Where links in the webhooks lead.")
    ] = "",
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="Attempts at once, to all receivers.")
    ] = 64,
    log_level: LogLevelOption = "info",
) -> None:
    """Send the webhooks of a store until SIGTERM or Ctrl-C; it runs no jobs, and several may run beside each other.

    The secret signs what goes to URLs that came with a job; registered endpoints have their own. A signing key signs
    all besides, and may do alone. Without options it calls nothing but public https addresses. It tells of endings:
    live events need a sender beside the manager that runs the job (`work --webhooks`). What is under way at the signal
    is sent again by the next sender, with the same id. The exit code is 0.
    """
    log_from(log_level)
    with errors_told():
        from asyncinfer.adapters.webhook import WebhookSender

        signers = signers_from(signing_key_file)
        signing = secrets_from(secret, secret_file, is_needed=not signers)
        manager = client_of(store)
        sender = WebhookSender(
            manager,
            secret=next(iter(signing), None),
            previous_secrets=signing[1:],
            signers=signers,
            guard=guard_from(allow_network, port, allow_http=allow_http, egress_proxy=egress_proxy),
            public_base_url=public_base_url,
            concurrency=concurrency,
        )
        run(run_until_told(manager, _telling(sender), logger))


@contextlib.asynccontextmanager
async def delivering(sender: WebhookSender) -> AsyncGenerator[None]:
    """Let the sender deliver until this is left; a sender that fails ends what runs beside it."""
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(sender.run())
        try:
            yield
        finally:
            task.cancel()


@contextlib.asynccontextmanager
async def _telling(sender: WebhookSender) -> AsyncGenerator[None]:
    async with delivering(sender):
        logger.info("delivering webhooks")
        yield
