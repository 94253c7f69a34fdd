"""The worker process: `python -m asyncinfer_process.child FD` speaks to its manager over that socket.

The main thread loads the model and runs calls; a second one receives, so that a cancel reaches a running call; a third
sends what the model tells.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
from pathlib import Path

from asyncinfer_process._channel import Channel
from asyncinfer_process._child import Child
from asyncinfer_process._messages import DOWN_HEADS

MAX_PART = 2**40
"""The manager's process is trusted: what it sends is bounded by what its store took."""
OOM_SCORE = "500"
"""When memory is short the kernel takes a worker before the manager."""
PR_SET_PDEATHSIG = 1


def main() -> None:
    faulthandler.enable()
    _die_with_the_parent()
    _go_first_when_memory_is_short()
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    Child(Channel(sock, DOWN_HEADS, MAX_PART)).serve()


def _die_with_the_parent() -> None:
    """Let the kernel end this process when the thread that started it has: a call may never let the receiver run."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def _go_first_when_memory_is_short() -> None:
    try:
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    except OSError:
        return


if __name__ == "__main__":
    main()
