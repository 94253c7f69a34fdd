"""`asyncinfer listen`: a receiver of webhooks for development, that verifies and shows each."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.text import Text

from asyncinfer.cli._job_json import instant, plain
from asyncinfer.cli._job_tables import console, shortened
from asyncinfer.cli._lifetime import until_told
from asyncinfer.cli._running import errors_told, run
from asyncinfer.cli._webhook_options import SecretsOption

if TYPE_CHECKING:
    from asyncinfer.cli._http_server import ASGI, Address
    from asyncinfer.cli._webhook_receiver import Heard

HOST = "127.0.0.1"
REMEMBERED = 10_000
"""Ids by which a webhook is known that came before."""


def listen(
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65_535, help="The port; 0 takes a free one.")
    ] = 0,
    secret: SecretsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Receive webhooks on this machine, verify each signature and show what came, until SIGTERM or Ctrl-C.

    For development: `asyncinfer deliver --allow-http --allow-network 127.0.0.0/8 --port PORT` sends here. Without a
    secret one is made and printed, for the sender to sign with. A webhook is answered 200, one that no secret has
    signed 401; the challenge of `asyncinfer webhooks prove` is echoed, and the handshake of CloudEvents answered. A
    sender's public key (whpk_…) may stand for a secret. The exit code is 0.
    """
    with errors_told():
        from asyncinfer.adapters.webhook import Secret
        from asyncinfer.cli._http_server import bound
        from asyncinfer.cli._webhook_receiver import WebhookReceiver

        made = "" if secret else Secret.new().reveal()
        teller = Teller(as_json=as_json)
        with bound(HOST, port) as address:
            app = WebhookReceiver(secret or [made], teller.hear)
            run(until_told(_receiving(app, address, lambda: teller.begin(address.url, made))))


@contextlib.asynccontextmanager
async def _receiving(app: ASGI, address: Address, begin: Callable[[], None]) -> AsyncGenerator[None]:
    from asyncinfer.cli._http_server import served

    async with served(app, address):
        begin()
        yield


class Teller:
    """Prints what arrives, for a person or as lines of JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._console = console()
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, url: str, made: str) -> None:
        """Tell where webhooks are received, and the secret if it was made here."""
        if self._as_json:
            self._line({"kind": "listening", "url": url, **({"secret": made} if made else {})})
            return
        print(f"listening {url}", flush=True)
        if made:
            print(f"secret {made}", flush=True)

    def hear(self, heard: Heard) -> None:
        is_repeated = heard.is_verified and heard.id in self._known
        if heard.is_verified:
            self._known[heard.id] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        if self._as_json:
            self._line(_as_json(heard, is_repeated=is_repeated))
        else:
            self._show(heard, is_repeated=is_repeated)

    def _line(self, told: object) -> None:
        print(msgspec.json.encode(told).decode(), flush=True)

    def _show(self, heard: Heard, *, is_repeated: bool) -> None:
        body = _read(heard.body)
        line = Text.assemble(
            (f"{datetime.fromtimestamp(heard.at).astimezone():%X}  ", "dim"),
            (f"{_printable(heard.event or 'no event')}  ", "bold"),
            ("verified", "green") if heard.is_verified else (f"NOT verified: {_printable(heard.why)}", "bold red"),
            f"  {_printable(heard.id)}  {_printable(heard.path)}",
            ("  again" if is_repeated else "", "yellow"),
        )
        self._console.print(line, soft_wrap=True)
        self._console.print(Text(shortened(body)), soft_wrap=True)


def _as_json(heard: Heard, *, is_repeated: bool) -> dict[str, object]:
    try:
        msgspec.json.decode(heard.body)
        body: object = msgspec.Raw(heard.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = plain(heard.body)
    return {
        "kind": "webhook",
        "at": instant(round(heard.at * 1000)),
        "path": heard.path,
        "id": heard.id,
        "event": heard.event or None,
        "is_verified": heard.is_verified,
        "why": heard.why or None,
        "is_repeated": is_repeated,
        "body": body,
    }


def _read(body: bytes) -> str:
    """Return the body for the eye."""
    try:
        return msgspec.json.format(body, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return repr(body)


def _printable(text: str) -> str:
    """Return a text of anybody's without what would move a terminal's cursor."""
    return "".join(character if character.isprintable() else "?" for character in shortened(text))
