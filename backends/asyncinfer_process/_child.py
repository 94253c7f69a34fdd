"""In the worker process: load the model, run the calls, obey."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue

from asyncinfer.abc import CallItem, JobContext, Runner, SetupContext
from asyncinfer.errors import SetupFailed
from asyncinfer_process._channel import Channel, Gone
from asyncinfer_process._child_limits import limit_memory, limit_threads
from asyncinfer_process._child_log import LogSender, plain, send_logs
from asyncinfer_process._child_threads import start_thread
from asyncinfer_process._code import unpack
from asyncinfer_process._messages import Cancel, Down, Ended, Ending, Load, NotReady, Ready, Run
from asyncinfer_process._teller import Teller

MAX_TRACEBACK = 8 * 1024


class Child:
    """Serves one manager until it is told to stop, or its manager is gone."""

    def __init__(self, channel: Channel[Down]) -> None:
        self._channel = channel
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        """What the main thread is to do; None: leave."""
        self._items: Sequence[CallItem] = ()
        """Those of the running call."""
        self._runners: dict[int, Runner] = {}
        self._teller: Teller | None = None

    def serve(self) -> None:
        """Do what the manager asks, in this thread; return when it says stop."""
        start_thread("asyncinfer-receiver", self._receive)
        try:
            while (asked := self._inbox.get()) is not None:
                asked()
                del asked  # with its input, which may be large
        except Gone:
            return
        for runner in self._runners.values():
            runner.teardown()

    # In the receiver

    def _receive(self) -> None:
        while True:
            self._take(*self._channel.receive())

    def _take(self, message: Down, parts: Sequence[bytes]) -> None:
        if isinstance(message, Load):
            if self._teller is None:
                self._teller = Teller(self._channel, message)
                self._inbox.put(partial(self._arrange, message))
            self._inbox.put(partial(self._load, message, parts[0] if parts else b""))
        elif isinstance(message, Run):
            self._items = self._items_of(message, parts)
            self._inbox.put(partial(self._run, self._runners[message.model], self._items))
        elif isinstance(message, Cancel):
            position = message.item  # of a call that may have ended meanwhile
            for item in self._items if position is None else self._items[position : position + 1]:
                item.context.request_cancel()
        else:
            self._inbox.put(None)

    def _items_of(self, run: Run, parts: Sequence[bytes]) -> Sequence[CallItem]:
        waiting = iter(parts)
        items: list[CallItem] = []
        assert self._teller is not None
        for item, reporter in zip(run.items, self._teller.begin(len(run.items)), strict=True):
            data, metadata = next(waiting), next(waiting)
            context = JobContext(
                reporter,
                item.job_id,
                item.owner,
                self._runners[run.model].model,
                item.attempt,
                item.deadline,
                item.time_limit,
                next(waiting) if item.has_checkpoint else None,
                metadata,
            )
            if item.is_canceled:
                context.request_cancel()
            items.append(CallItem(data, item.content_type, context))
        return items

    # In the main thread

    def _arrange(self, load: Load) -> None:
        """Do what is done once for all models of this process."""
        sys.path[:] = load.search_path
        os.register_at_fork(after_in_child=partial(self._leave, send_logs(load, self._channel)))
        if load.memory_limit is not None:
            limit_memory(load.memory_limit)

    def _load(self, load: Load, pickled: bytes) -> None:
        try:
            runner = unpack(load, pickled)
        except BaseException as error:  # noqa: BLE001  the manager hears of whatever the import raised
            self._refuse(f"model {load.model}: its code could not be loaded: {_named(error)}", error)
            return
        limit_threads(load.threads)
        try:
            runner.setup(SetupContext(model=load.model, executor=load.executor, device=load.device))
        except SetupFailed as error:
            self._refuse(str(error), error.__cause__)
        except BaseException as error:  # noqa: BLE001  sys.exit() in a setup
            self._refuse(f"model {load.model}: its setup raised {_named(error)}", error)
        else:
            limit_threads(load.threads)
            self._runners[load.number] = runner
            self._channel.send(Ready())

    def _refuse(self, message: str, cause: BaseException | None) -> None:
        lines = [] if cause is None else traceback.format_exception(cause)
        self._channel.send(NotReady(plain(message), plain("".join(lines)[-MAX_TRACEBACK:])))

    def _run(self, runner: Runner, items: Sequence[CallItem]) -> None:
        assert self._teller is not None
        outcomes = runner.run(items)
        self._items = ()
        self._teller.end()
        self._channel.send(
            Ended(tuple(Ending(outcome.kind, outcome.error, outcome.delay) for outcome in outcomes)),
            [outcome.result for outcome in outcomes],
        )

    def _leave(self, logs: LogSender) -> None:
        """In a process that the model has forked: speak for this one no more."""
        logging.getLogger().removeHandler(logs)
        self._channel.leave()
        if self._teller is not None:
            self._teller.leave()


def _named(error: BaseException) -> str:
    return f"{type(error).__qualname__}: {error}"
