"""`asyncinfer serve`: a manager behind the HTTP contract, as a process of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from asyncinfer import JobManager
from asyncinfer.cli._deliver import delivering
from asyncinfer.cli._import_path import manager_at
from asyncinfer.cli._lifetime import run_until_told
from asyncinfer.cli._options import LogLevelOption, ManagerArgument, log_from
from asyncinfer.cli._running import errors_told, run
from asyncinfer.cli._tokens import TokensFileOption, tokens_in
from asyncinfer.cli._webhook_keys import SigningKeyFileOption
from asyncinfer.cli._webhook_options import AllowHttpOption, AllowNetworkOption, EgressProxyOption, SecretFileOption
from asyncinfer.cli._webhooks_beside import ReceiverPortOption, SenderOptions, WebhooksOption, sender_beside
from asyncinfer.errors import InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.http import BearerTokens
    from asyncinfer.adapters.webhook import WebhookSender
    from asyncinfer.cli._http_server import ASGI, Address

logger = logging.getLogger("asyncinfer.serve")


def serve(
    manager: ManagerArgument,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="The port; 0 takes a free one.")
    ] = 8000,
    public_base_url: Annotated[
        str | None,
        typer.Option(
            "--public-base-url",
            metavar="URL",
            help="Where clients find it, if not at this address: links are made from it.",
        ),
    ] = None,
    tokens_file: TokensFileOption = None,
    allow_anonymous: Annotated[
        bool,
        typer.Option("--allow-anonymous", help="Let every program of this machine in; only on a loopback address."),
    ] = False,
    webhooks: WebhooksOption = False,
    secret_file: SecretFileOption = None,
    signing_key_file: SigningKeyFileOption = None,
    allow_network: AllowNetworkOption = None,
    allow_http: AllowHttpOption = False,
    receiver_port: ReceiverPortOption = None,
    egress_proxy: EgressProxyOption = None,
    log_level: LogLevelOption = "info",
) -> None:
    """Serve the HTTP contract over a manager, and run its jobs, until SIGTERM or Ctrl-C.

    A manager with run_jobs=False only submits. The line `serving URL` is printed once it listens. Say who may ask:
    --tokens-file, or on a loopback address --allow-anonymous for every program of this machine (web pages of other
    origins are turned away). It speaks no TLS: put a proxy before it.

    With --webhooks, jobs may name who is told of their ending, and owners register receivers; without, another process
    (`asyncinfer deliver`) may send what is owed. Without further options nothing but public https addresses is called.

    The first signal closes the port, ends streams and long polls, and drains as `asyncinfer work` does; a second one
    gives back at once. The exit code is 0 after a drain. The working directory is importable.
    """
    log_from(log_level)
    with errors_told():
        from asyncinfer.adapters.http import create_app
        from asyncinfer.cli._http_server import bound
        from asyncinfer.cli._local_only import LocalOnly

        with bound(host, port) as address:
            authenticate = _access(address, tokens_file, allow_anonymous=allow_anonymous)
            found = manager_at(manager)
            url = public_base_url or _own_url(address)
            options = SenderOptions(
                secret_file=secret_file,
                signing_key_file=signing_key_file,
                allow_network=allow_network,
                allow_http=allow_http,
                receiver_port=receiver_port,
                egress_proxy=egress_proxy,
            )
            sender = sender_beside(found, url, options, is_wanted=webhooks)
            app: ASGI = create_app(
                found,
                public_base_url=url,
                authenticate=authenticate,
                allow_anonymous=authenticate is None,
                webhooks=sender,
            )
            if authenticate is None:
                app = LocalOnly(app, address.host, urlsplit(url).hostname or "")
            run(run_until_told(found, _listening(app, address, found, sender), logger))


@contextlib.asynccontextmanager
async def _listening(
    app: ASGI, address: Address, manager: JobManager, sender: WebhookSender | None
) -> AsyncGenerator[None]:
    from asyncinfer.cli._http_server import served

    sending = contextlib.nullcontext() if sender is None else delivering(sender)
    async with sending, served(app, address, manager):
        print(f"serving {address.url}", flush=True)
        yield


def _access(address: Address, tokens_file: Path | None, *, allow_anonymous: bool) -> BearerTokens | None:
    """Return who may ask; None is everybody on this machine. Raises InvalidOption when that is not said."""
    if tokens_file is not None and allow_anonymous:
        raise InvalidOption("--allow-anonymous: expected none beside --tokens-file")
    if tokens_file is not None:
        return tokens_in(tokens_file)
    if not address.is_loopback:
        raise InvalidOption(
            f"--host: {address.host} can be reached from other machines, so say who may ask: --tokens-file FILE"
            " (--allow-anonymous is for loopback addresses)"
        )
    if not allow_anonymous:
        raise InvalidOption("say who may ask: --tokens-file FILE, or --allow-anonymous for everybody on this machine")
    return None


def _own_url(address: Address) -> str:
    if address.is_any:
        raise InvalidOption(f"--public-base-url: say where clients find the service, {address.host} is no such place")
    return address.url
