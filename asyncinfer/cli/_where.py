"""Where the jobs are: `--store`, or `--url` and `--token`."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

import typer

from asyncinfer.cli._jobs_of_store import jobs_of_store
from asyncinfer.cli._running import errors_told
from asyncinfer.cli._seen import Jobs

STORE_VARIABLE = "ASYNCINFER_STORE"
TOKEN_VARIABLE = "ASYNCINFER_TOKEN"


def jobs_at(store: str | None, url: str | None, token: str | None, owner: str) -> AbstractAsyncContextManager[Jobs]:
    """Return the jobs of the one that is named, not yet opened; what is typed goes before the environment.

    Raises typer.BadParameter for too much or too little.
    """
    if store is not None and url is not None:
        raise typer.BadParameter("give either --store or --url")
    if url is None:
        store = store or os.environ.get(STORE_VARIABLE)
        if not store:
            raise typer.BadParameter(f"where are the jobs? Give --store (or set {STORE_VARIABLE}), or --url")
        if token is not None:
            raise typer.BadParameter("--token is for --url: a store asks for none")
        return jobs_of_store(store, owner)
    if owner:
        raise typer.BadParameter("--owner is for --store: of a service the token says whose jobs they are")
    with errors_told():
        from asyncinfer.cli._jobs_of_service import jobs_of_service

        return jobs_of_service(url, token or os.environ.get(TOKEN_VARIABLE) or None)
