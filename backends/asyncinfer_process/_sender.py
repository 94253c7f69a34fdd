"""Sends frames from a loop's thread and never holds it up: at once where the socket takes them, else by a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from queue import SimpleQueue

from asyncinfer_process._channel import frame

Pieces = Sequence[bytes | memoryview]


class Sender:
    """The one writer of a socket. What cannot be sent is dropped: whoever reads that socket hears that it is closed."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._socket = sock
        self._name = name
        self._waiting: SimpleQueue[Pieces | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._unsent = 0
        """Frames that the thread has not sent: one that follows must not overtake them."""
        self._thread: threading.Thread | None = None

    def send(self, message: object, parts: Sequence[bytes | memoryview] = ()) -> None:
        pieces = frame(message, parts)
        if len(pieces) == 1 and not self._unsent:
            rest = self._send_now(pieces[0])
            if not rest:
                return
            pieces = [rest]
        with self._lock:
            self._unsent += 1
        self._waiting.put(pieces)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"{self._name}-sender", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread; the socket must have been shut down, so that nothing holds it up."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _send_now(self, piece: bytes | memoryview) -> memoryview:
        """Return what the socket did not take."""
        try:
            sent = self._socket.send(piece, socket.MSG_DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(piece)
        return memoryview(piece)[sent:]

    def _run(self) -> None:
        while (pieces := self._waiting.get()) is not None:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    self._socket.sendall(piece)
            del pieces  # which may be large, before the next are waited for
            with self._lock:
                self._unsent -= 1
