"""The command with its parts put together."""

from __future__ import annotations

from typing import Annotated

import typer

from asyncinfer.cli._deliver import deliver
from asyncinfer.cli._demo.command import demo
from asyncinfer.cli._jobs import jobs
from asyncinfer.cli._listen import listen
from asyncinfer.cli._serve import serve
from asyncinfer.cli._tokens import token
from asyncinfer.cli._top import top
from asyncinfer.cli._webhooks import webhooks
from asyncinfer.cli._work import work

# Tracebacks are for defects: plain ones, without typer's boxes and without the values of local variables.
app = typer.Typer(
    help="Durable background inference jobs: run workers, serve them over HTTP, send webhooks, look at jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(demo)
app.command()(work)
app.command()(serve)
app.command()(token)
app.command()(deliver)
app.command()(listen)
app.add_typer(jobs, name="jobs")
app.add_typer(webhooks, name="webhooks")
app.command()(top)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        print(f"asyncinfer {version('asyncinfer')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
