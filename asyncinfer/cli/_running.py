"""Run what a command has to await, and say what went wrong in one line."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from asyncinfer.errors import AsyncinferError

T = TypeVar("T")

FAILED = 1
INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def run(work: Coroutine[Any, Any, T]) -> T:  # Any: what a coroutine yields is its loop's business
    """Run `work` on a loop of its own and return its result; see `errors_told`."""
    with errors_told():
        return asyncio.run(work)


@contextlib.contextmanager
def errors_told() -> Generator[None, None, None]:
    """Make of an AsyncinferError one red line and exit code 1, of Ctrl-C exit code 130.

    Anything else is a defect, and keeps its traceback.
    """
    try:
        yield
        return
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except AsyncinferError as error:
        complain(str(error))
    except BaseExceptionGroup as group:
        expected, rest = group.split(AsyncinferError)
        if expected is None or rest is not None:
            raise
        for leaf in _leaves(expected):
            complain(str(leaf))
    raise typer.Exit(FAILED)


def complain(message: str) -> None:
    """Print one red line to standard error."""
    line = Text(f"asyncinfer: {' '.join(message.split())}", style="red")
    Console(stderr=True).print(line, soft_wrap=True)


def _leaves(group: BaseExceptionGroup[AsyncinferError]) -> Iterable[AsyncinferError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
