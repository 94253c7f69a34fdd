"""`asyncinfer work`: run a manager as a process of its own, until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated

import typer

from asyncinfer import JobManager
from asyncinfer.cli._deliver import delivering
from asyncinfer.cli._import_path import manager_at
from asyncinfer.cli._lifetime import run_until_told
from asyncinfer.cli._options import LogLevelOption, ManagerArgument, log_from
from asyncinfer.cli._running import errors_told, run
from asyncinfer.cli._webhook_keys import SigningKeyFileOption
from asyncinfer.cli._webhook_options import AllowHttpOption, AllowNetworkOption, EgressProxyOption, SecretFileOption
from asyncinfer.cli._webhooks_beside import ReceiverPortOption, SenderOptions, WebhooksOption, sender_beside
from asyncinfer.errors import InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

logger = logging.getLogger("asyncinfer.work")


def work(
    manager: ManagerArgument,
    webhooks: WebhooksOption = False,
    secret_file: SecretFileOption = None,
    signing_key_file: SigningKeyFileOption = None,
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    receiver_port: ReceiverPortOption = None,
    egress_proxy: EgressProxyOption = None,
    public_base_url: Annotated[
        str, typer.Option("--public-base-url", metavar="URL", help="Where links in the webhooks lead.")
    ] = "",
    log_level: LogLevelOption = "info",
) -> None:
    """Run the jobs of a manager until SIGTERM or Ctrl-C.

    With --webhooks it sends what is owed to receivers too, beside other senders of the store; and of the jobs that it
    runs, which no sender elsewhere can, their starts, progress and output to who asks.

    The first signal drains: nothing more is claimed, what runs has the manager's drain_grace to finish, the rest is
    given back uncharged. A second signal gives back at once. The exit code is 0 after a drain. The working directory is
    importable.
    """
    log_from(log_level)
    with errors_told():
        found = manager_at(manager)
        options = SenderOptions(
            secret_file=secret_file,
            signing_key_file=signing_key_file,
            allow_network=allow_network,
            allow_http=allow_http,
            receiver_port=receiver_port,
            egress_proxy=egress_proxy,
        )
        sender = sender_beside(found, public_base_url, options, is_wanted=webhooks)
    run(run_until_told(found, _running(found, sender), logger))


@contextlib.asynccontextmanager
async def _running(manager: JobManager, sender: WebhookSender | None) -> AsyncGenerator[None]:
    """Tell what is run. Raise InvalidOption for a manager that runs nothing."""
    pids = {(worker.host, worker.pid) for worker in await manager.workers()}
    if (socket.gethostname(), os.getpid()) not in pids:
        raise InvalidOption("MANAGER: expected a JobManager that runs jobs, this one has run_jobs=False")
    sending = contextlib.nullcontext() if sender is None else delivering(sender)
    async with sending:
        logger.info("process %d runs %s", os.getpid(), ", ".join(model.name for model in manager.models()))
        yield
