"""Options that several commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated, TypeGuard, get_args

import typer

from asyncinfer import JobFilter, Status

JOB_STATUSES: tuple[Status, ...] = get_args(Status)
LOG_LEVELS = ("debug", "info", "warning", "error")

ManagerArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:MANAGER",
        help="Where the JobManager is, or a function without arguments that returns one, as app.jobs:manager.",
    ),
]
LogLevelOption = Annotated[
    str, typer.Option("--log-level", metavar="LEVEL", help=f"What to log: {', '.join(LOG_LEVELS)}.")
]

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="ASYNCINFER_STORE",
        metavar="URL",
        help="Where the jobs live, as sqlite:///jobs.db.",
    ),
]
StoreOrServiceOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where the jobs live, as sqlite:///jobs.db. From the environment, without --url: `ASYNCINFER_STORE`.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Instead of a store: the service to ask, as http://127.0.0.1:8000."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="The service's bearer token, which says whose jobs. Better from the environment: `ASYNCINFER_TOKEN`.",
    ),
]
OwnerOption = Annotated[
    str, typer.Option("--owner", metavar="OWNER", help="Whose jobs of the store; default: the unnamed owner's.")
]
OwnersOption = Annotated[
    str, typer.Option("--owner", metavar="OWNER", help="Whose jobs of the store; default: every owner's.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StatusOption = Annotated[
    list[str] | None,
    typer.Option("--status", metavar="STATUS", help=f"{', '.join(JOB_STATUSES)}; may be given several times."),
]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="NAME", help="Jobs of this model.")]
QueueOption = Annotated[str | None, typer.Option("--queue", metavar="NAME", help="Jobs of this queue.")]
LabelOption = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="KEY=VALUE", help="Jobs with this label; may be given several times."),
]


def log_from(level: str) -> None:
    """Log to standard error from `level` on. Raise typer.BadParameter for an unknown one."""
    if level not in LOG_LEVELS:
        raise typer.BadParameter(f"--log-level: expected one of {', '.join(LOG_LEVELS)}, got {level!r}")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def job_filter(statuses: list[str] | None, model: str | None, queue: str | None, labels: list[str] | None) -> JobFilter:
    """Return the filter that the options describe. Raise typer.BadParameter naming the wrong one."""
    wanted: list[Status] = []
    for status in statuses or ():
        if not _is_status(status):
            raise typer.BadParameter(f"--status: expected one of {', '.join(JOB_STATUSES)}, got {status!r}")
        wanted.append(status)
    return JobFilter(status=tuple(wanted), model=model, queue=queue, labels=_labels(labels or ()))


def _labels(pairs: Iterable[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise typer.BadParameter(f"--label: expected KEY=VALUE, got {pair!r}")
        labels[name] = value
    return labels


def _is_status(text: str) -> TypeGuard[Status]:
    return text in JOB_STATUSES
