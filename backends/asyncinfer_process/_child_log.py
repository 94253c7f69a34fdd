"""In the worker process: hands what is logged to the manager's process, which knows where logs go."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from asyncinfer_process._channel import Channel, Gone
from asyncinfer_process._messages import Logged

MAX_TEXT = 16 * 1024


class LogSender(logging.Handler):
    """Sends each record as its logger's name, its level and its text, with the traceback."""

    def __init__(self, channel: Channel[Any]) -> None:  # Any: it only sends
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; a manager that has gone reads no log."""
        with contextlib.suppress(Gone):
            self._channel.send(Logged(record.name, record.levelno, self.format(record)[:MAX_TEXT]))
