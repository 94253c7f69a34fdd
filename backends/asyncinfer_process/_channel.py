"""Frames over a stream socket: a prefix, a msgpack head (the sizes of the parts, the message), the parts as they are.

A part is sent from the caller's own bytes and received into bytes of its own: 16 MiB are never copied in between.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

MAGIC = b"aif1"
PREFIX = struct.Struct(">4sI")
MAX_HEAD = 512 * 1024 * 1024
"""A head holds texts of errors: 10,240 characters for each job of a batch, and a batch has 10,000 jobs at most."""
SMALL_BYTES = 32 * 1024
"""Parts of so much together travel in one piece with the head."""
RECEIVE_BYTES = 256 * 1024 * 1024
"""One call of the kernel at most."""

M = TypeVar("M")
_encode = msgspec.msgpack.Encoder().encode


class BrokenFrame(Exception):
    """What came is no frame, or one beyond its bounds. What follows it cannot be read."""


class Gone(Exception):
    """The other side has closed."""


class Channel(Generic[M]):
    """One end of a socket. Any thread may send; one thread receives messages of type M."""

    def __init__(
        self, sock: socket.socket, heads: msgspec.msgpack.Decoder[tuple[tuple[int, ...], M]], max_part: int
    ) -> None:
        self._socket = sock
        self._decode = heads.decode
        self._max_part = max_part
        self._sending = threading.Lock()

    def send(self, message: object, parts: Sequence[bytes | memoryview] = ()) -> None:
        """Send a frame, waiting while the other side does not read. Raise Gone."""
        pieces = frame(message, parts)
        try:
            with self._sending:
                for piece in pieces:
                    self._socket.sendall(piece)
        except OSError as error:
            raise Gone from error

    def receive(self) -> tuple[M, Sequence[bytes]]:
        """Return the next (message, parts). Raise Gone or BrokenFrame."""
        magic, size = PREFIX.unpack(self._read(PREFIX.size))
        if magic != MAGIC or size > MAX_HEAD:
            raise BrokenFrame(f"a frame begins with {magic!r} and a head of {size} bytes")
        try:
            sizes, message = self._decode(self._read(size))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BrokenFrame("a frame has no readable head") from error
        if any(not 0 <= one <= self._max_part for one in sizes):
            raise BrokenFrame(f"a frame has a part above {self._max_part} bytes")
        return message, self._parts(sizes)

    def leave(self) -> None:
        """Let the connection go in a forked process, where it is another's, and whoever held the lock is not."""
        self._sending = threading.Lock()
        self._socket.close()

    def _parts(self, sizes: Sequence[int]) -> Sequence[bytes]:
        if sum(sizes) > SMALL_BYTES:
            return [self._read(size) for size in sizes]
        together = self._read(sum(sizes))
        if len(sizes) == 1:
            return [together]
        parts: list[bytes] = []
        begin = 0
        for size in sizes:
            parts.append(together[begin : begin + size])
            begin += size
        return parts

    def _read(self, size: int) -> bytes:
        if size == 0:
            return b""
        data = self._receive(size)
        if len(data) == size:
            return data
        pieces = [data]
        missing = size - len(data)
        while missing:
            pieces.append(self._receive(missing))
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def _receive(self, size: int) -> bytes:
        try:
            data = self._socket.recv(min(size, RECEIVE_BYTES), socket.MSG_WAITALL)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        return data


def frame(message: object, parts: Sequence[bytes | memoryview]) -> Sequence[bytes | memoryview]:
    """Return a frame in the pieces in which it is sent: one, when it is small."""
    sizes = [len(part) for part in parts]
    head = _encode((sizes, message))
    begin = PREFIX.pack(MAGIC, len(head)) + head
    if sum(sizes) <= SMALL_BYTES:
        return [b"".join((begin, *parts))] if parts else [begin]
    return [begin, *(part for part in parts if part)]
