"""In the worker process: hands what is logged to the manager's process, which knows where logs go."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from asyncinfer_process._channel import Channel, Gone
from asyncinfer_process._messages import Load, Logged

MAX_TEXT = 16 * 1024


class LogSender(logging.Handler):
    """Sends each record as its logger's name, its level and its text, with the traceback.

    Its thread waits while the manager does not read: a flood of records fills no memory.
    """

    def __init__(self, channel: Channel[Any]) -> None:  # Any: it only sends
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a manager that has gone reads no log."""
        try:
            with contextlib.suppress(Gone):
                text = plain(self.format(record)[:MAX_TEXT])
                self._channel.send(Logged(plain(record.name), record.levelno, text))
        except Exception:  # noqa: BLE001  as every handler: arguments that do not fit their message
            self.handleError(record)


def send_logs(load: Load, channel: Channel[Any]) -> LogSender:
    """Log as the manager's process does, and to it."""
    for name, level in load.log_levels.items():
        logging.getLogger(name).setLevel(level)
    sender = LogSender(channel)
    logging.getLogger().addHandler(sender)
    return sender


def plain(text: str) -> str:
    """Write lone surrogates as escapes: they cannot be sent."""
    return text.encode(errors="backslashreplace").decode()
