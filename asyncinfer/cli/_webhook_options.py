"""Options of the commands that send webhooks or receive them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from asyncinfer.errors import InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import Guard

T = TypeVar("T", bound=str)

SECRET_VARIABLE = "ASYNCINFER_WEBHOOK_SECRET"
EGRESS_PROXY_VARIABLE = "ASYNCINFER_WEBHOOK_EGRESS_PROXY"

SecretsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--secret",
        envvar=SECRET_VARIABLE,
        metavar="whsec_…",
        help="The secret; several while it is rotated, the new one first. Better not typed, where others see it.",
    ),
]
SecretFileOption = Annotated[
    Path | None,
    typer.Option(
        "--secret-file", metavar="FILE", help="A file with the secret; several by white space, the new one first."
    ),
]
EgressProxyOption = Annotated[
    str | None,
    typer.Option(
        "--egress-proxy",
        metavar="URL",
        help="The proxy that webhooks leave by, as http://proxy.internal:3128; it looks their hosts up. One with a"
        f" password is better not typed, where others see it, but in the environment: `{EGRESS_PROXY_VARIABLE}`.",
    ),
]
AllowNetworkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-network",
        metavar="CIDR",
        help="A private network with receivers, as 10.20.0.0/16; may be given several times.",
    ),
]
AllowHttpOption = Annotated[
    bool, typer.Option("--allow-http", help="Let webhooks go out without TLS too, to URLs that begin with http://.")
]
AllowPortOption = Annotated[
    list[int] | None,
    typer.Option(
        "--port",
        metavar="PORT",
        min=1,
        max=65_535,
        help="A port of receivers, instead of 443 and 8443; may be given several times.",
    ),
]
EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="The receiver, as wh_….")]
PublicBaseUrlOption = Annotated[
    str,
    typer.Option(
        "--public-base-url",
        metavar="URL",
        help="The sender's, by which receivers of CloudEvents know it and its events.",
    ),
]
ReceiversOwnerOption = Annotated[
    str, typer.Option("--owner", metavar="OWNER", help="Whose they are; default: the unnamed owner's.")
]


def secrets_from(given: list[str] | None, file: Path | None, *, is_needed: bool = True) -> list[str]:
    """Return the secrets to sign with, the current one first; none where something else signs.

    Raises InvalidOption, which shows none of them.
    """
    from asyncinfer.adapters.webhook import Secret

    secrets = list(given or ()) if file is None else words_of(file, "secret file")
    if is_needed and not secrets:
        raise InvalidOption(
            f"say what signs: {SECRET_VARIABLE}, or --secret-file FILE; `asyncinfer webhooks secret` makes one"
        )
    return [Secret.parse(text).reveal() for text in secrets]


def guard_from(
    networks: list[str] | None, ports: list[int] | None, *, allow_http: bool, egress_proxy: str | None = None
) -> Guard:
    """Return the guard that the options describe, and the environment. Raises InvalidOption, and MissingExtra."""
    from asyncinfer.adapters.webhook import Guard

    proxy = egress_proxy or os.environ.get(EGRESS_PROXY_VARIABLE) or None
    return Guard(allowed_networks=networks or (), allow_http=allow_http, ports=ports or None, egress_proxy=proxy)


def one_of(option: str, words: Sequence[T], given: str) -> T:
    """Return the word that an option names. Raise typer.BadParameter for another one."""
    for word in words:
        if word == given:
            return word
    raise typer.BadParameter(f"{option}: expected one of {', '.join(words)}, got {given!r}")


def words_of(file: Path, what: str) -> list[str]:
    """Return the secrets of a file that is read as `what`. Raises InvalidOption."""
    try:
        return file.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InvalidOption(f"{what}: {file} cannot be read: {why}") from error
