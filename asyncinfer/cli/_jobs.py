"""`asyncinfer jobs`: look at the jobs of a store or a service, cancel them, run them again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import typer

from asyncinfer import JobFilter
from asyncinfer.cli._job_json import attempt_json, event_json, job_json, plain, text_of
from asyncinfer.cli._job_tables import console, job_sheet, jobs_table
from asyncinfer.cli._options import (
    JsonOption,
    LabelOption,
    ModelOption,
    OwnerOption,
    OwnersOption,
    QueueOption,
    StatusOption,
    StoreOrServiceOption,
    TokenOption,
    UrlOption,
    job_filter,
)
from asyncinfer.cli._running import FAILED, complain, run
from asyncinfer.cli._seen import Change, Jobs, SeenPage, SeenWhole, Wish
from asyncinfer.cli._where import jobs_at
from asyncinfer.errors import AsyncinferError

jobs = typer.Typer(
    help="Look at the jobs of a store or a service, cancel them, run them again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs by id; or choose by options.")]


@jobs.command("list")
def list_jobs(
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    status: StatusOption = None,
    model: ModelOption = None,
    queue: QueueOption = None,
    label: LabelOption = None,
    owner: OwnersOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000, help="How many jobs at most.")] = 50,
    after: Annotated[
        str | None, typer.Option("--after", metavar="CURSOR", help="The next_cursor of the page before.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    matching = job_filter(status, model, queue, label)
    place = jobs_at(store, url, token, owner)

    async def work() -> SeenPage:
        async with place as there:
            return await there.page(matching, after=after, limit=limit)

    page = run(work())
    if as_json:
        listed = [job_json(job) for job in page.jobs]
        print(text_of({"object": "list", "data": listed, "next_cursor": page.next_cursor}))
        return
    console().print(jobs_table(page.jobs, time.time_ns() // 1_000_000) if page.jobs else "no jobs")
    if page.next_cursor is not None:
        console().print(f"more: --after {page.next_cursor}", style="dim", soft_wrap=True)


@jobs.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job.")],
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    owner: OwnerOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one job with its attempts, its events and its result."""
    place = jobs_at(store, url, token, owner)

    async def work() -> SeenWhole:
        async with place as there:
            return await there.whole(job_id)

    whole = run(work())
    if as_json:
        attempts = [attempt_json(attempt) for attempt in whole.attempts]
        events = [event_json(event) for event in whole.events]
        parts = {"output": plain(whole.result), "attempts": attempts, "events": events}
        print(text_of(job_json(whole.job) | parts))
    else:
        console().print(job_sheet(whole))


@jobs.command("cancel")
def cancel_jobs(
    ids: IdsArgument = None,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    status: StatusOption = None,
    model: ModelOption = None,
    queue: QueueOption = None,
    label: LabelOption = None,
    owner: OwnersOption = "",
    as_json: JsonOption = False,
) -> None:
    """Cancel queued jobs and request running ones to stop: some by id, or all that match the options.

    By id, --owner names the owner of the jobs (default: the unnamed owner).
    """
    matching = _chosen(ids, job_filter(status, model, queue, label))
    _change("cancel", jobs_at(store, url, token, owner), ids or [], matching, as_json=as_json)


@jobs.command("retry")
def retry_jobs(
    ids: IdsArgument = None,
    store: StoreOrServiceOption = None,
    url: UrlOption = None,
    token: TokenOption = None,
    status: StatusOption = None,
    model: ModelOption = None,
    queue: QueueOption = None,
    label: LabelOption = None,
    owner: OwnersOption = "",
    as_json: JsonOption = False,
) -> None:
    """Run ended jobs again, each as a new job: some by id, or all that match the options.

    By id, --owner names the owner of the jobs (default: the unnamed owner).
    """
    matching = _chosen(ids, job_filter(status, model, queue, label))
    _change("retry", jobs_at(store, url, token, owner), ids or [], matching, as_json=as_json)


def _change(
    wish: Wish,
    place: AbstractAsyncContextManager[Jobs],
    ids: Sequence[str],
    matching: JobFilter,
    *,
    as_json: bool,
) -> None:
    """Change jobs one by one, or all that match; what cannot be changed is told, and the other ids go on."""
    done: list[Change] = []
    errors: list[AsyncinferError] = []

    async def work() -> None:
        async with place as there:
            if ids:
                await _change_each(wish, there, ids, done, errors)
            else:
                await _change_all(there.change_all(wish, matching), done, errors)

    run(work())
    for error in errors:
        complain(str(error))
    if as_json:
        print(text_of({"object": "list", "data": [{"id": one.job_id, "answer": one.answer} for one in done]}))
    else:
        for one in done:
            print(f"{one.job_id}  {one.answer}")
        if not ids:
            print(f"{len(done)} jobs")
    if errors:
        raise typer.Exit(FAILED)


async def _change_each(
    wish: Wish, there: Jobs, ids: Sequence[str], done: list[Change], errors: list[AsyncinferError]
) -> None:
    for job_id in ids:
        try:
            done.append(await there.change(wish, job_id))
        except AsyncinferError as error:
            errors.append(error)


async def _change_all(changes: AsyncGenerator[Change], done: list[Change], errors: list[AsyncinferError]) -> None:
    async with contextlib.aclosing(changes):
        try:
            async for change in changes:
                done.append(change)  # noqa: PERF401  an error must not lose those before it
        except AsyncinferError as error:
            errors.append(error)


def _chosen(ids: list[str] | None, matching: JobFilter) -> JobFilter:
    if ids and not matching.is_empty:
        raise typer.BadParameter("give either ids or --status, --model, --queue, --label")
    if not ids and matching.is_empty:
        raise typer.BadParameter("which jobs? Give ids, or at least one of --status, --model, --queue, --label")
    return matching
