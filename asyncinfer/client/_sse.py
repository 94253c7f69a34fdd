"""Parse `text/event-stream` from bytes that come cut anywhere (WHATWG HTML, section 9.2.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Of one line, and of the data of one message: a result of 16 MiB in base64 twice over."""


class Message(Struct, frozen=True):
    """One message of a stream."""

    event: str
    """Its name; `message` where none was given."""
    data: str
    id: str
    """The last id of the stream so far; empty before the first."""


class StreamTooLong(ValueError):
    """A line or a message is longer than the parser keeps."""


class EventStreamParser:
    """Feed it bytes, get the messages that they complete.

    A message whose empty line has not come when the stream ends is none: the specification drops it.
    """

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.retry: float | None = None
        """Seconds that the stream asks to wait before a reconnect."""
        self.last_id = ""
        self._max_bytes = max_bytes
        self._line = bytearray()
        self._searched = 0
        self._is_start = True
        self._is_after_cr = False
        self._event = ""
        self._id = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, chunk: bytes) -> list[Message]:
        """Return the messages that end in `chunk`. Raise StreamTooLong when one grows beyond the bound."""
        messages: list[Message] = []
        for line in self._lines(chunk):
            if line:
                self._take(line)
                continue
            message = self._dispatch()
            if message is not None:
                messages.append(message)
        return messages

    def _lines(self, chunk: bytes) -> Iterator[str]:
        """Yield lines without their ends: CR, LF or CRLF. What was searched once is not searched again."""
        buffer = self._line
        buffer += chunk
        start = 0
        while True:
            if self._is_after_cr and start < len(buffer):
                self._is_after_cr = False
                if buffer[start] == _LF:
                    start += 1
            found = _END.search(buffer, max(start, self._searched))
            if found is None:
                break
            end = found.start()
            self._is_after_cr = buffer[end] == _CR
            yield self._text(bytes(buffer[start:end]))
            start = self._searched = end + 1
        del buffer[:start]
        self._searched = len(buffer)
        self._require_room(len(buffer))

    def _text(self, line: bytes) -> str:
        if self._is_start:
            self._is_start = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        return line.decode("utf-8", errors="replace")

    def _take(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._size += len(value) + 1
            self._require_room(self._size)
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self.retry = int(value[:12]) / 1000

    def _dispatch(self) -> Message | None:
        self.last_id = self._id
        data, event = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        return Message(event or "message", "\n".join(data), self.last_id) if data else None

    def _require_room(self, size: int) -> None:
        if size > self._max_bytes:
            raise StreamTooLong(f"a line or message of over {self._max_bytes} bytes")


_CR, _LF = b"\r\n"
_END = re.compile(rb"[\r\n]")
