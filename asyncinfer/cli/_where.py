"""Where the jobs are, or the receivers of webhooks: `--store`, or `--url` and `--token`."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

import typer

from asyncinfer.cli._jobs_of_store import jobs_of_store
from asyncinfer.cli._running import errors_told
from asyncinfer.cli._seen import Jobs
from asyncinfer.cli._seen_webhooks import Webhooks
from asyncinfer.cli._webhook_calling import Calling

STORE_VARIABLE = "ASYNCINFER_STORE"
TOKEN_VARIABLE = "ASYNCINFER_TOKEN"


def jobs_at(store: str | None, url: str | None, token: str | None, owner: str) -> AbstractAsyncContextManager[Jobs]:
    """Return the jobs of the one that is named, not yet opened; what is typed goes before the environment.

    Raises typer.BadParameter for too much or too little.
    """
    if url is None:
        return jobs_of_store(_store(store, token), owner)
    _check_service(store, owner)
    with errors_told():
        from asyncinfer.cli._jobs_of_service import jobs_of_service

        return jobs_of_service(url, _token(token))


def webhooks_at(
    store: str | None, url: str | None, token: str | None, owner: str, calling: Calling
) -> AbstractAsyncContextManager[Webhooks]:
    """Return the receivers and deliveries of the one that is named, not yet opened; see `jobs_at`."""
    if url is None:
        store = _store(store, token)
        with errors_told():
            from asyncinfer.cli._webhooks_of_store import webhooks_of_store

            return webhooks_of_store(store, owner, calling)
    _check_service(store, owner)
    if calling.typed:
        raise typer.BadParameter(f"{', '.join(calling.typed)}: for --store; a service calls as it was started to")
    with errors_told():
        from asyncinfer.cli._webhooks_of_service import webhooks_of_service

        return webhooks_of_service(url, _token(token))


def _store(store: str | None, token: str | None) -> str:
    found = store or os.environ.get(STORE_VARIABLE)
    if not found:
        raise typer.BadParameter(f"where are the jobs? Give --store (or set {STORE_VARIABLE}), or --url")
    if token is not None:
        raise typer.BadParameter("--token is for --url: a store asks for none")
    return found


def _check_service(store: str | None, owner: str) -> None:
    if store is not None:
        raise typer.BadParameter("give either --store or --url")
    if owner:
        raise typer.BadParameter("--owner is for --store: of a service the token says whose they are")


def _token(token: str | None) -> str | None:
    return token or os.environ.get(TOKEN_VARIABLE) or None
