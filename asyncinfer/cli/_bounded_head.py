"""The HTTP protocol that uvicorn would choose, with a bound on the head of a request (its first line and headers).

h11 has one. httptools reads a head of any length into memory, from whoever connects.
"""

from __future__ import annotations

from typing import Any

MAX_HEAD_BYTES = 64 * 1024
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def http_protocol() -> Any:  # Any: h11's by name, or a class
    """Return what `uvicorn.Config(http=…)` takes."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"

    class BoundedHttpTools(HttpToolsProtocol):
        """Answers 431 once a head has grown too long, and closes the connection."""

        _is_in_head = True
        _heads = 0
        _head_bytes = 0

        def data_received(self, data: bytes) -> None:
            was_in_head, heads = self._is_in_head, self._heads
            super().data_received(data)
            # The read in which a head begins or ends is not counted: one read has 256 KiB at most.
            is_more_of_it = was_in_head and heads == self._heads
            self._head_bytes = self._head_bytes + len(data) if is_more_of_it else 0
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(TOO_LARGE)
                self.transport.close()

        def on_message_begin(self) -> None:
            self._is_in_head = True
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._is_in_head = False
            self._heads += 1
            super().on_headers_complete()

    return BoundedHttpTools
