"""In the worker process: sends what jobs tell, the latest progress at most every 50 ms, every output in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from asyncinfer.abc import Progress
from asyncinfer.errors import TooLarge
from asyncinfer_process._channel import Channel
from asyncinfer_process._child_threads import start_thread
from asyncinfer_process._messages import Load, Said, Telling

PAUSE_SECONDS = 0.05
"""Between two frames of what is told, unless a job has to wait for room."""
UNSENT_VALUES = 1_000
UNSENT_BYTES = 1024 * 1024
"""Output of one job that may wait: above either, `emit` holds up its thread."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Progress).decode


class _Untold(Struct, eq=False):
    progress: Progress | None = None
    outputs: list[bytes] = field(default_factory=list[bytes])
    output_bytes: int = 0
    checkpoint: bytes | None = None


class JobReporter:
    """The Reporter of one item of one call. When the call has ended, what stray threads say is dropped."""

    def __init__(self, teller: Teller, call: int, item: int) -> None:
        self._teller = teller
        self._call = call
        self._item = item

    def report(self, progress: Progress) -> None:
        """Raise TypeError for what is no text or number, here in the model's thread."""

        def add(untold: _Untold) -> None:
            untold.progress = progress

        _require_sendable(progress)
        self._teller.tell(self._call, self._item, add)

    def emit(self, data: bytes) -> None:
        def add(untold: _Untold) -> None:
            untold.outputs.append(data)
            untold.output_bytes += len(data)

        _require_size("output", data, self._teller.result_bytes, "result_bytes")
        self._teller.wait_for_room(self._call, self._item)
        self._teller.tell(self._call, self._item, add)

    def save_checkpoint(self, data: bytes) -> None:
        def add(untold: _Untold) -> None:
            untold.checkpoint = data

        _require_size("checkpoint", data, self._teller.checkpoint_bytes, "checkpoint_bytes")
        self._teller.tell(self._call, self._item, add)

    async def drain(self) -> None:
        """Nothing to wait for: `emit` waits by itself."""


class Teller:
    """Gathers what the items of the running call tell, from any thread, and sends it from one of its own."""

    def __init__(self, channel: Channel[Any], load: Load) -> None:  # Any: it only sends
        self.result_bytes: int = load.result_bytes
        self.checkpoint_bytes: int = load.checkpoint_bytes
        self._channel = channel
        self._changed = threading.Condition()
        self._telling = threading.Lock()
        """Held from taking until sending, so that nothing overtakes."""
        self._armed = threading.Event()
        self._is_full = threading.Event()
        """A job waits for room."""
        self._call = 0
        """Those that have begun or ended: what is told of another than the latest is dropped."""
        self._untold: dict[int, _Untold] = {}
        start_thread("asyncinfer-teller", self._run)

    def begin(self, items: int) -> Sequence[JobReporter]:
        """Return the reporters of a new call."""
        with self._changed:
            self._call += 1
        return [JobReporter(self, self._call, item) for item in range(items)]

    def end(self) -> None:
        """Send what is untold of the call; nothing of it is sent later. Raise Gone."""
        self._flush(is_last=True)

    def leave(self) -> None:
        """Drop whatever is told in a forked process, whose locks may be held by threads that it does not have."""
        self._changed, self._telling = threading.Condition(), threading.Lock()
        self._call += 1

    def _flush(self, *, is_last: bool) -> None:
        with self._telling:
            with self._changed:
                untold, self._untold = self._untold, {}
                if is_last:
                    self._call += 1
                self._is_full.clear()
                self._changed.notify_all()
            if not untold:
                return
            tellings: list[Telling] = []
            parts: list[bytes] = []
            for item, one in untold.items():
                tellings.append(Telling(item, one.progress, len(one.outputs), one.checkpoint is not None))
                parts += one.outputs
                if one.checkpoint is not None:
                    parts.append(one.checkpoint)
            self._channel.send(Said(tuple(tellings)), parts)

    def tell(self, call: int, item: int, add: Callable[[_Untold], None]) -> None:
        """Add to what one item has not told yet."""
        with self._changed:
            if call == self._call:
                add(self._untold.setdefault(item, _Untold()))
        self._armed.set()

    def wait_for_room(self, call: int, item: int) -> None:
        """Return when the item may emit more."""

        def has_room() -> bool:
            one = self._untold.get(item)
            return (
                one is None
                or call != self._call
                or (len(one.outputs) < UNSENT_VALUES and one.output_bytes < UNSENT_BYTES)
            )

        with self._changed:
            if not has_room():
                self._is_full.set()
                self._changed.wait_for(has_room)

    def _run(self) -> None:
        while True:
            self._armed.wait()
            self._armed.clear()
            self._flush(is_last=False)
            self._is_full.wait(PAUSE_SECONDS)


def _require_size(what: str, data: bytes, limit: int, name: str) -> None:
    if len(data) > limit:
        raise TooLarge(f"{what}: {len(data)} bytes, the limit is {limit} (Limits.{name})")


def _require_sendable(progress: Progress) -> None:
    try:
        _decode(_encode(progress))
    except (TypeError, ValueError, OverflowError) as error:  # a DecodeError is a ValueError
        raise TypeError(f"progress: {error}") from error
