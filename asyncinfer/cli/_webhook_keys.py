"""The ed25519 keys of `asyncinfer deliver` and `serve --webhooks`; `asyncinfer webhooks signing-key` makes one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncinfer.cli._running import errors_told
from asyncinfer.cli._webhook_options import words_of
from asyncinfer.errors import InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import PrivateKey, Signer

SIGNING_KEY_VARIABLE = "ASYNCINFER_WEBHOOK_SIGNING_KEY"

SigningKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--signing-key-file",
        metavar="FILE",
        help="A file with an ed25519 key (whsk_…), which signs v1a besides; several by white space, the new one first."
        f" Or the key itself from the environment: `{SIGNING_KEY_VARIABLE}`.",
    ),
]


def signers_from(file: Path | None) -> Sequence[Signer]:
    """Return what signs v1a, the current key first, by a file or else the environment; nothing where neither is given.

    Raises InvalidOption, which shows no key, and MissingExtra without `webhook`.
    """
    from asyncinfer.adapters.webhook import Ed25519Signer, PrivateKey

    keys = os.environ.get(SIGNING_KEY_VARIABLE, "").split() if file is None else _keys_in(file)
    return [Ed25519Signer(PrivateKey.parse(text)) for text in keys]


def make_signing_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key is, or is to be.")],
) -> None:
    """Make an ed25519 key for v1a signatures, in a file that only you can read, and print its public key (whpk_…).

    Of a file that has one already the public key is printed again. The private key is not shown.
    """
    with errors_told():
        print(_key_from(file).public())


def _key_from(file: Path) -> PrivateKey:
    """Return the first key of a file; one that is not there is made, with a new key."""
    from asyncinfer.adapters.webhook import PrivateKey

    key = PrivateKey.new()
    key.public()  # raises MissingExtra before there is a file
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(f"{key.reveal()}\n")
    except FileExistsError:
        return PrivateKey.parse(_keys_in(file)[0])
    except OSError as error:
        raise InvalidOption(f"signing key file: {file} cannot be written: {error.strerror}") from error
    return key


def _keys_in(file: Path) -> Sequence[str]:
    keys = words_of(file, "signing key file")
    if not keys:
        raise InvalidOption(f"signing key file: {file} has no key")
    return keys
