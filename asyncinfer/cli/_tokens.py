"""Bearer tokens of `asyncinfer serve`: `asyncinfer token` makes them, a file keeps their owners and hashes."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asyncinfer.cli._running import errors_told
from asyncinfer.errors import AsyncinferError, InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.http import BearerTokens

PREFIX = "asyncinfer_"
"""Tells a scanner for leaked secrets, and its finder, what a token is."""
TOKEN_BYTES = 32

TokensFileOption = Annotated[
    Path | None,
    typer.Option(
        "--tokens-file",
        metavar="FILE",
        help="Who may ask: lines of OWNER and the SHA-256 of a token, as `asyncinfer token` makes them.",
    ),
]


def token(
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Whose jobs the token opens.")],
    tokens_file: Annotated[
        Path | None,
        typer.Option(
            "--tokens-file",
            metavar="FILE",
            help="Append the owner and the token's hash to this file, and print only the token.",
        ),
    ] = None,
) -> None:
    """Make a random bearer token for `asyncinfer serve --tokens-file FILE`.

    The token is printed once and kept nowhere: FILE holds its hash. An owner may have several tokens; to take one back,
    delete its line and start the server again.
    """
    with errors_told():
        from asyncinfer.adapters.http import BearerTokens

        made = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
        line = f"{_checked_owner(owner)} {BearerTokens.hash(made)}"
        if tokens_file is not None:
            _append(tokens_file, line)
            print(made)
        else:
            print(f"token, for {owner}:\n  {made}\nits line in the tokens file:\n  {line}")


def tokens_in(path: Path) -> BearerTokens:
    """Return the tokens of a file. Raises InvalidOption, which names a line but shows nothing of it."""
    from asyncinfer.adapters.http import BearerTokens

    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOption(f"tokens file: {path} cannot be read: {_why(error)}") from error
    owners: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        owner, _, digest = line.strip().rpartition(" ")
        digest = digest.lower()
        try:
            BearerTokens({digest: owner.strip()})
        except InvalidOption:
            raise InvalidOption(
                f"tokens file: {path}, line {number}: expected OWNER and 64 hexadecimal digits"
            ) from None
        if digest in owners:
            raise InvalidOption(f"tokens file: {path}, line {number}: this token stands there twice")
        owners[digest] = owner.strip()
    if not owners:
        raise InvalidOption(f"tokens file: {path} names nobody; `asyncinfer token OWNER --tokens-file {path}` does")
    return BearerTokens(owners)


def _append(path: Path, line: str) -> None:
    """Append a line to a file that only its owner can read, if it is new."""
    try:
        path.touch(mode=0o600)
        with path.open("a+b") as file:
            file.seek(0)
            whole = file.read()
            file.write(b"" if not whole or whole.endswith(b"\n") else b"\n")
            file.write(f"{line}\n".encode())
    except OSError as error:
        raise AsyncinferError(f"the tokens file {path} cannot be written: {_why(error)}") from error


def _checked_owner(owner: str) -> str:
    """Return an owner that a line can hold."""
    if not 1 <= len(owner) <= 255 or not owner.isprintable() or owner != owner.strip() or owner.startswith("#"):
        raise InvalidOption("OWNER: expected 1 to 255 printable characters, no # before them and no spaces around them")
    return owner


def _why(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or "") if isinstance(error, OSError) else "it is no UTF-8"
