"""In the worker process: the threads without which nobody is heard any more."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable

from asyncinfer_process._channel import Gone
from asyncinfer_process._messages import ORPHANED, STARVED

FAILED = 1


def start_thread(name: str, run: Callable[[], None]) -> None:
    """Start a thread whose end is that of the process."""

    def guarded() -> None:
        status = FAILED
        try:
            run()
        except Gone:
            status = ORPHANED
        except MemoryError:
            status = STARVED
            traceback.print_exc()
        except BaseException:  # noqa: BLE001  whatever it is, it must not go on without this thread
            traceback.print_exc()
        os._exit(status)

    threading.Thread(target=guarded, name=name, daemon=True).start()
