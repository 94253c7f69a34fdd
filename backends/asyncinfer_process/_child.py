"""In the worker process: load the model, run the calls, obey."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from asyncinfer.abc import CallItem, JobContext, Runner, SetupContext
from asyncinfer.errors import SetupFailed
from asyncinfer_process._channel import BrokenFrame, Channel, Gone
from asyncinfer_process._child_limits import limit_memory, limit_threads
from asyncinfer_process._child_log import LogSender
from asyncinfer_process._code import unpack
from asyncinfer_process._messages import Cancel, Down, Ended, Ending, Load, NotReady, Ready, Run
from asyncinfer_process._teller import Teller

MAX_TRACEBACK = 8 * 1024
ORPHANED = 0
"""The exit status of a worker whose manager has gone: nobody will read it."""


class Child:
    """Serves one manager until it is told to stop, or its manager is gone."""

    def __init__(self, channel: Channel[Down]) -> None:
        self._channel = channel
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        """What the main thread is to do; None: leave."""
        self._items: Sequence[CallItem] = ()
        """Those of the latest call."""
        self._runner: Runner | None = None
        self._model = ""

    def serve(self) -> None:
        """Do what the manager asks, in this thread; return when it says stop."""
        threading.Thread(target=self._receive, name="asyncinfer-receiver", daemon=True).start()
        try:
            while (asked := self._inbox.get()) is not None:
                asked()
        except Gone:
            return
        if self._runner is not None:
            self._runner.teardown()

    # In the receiver

    def _receive(self) -> None:
        try:
            while True:
                message, parts = self._channel.receive()
                if isinstance(message, Load):
                    self._teller = Teller(self._channel, message)
                    self._model = message.model
                    self._inbox.put(partial(self._load, message, parts[0] if parts else b""))
                elif isinstance(message, Run):
                    self._items = self._items_of(message, parts)
                    self._inbox.put(partial(self._run, self._items))
                elif isinstance(message, Cancel):
                    for item in self._items if message.item is None else [self._items[message.item]]:
                        item.context.request_cancel()
                else:
                    self._inbox.put(None)
        except (Gone, BrokenFrame):
            os._exit(ORPHANED)
        except MemoryError:
            traceback.print_exc()
            os._exit(1)

    def _items_of(self, run: Run, parts: Sequence[bytes]) -> Sequence[CallItem]:
        waiting = iter(parts)
        items: list[CallItem] = []
        for item, reporter in zip(run.items, self._teller.begin(len(run.items)), strict=True):
            data, metadata = next(waiting), next(waiting)
            context = JobContext(
                reporter,
                item.job_id,
                item.owner,
                self._model,
                item.attempt,
                item.deadline,
                item.time_limit,
                next(waiting) if item.has_checkpoint else None,
                metadata,
            )
            items.append(CallItem(data, item.content_type, context))
        return items

    # In the main thread

    def _load(self, load: Load, pickled: bytes) -> None:
        sys.path[:] = load.search_path
        logging.getLogger().setLevel(load.log_level)
        logging.getLogger().addHandler(LogSender(self._channel))
        try:
            if load.memory_limit is not None:
                limit_memory(load.memory_limit)
            runner = unpack(load, pickled)
            limit_threads(load.threads)
            runner.setup(SetupContext(model=load.model, executor=load.executor, device=load.device))
            limit_threads(load.threads)
        except SetupFailed as error:
            self._channel.send(NotReady(_with_cause(error)))
        except BaseException as error:  # noqa: BLE001  the manager hears of whatever the import raised
            message = f"model {load.model}: its code could not be loaded: {type(error).__qualname__}: {error}"
            self._channel.send(NotReady(message))
        else:
            self._runner = runner
            self._channel.send(Ready())

    def _run(self, items: Sequence[CallItem]) -> None:
        assert self._runner is not None
        outcomes = self._runner.run(items)
        self._teller.flush()
        self._channel.send(
            Ended(tuple(Ending(outcome.kind, outcome.error, outcome.delay) for outcome in outcomes)),
            [outcome.result for outcome in outcomes],
        )


def _with_cause(error: SetupFailed) -> str:
    """Return the message with the traceback of what the setup raised: it is read far from here."""
    cause = error.__cause__
    lines = [] if cause is None else traceback.format_exception(cause)
    return "\n".join([str(error), "".join(lines)[-MAX_TRACEBACK:]]).strip()
