"""The receiver of W9: answers 200 to every POST. Run as `python -m benchmarks.delivering_process`.

It prints its port; for each line on standard input it prints how many requests it has answered; it ends with it.
"""

from __future__ import annotations

import asyncio
import os
import sys

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Receiver(asyncio.Protocol):
    """One keep-alive connection of requests with a Content-Length."""

    answered = 0

    def __init__(self) -> None:
        self._seen = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._seen += data
        while True:
            head, separator, body = self._seen.partition(b"\r\n\r\n")
            if not separator:
                return
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            if len(body) < length:
                return
            self._seen = body[length:]
            Receiver.answered += 1
            self._transport.write(ANSWER)


async def receive() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Receiver, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    stdin = sys.stdin.fileno()

    def read() -> None:
        if os.read(stdin, 64):
            print(Receiver.answered, flush=True)
        else:
            ended.set()

    loop.add_reader(stdin, read)
    await ended.wait()
    loop.remove_reader(stdin)
    server.close()


if __name__ == "__main__":
    asyncio.run(receive())
