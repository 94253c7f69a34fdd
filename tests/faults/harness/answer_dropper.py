"""A proxy that hands every request over whole, and cuts the connection before the answer has arrived."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Cut = Literal["at once", "when answered", "within the answer"]
CUTS: tuple[Cut, ...] = ("at once", "when answered", "within the answer")
_KEY = re.compile(rb"^idempotency-key: *([^\r]*)\r\n", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: *(\d+)\r\n", re.IGNORECASE | re.MULTILINE)
_BACKLOG = 1_024


class AnswerDropper:
    """Cuts the first request of each idempotency key, and lets the later ones pass."""

    def __init__(self, server_port: int, randomness: random.Random, *, is_key_dropped: bool) -> None:
        self._server_port = server_port
        self._random = randomness
        self._is_key_dropped = is_key_dropped
        self._seen: set[bytes] = set()
        self.cuts: Counter[Cut] = Counter()
        self.replays = 0
        """Answers handed on that say that the job was there already."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection of a client, until either side closes it."""
        to_server: asyncio.StreamWriter | None = None
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            while True:
                request, key = await _request(reader)
                cut = None if key in self._seen else self._random.choice(CUTS)
                self._seen.add(key)
                to_server.write(_KEY.sub(b"", request, 1) if self._is_key_dropped else request)
                await to_server.drain()
                if cut != "at once":
                    answer = await _message(from_server)
                    if cut is None:
                        self.replays += b"idempotent-replayed: true" in answer
                        writer.write(answer)
                    elif cut == "within the answer":
                        writer.write(answer[: self._random.randrange(1, len(answer))])
                    await writer.drain()
                if cut is not None:
                    self.cuts[cut] += 1
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # one of the sides has closed
        finally:
            for one in (writer, to_server):
                if one is not None:
                    one.close()
                    with suppress(OSError):
                        await one.wait_closed()


@asynccontextmanager
async def answer_dropper(
    server_port: int, randomness: random.Random, *, is_key_dropped: bool = False
) -> AsyncGenerator[tuple[int, AnswerDropper]]:
    """Run one on loopback; yield its port and itself. `is_key_dropped`: the server never sees a key."""
    dropper = AnswerDropper(server_port, randomness, is_key_dropped=is_key_dropped)
    server = await asyncio.start_server(dropper.serve, "127.0.0.1", 0, backlog=_BACKLOG)
    async with server:
        port: int = server.sockets[0].getsockname()[1]
        yield port, dropper


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read a whole request; return it and its key."""
    request = await _message(reader)
    found = _KEY.search(request)
    assert found is not None, "every submit of the client has a key"
    return request, found[1]


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    found = _LENGTH.search(head)
    return head + await reader.readexactly(int(found[1]) if found else 0)
