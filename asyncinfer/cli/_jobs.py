"""`asyncinfer jobs`: look at the jobs of a store, cancel them, run them again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import typer

from asyncinfer import Job, JobFilter, JobManager, ScopedManager
from asyncinfer.cli._client import client_of
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
    StoreOption,
    job_filter,
)
from asyncinfer.cli._running import FAILED, complain, run
from asyncinfer.errors import AsyncinferError, JobExpired, UnknownJob

SHOWN_EVENTS = 1_000
"""The oldest events of a job that `show` prints."""

jobs = typer.Typer(
    help="Look at the jobs of a store, cancel them, run them again.", no_args_is_help=True, rich_markup_mode=None
)
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Jobs by id; or choose by options.")]


@jobs.command("list")
def list_jobs(
    store: StoreOption,
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

    async def work() -> None:
        async with client_of(store) as manager:
            page = await _seen_by(manager, owner).find(matching, after=after, limit=limit)
        if as_json:
            print(
                text_of(
                    {"object": "list", "data": [job_json(job) for job in page.jobs], "next_cursor": page.next_cursor}
                )
            )
            return
        console().print(jobs_table(page.jobs, time.time_ns() // 1_000_000) if page.jobs else "no jobs")
        if page.next_cursor is not None:
            console().print(f"more: --after {page.next_cursor}", style="dim", soft_wrap=True)

    run(work())


@jobs.command("show")
def show_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job.")],
    store: StoreOption,
    owner: OwnerOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show one job with its attempts, its events and its result."""

    async def work() -> None:
        async with client_of(store) as manager:
            own = _seen_by(manager, owner)
            job = await _told_of_owner(own.get(job_id), owner)
            attempts = await own.attempts(job_id)
            events = (await own.events(job_id, limit=SHOWN_EVENTS)).events
            result = await _result(own, job)
        if as_json:
            parts = {"output": plain(result), "attempts": [attempt_json(attempt) for attempt in attempts]}
            print(text_of(job_json(job) | parts | {"events": [event_json(event) for event in events]}))
        else:
            console().print(job_sheet(job, attempts, events, result, has_result=job.result is not None))

    run(work())


@jobs.command("cancel")
def cancel_jobs(
    store: StoreOption,
    ids: IdsArgument = None,
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

    async def cancel_one(manager: ScopedManager, job_id: str) -> str:
        return await manager.cancel(job_id)

    async def cancel_all(manager: ScopedManager) -> Sequence[dict[str, str]]:
        return [{"id": job_id, "answer": "canceled or requested"} for job_id in await manager.cancel_all(matching)]

    run(_change(store, owner, ids or [], cancel_one, cancel_all, as_json=as_json))


@jobs.command("retry")
def retry_jobs(
    store: StoreOption,
    ids: IdsArgument = None,
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

    async def retry_one(manager: ScopedManager, job_id: str) -> str:
        return f"runs again as {(await manager.retry(job_id)).id}"

    async def retry_all(manager: ScopedManager) -> Sequence[dict[str, str]]:
        handles = await manager.retry_all(matching)
        return [{"id": handle.id, "answer": "queued"} for handle in handles]

    run(_change(store, owner, ids or [], retry_one, retry_all, as_json=as_json))


async def _change(
    store: str,
    owner: str,
    ids: Sequence[str],
    one: Callable[[ScopedManager, str], Awaitable[str]],
    every: Callable[[ScopedManager], Awaitable[Sequence[dict[str, str]]]],
    *,
    as_json: bool,
) -> None:
    """Change jobs one by one, or all that match; an id that cannot be changed is told, and the others go on."""
    answers: list[dict[str, str]] = []
    is_complete = True
    async with client_of(store) as manager:
        own = _seen_by(manager, owner)
        if not ids:
            answers += await every(own)
        for job_id in ids:
            try:
                answers.append({"id": job_id, "answer": await _told_of_owner(one(own, job_id), owner)})
            except AsyncinferError as error:
                complain(str(error))
                is_complete = False
    if as_json:
        print(text_of({"object": "list", "data": answers}))
    else:
        for answer in answers:
            print(f"{answer['id']}  {answer['answer']}")
        if not ids:
            print(f"{len(answers)} jobs")
    if not is_complete:
        raise typer.Exit(FAILED)


def _seen_by(manager: JobManager, owner: str) -> ScopedManager:
    return manager.scoped(owner) if owner else manager


def _chosen(ids: list[str] | None, matching: JobFilter) -> JobFilter:
    if ids and not matching.is_empty:
        raise typer.BadParameter("give either ids or --status, --model, --queue, --label")
    if not ids and matching.is_empty:
        raise typer.BadParameter("which jobs? Give ids, or at least one of --status, --model, --queue, --label")
    return matching


async def _told_of_owner(answer: Awaitable[Any], owner: str) -> Any:  # Any: passed through
    """Await `answer`; to an unknown job of the unnamed owner add that owners exist."""
    try:
        return await answer
    except UnknownJob as error:
        raise (
            error if owner else UnknownJob(f"{error} (the unnamed one); if it has an owner, name it with --owner")
        ) from None


async def _result(manager: ScopedManager, job: Job) -> object:
    if job.result is None:
        return None
    try:
        return await manager.handle(job.id).result()
    except JobExpired:
        return None
