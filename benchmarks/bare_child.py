"""A child process that sends back whatever comes over a socket, so many bytes at a time; and its other end.

The floor of a call in a worker process: as many bytes there and back, and nothing else. Run as a module, this file is
the child.
"""

from __future__ import annotations

import socket
import subprocess
import sys


class BareChild:
    """Starts the child."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._socket, theirs = socket.socketpair()
        command = [sys.executable, "-m", "benchmarks.bare_child", str(theirs.fileno()), str(size)]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> bytes:
        data = self._socket.recv(self._size, socket.MSG_WAITALL)
        if len(data) != self._size:
            raise ConnectionError("The bare child has ended")
        return data

    def close(self) -> None:
        self._socket.close()
        self.process.wait()


def _echo(descriptor: int, size: int) -> None:
    with socket.socket(fileno=descriptor) as sock:
        while data := sock.recv(size, socket.MSG_WAITALL):
            sock.sendall(data)


if __name__ == "__main__":
    _echo(int(sys.argv[1]), int(sys.argv[2]))
