"""What a worker process tells while it runs, handed on: to the jobs' contexts, and to the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from asyncinfer.abc import Call
from asyncinfer.errors import AsyncinferError
from asyncinfer_process._messages import Logged, Said


class OutOfBounds(Exception):
    """It said what no worker says: its process cannot be trusted any more."""


def hear(call: Call, said: Said, parts: Sequence[bytes]) -> None:
    """Tell each context what its job has told. Waits while a job has too much that is not stored. Raise OutOfBounds."""
    waiting = iter(parts)
    try:
        for telling in said.tellings:
            context = call.items[telling.item].context
            if telling.progress is not None:
                told = telling.progress
                context.progress(told.fraction, told.message, current=told.current, total=told.total)
            for _ in range(telling.outputs):
                context.emit(msgspec.Raw(next(waiting)))
            if telling.has_checkpoint:
                context.save_checkpoint(msgspec.Raw(next(waiting)))
    except (IndexError, StopIteration, AsyncinferError) as error:
        raise OutOfBounds(f"it told what is not there or too much: {error}") from error


def log(logged: Logged) -> None:
    """Write a line to the log as if it had been logged here."""
    logger = logging.getLogger(logged.logger)
    if logger.isEnabledFor(logged.level):
        logger.log(logged.level, "%s", logged.text)
