"""What a manager's process and a worker's say to each other. Large things travel beside the message, as parts."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from asyncinfer.abc import JobError, OutcomeKind, Progress


class Load(Struct, frozen=True, kw_only=True, tag=True):
    """Down: import the code, make its runner, run the setup. Part: the pickled (code, retry_on), or nothing.

    A process is asked for several models only when they are functions: the first one says what holds for all of them.
    """

    number: int
    """What a Run calls it."""
    model: str
    executor: str
    target: str | None
    """Where the code is imported from; None when it is in the part."""
    retry_on: tuple[str, ...] = ()
    """Import paths, beside `target`."""
    is_batch: bool = False
    bisects: bool = True
    result_bytes: int
    checkpoint_bytes: int
    memory_limit: int | None = None
    device: str | None = None
    threads: int = 1
    """For torch, which would take every core."""
    search_path: tuple[str, ...] = ()
    log_levels: dict[str, int] = {}
    """Of the loggers that have one of their own; the root's name is empty."""


class Item(Struct, frozen=True, array_like=True):
    """One job of a Run."""

    content_type: str
    job_id: str
    owner: str
    attempt: int
    deadline: int | None
    time_limit: int | None
    has_checkpoint: bool
    is_canceled: bool
    """It was, before there was a process for it."""


class Run(Struct, frozen=True, tag=True):
    """Down: run a call. Parts, for each item: input, metadata, and the checkpoint if it has one."""

    model: int
    items: tuple[Item, ...]


class Cancel(Struct, frozen=True, tag=True):
    """Down: set the token of one item of the running call, or of all."""

    item: int | None = None


class Stop(Struct, frozen=True, tag=True):
    """Down: run the teardown and exit."""


class Ready(Struct, frozen=True, tag=True):
    """Up: the model is loaded."""


class NotReady(Struct, frozen=True, tag=True):
    """Up: it could not be."""

    message: str
    traceback: str


class Telling(Struct, frozen=True, array_like=True):
    """What one job has told since the last time."""

    item: int
    progress: Progress | None
    outputs: int
    has_checkpoint: bool


class Said(Struct, frozen=True, tag=True):
    """Up: what jobs of the running call have told. Parts, for each: its outputs, then its checkpoint."""

    tellings: tuple[Telling, ...]


class Ending(Struct, frozen=True, array_like=True):
    """How one job of a call ended."""

    kind: OutcomeKind
    error: JobError | None
    delay: float | None


class Ended(Struct, frozen=True, tag=True):
    """Up: the call has returned. Parts: one result for each item, empty where there is none."""

    endings: tuple[Ending, ...]


class Logged(Struct, frozen=True, tag=True):
    """Up: a line for the log of the manager's process."""

    logger: str
    level: int
    text: str


ORPHANED = 0
"""The exit status of a worker process whose manager has gone: nobody will read it."""
STARVED = 107
"""Its exit status when it had no memory to receive or send what a job needs."""

Down = Load | Run | Cancel | Stop
Up = Ready | NotReady | Said | Ended | Logged
Sizes = tuple[int, ...]
DOWN_HEADS: msgspec.msgpack.Decoder[tuple[Sizes, Down]] = msgspec.msgpack.Decoder(tuple[Sizes, Down])
UP_HEADS: msgspec.msgpack.Decoder[tuple[Sizes, Up]] = msgspec.msgpack.Decoder(tuple[Sizes, Up])
