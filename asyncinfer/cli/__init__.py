"""The `asyncinfer` command. It needs the extra `cli` (typer, rich); only public names of the library are used here."""

from __future__ import annotations

import sys

from asyncinfer.errors import MissingExtra

NEEDED = frozenset({"typer", "rich"})


def main() -> None:
    """Run the command line; exit 2 with the line to type when the extra is not installed."""
    try:
        from asyncinfer.cli._app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        missing = MissingExtra(f"the asyncinfer command needs {error.name}: pip install 'asyncinfer[cli]'")
        print(f"asyncinfer: {missing}", file=sys.stderr)
        raise SystemExit(2) from None
    app(prog_name="asyncinfer")
