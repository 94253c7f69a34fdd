"""What worker processes run in the tests of the process executor."""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from asyncinfer import RetryPolicy, current_batch, current_job, model
from asyncinfer.abc import JobContext, SetupContext
from asyncinfer.testing.gate import wait_at

MIB = 1024 * 1024
SOON = 0.001
"""How often a model looks whether it should stop."""


class Picky(Exception):
    """What a model is retried on."""


class Item(Struct):
    """The input of a batch model."""

    number: int


# Code, and how it is found


def double(number: int) -> int:
    return 2 * number


@model(executor="process")
def doubled(number: int) -> int:
    return 2 * number


def quietly(code: Callable[[int], int]) -> Callable[[int], int]:
    """Wrap as any decorator does."""

    @functools.wraps(code)
    def wrapper(number: int) -> int:
        return code(number)

    return wrapper


@model(executor="process")
@quietly
def wrapped(number: int) -> int:
    return 2 * number


@model(executor="process", retry=RetryPolicy(max_attempts=2, retry_on=(Picky,)))
def picky(kind: str) -> None:
    raise Picky(kind) if kind == "Picky" else ValueError(kind)


class Doubler:
    def setup(self, context: SetupContext) -> None:
        self._factor = 2

    def predict(self, number: int) -> int:
        return self._factor * number


class Doublers:
    def predict_batch(self, items: list[Item]) -> list[int]:
        return [2 * item.number for item in items]


shadowed = double
"""Another object than what bears its name."""


def shadow(number: int) -> int:
    return number


shadow.__qualname__ = "shadowed"


lock = threading.Lock()


def unpicklable(number: int) -> int:
    with lock:
        return number


unpicklable.__module__ = "__main__"


class Methods:
    def predict(self, number: int) -> int:
        return number


def where_am_i() -> list[str]:
    return [str(Path.cwd()), *sys.path]


def variable(name: str) -> str | None:
    return os.environ.get(name)


def pid() -> int:
    return os.getpid()


# What obeys, and what does not


def pass_gate(gate: str, name: str) -> int:
    wait_at(gate, name)
    return os.getpid()


def obey(gate: str, name: str) -> None:
    wait_at(gate, name)
    until_canceled(current_job())


def until_canceled(job: JobContext) -> None:
    while not job.is_canceled:
        time.sleep(SOON)
    job.raise_if_canceled()


class ObeyOneByOne:
    """Answers for each item whether it was canceled, once the item that says so was."""

    def predict_batch(self, items: list[Item]) -> list[bool]:
        jobs = current_batch()
        while not jobs[items[0].number].is_canceled:
            time.sleep(SOON)
        return [job.is_canceled for job in jobs]


def ignore_sigterm(gate: str) -> None:
    """Sleep in C, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_at(gate, "deaf")
    time.sleep(600)


def hold_gil(gate: str) -> int:
    """Let no other thread of the process run for minutes."""
    wait_at(gate, "holding")
    pow(3, 10**9)  # no return before minutes
    return 0


# What dies


def die(how: str) -> None:
    DEATHS[how]()


def overflow_stack() -> None:
    fault("_stack_overflow")


def fault(name: str) -> None:
    """Crash as the standard library does to test its own reports."""
    getattr(faulthandler, name)()


DEATHS: dict[str, Callable[[], object]] = {
    "sys.exit": lambda: sys.exit(3),
    "os._exit": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGSEGV": lambda: fault("_sigsegv"),
    "stack overflow": overflow_stack,
    "abort": ctypes.CDLL(None).abort,
}


def shout_and_die(count: int) -> None:
    for number in range(count):
        print(f"line {number} " + 1_000 * "!", file=sys.stderr)
    print("the last words", file=sys.stderr)
    os._exit(3)


class DiesInSetup:
    def setup(self, context: SetupContext) -> None:
        DEATHS[context.model]()

    def predict(self) -> int:
        return 0


class Unpickled:
    """Its setup says what went wrong, in words that no UTF-8 can hold."""

    def setup(self, context: SetupContext) -> None:
        raise FileNotFoundError("weights\udcff.bin")

    def predict(self) -> int:
        return 0


def fork_and_leave(how: str) -> int:
    """Leave a process behind that keeps every descriptor."""
    child = os.fork()
    if child == 0:
        if how == "setsid":
            os.setsid()
        logging.getLogger("grandchild").error("its own log")
        current_job().progress(message="nor this")
        current_job().emit("nor this")
        time.sleep(600)
    return child


def fork_and_die(how: str) -> None:
    current_job().emit(fork_and_leave(how))
    time.sleep(0.1)  # until what was emitted has been sent
    os.kill(os.getpid(), signal.SIGKILL)


def start_program() -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid


# Memory

_kept: list[Any] = []  # Any: whatever fills memory


def allocate(mib: int) -> int:
    return len(bytearray(mib * MIB))


def keep(mib: int) -> int:
    """Take memory for good."""
    _kept.append(b"x" * (mib * MIB))
    return os.getpid()


def grow_shared(mib: int) -> None:
    """Touch pages that RLIMIT_DATA does not count, then wait to be caught."""
    shared = mmap.mmap(-1, mib * MIB)
    _kept.append(shared)
    for begin in range(0, mib * MIB, MIB):
        shared[begin : begin + MIB] = b"x" * MIB
    time.sleep(600)


class GrowsShared:
    def predict_batch(self, items: list[Item]) -> list[int]:
        grow_shared(items[0].number)
        return []


def size(data: bytes) -> int:
    return len(data)


# What it keeps


class Loaded:
    """Answers how it was set up."""

    def setup(self, context: SetupContext) -> None:
        self._context = context
        self._calls = 0

    def predict(self) -> tuple[int, int, str | None, str | None]:
        self._calls += 1
        return os.getpid(), self._calls, self._context.device, os.environ.get("CUDA_VISIBLE_DEVICES")


class SlowToLoad:
    """Its setup takes longer than its jobs may."""

    def setup(self, context: SetupContext) -> None:
        time.sleep(0.8)

    def predict(self, gate: str, name: str) -> int:
        wait_at(gate, name)
        return os.getpid()


class AtGate:
    """Its setup and its teardown go through the gate that its model's name ends with."""

    def setup(self, context: SetupContext) -> None:
        self._gate = context.model.rpartition("-")[2]
        wait_at(self._gate, "setup")

    def teardown(self) -> None:
        wait_at(self._gate, "teardown")


class Gated(AtGate):
    def predict(self) -> int:
        return os.getpid()


class Waiting(AtGate):
    def predict(self) -> int:
        wait_at(self._gate, "predict")
        return os.getpid()


class HeldBatch(AtGate):
    """Answers for each item whether it was canceled before it began."""

    def predict_batch(self, items: list[Item]) -> list[bool]:
        return [job.is_canceled for job in current_batch()]


# What it tells


def narrate(count: int) -> int:
    """Tell one thing after the other."""
    job = current_job()
    for number in range(count):
        job.progress(number / count)
        job.emit(number)
        job.save_checkpoint(number)
    return count


def read_context() -> tuple[dict[str, str], int | None, str, int, int | None, int | None]:
    job = current_job()
    return job.metadata, job.load_checkpoint(int), job.owner, job.attempt, job.deadline, job.time_limit


def resume() -> int:
    """Die at first, and answer what that attempt has left."""
    job = current_job()
    if job.attempt == 1:
        job.save_checkpoint(17)
        job.emit("saved")
        wait_at(job.metadata["gate"], "saved")
        os.kill(os.getpid(), signal.SIGKILL)
    return job.load_checkpoint(int) or 0


def emit_bytes(size: int) -> int:
    current_job().emit(b"x" * size)
    return size


def checkpoint_bytes(size: int) -> int:
    current_job().save_checkpoint(b"x" * size)
    return size


def report_nonsense() -> None:
    current_job().progress(message="\udcff")


def flood(count: int, bytes_each: int) -> int:
    """Emit as much as it may, and answer how much went before anybody read."""
    for _ in range(count):
        current_job().emit(b"x" * bytes_each)
    return count


_talking: list[threading.Thread] = []


def talk_on() -> int:
    """Leave a thread behind that goes on talking of this job."""
    job = current_job()

    def go_on() -> None:
        while True:
            job.progress(message="late")
            job.emit("late")

    if not _talking:
        _talking.append(threading.Thread(target=go_on, daemon=True))
        _talking[0].start()
    return len(_talking)


def log(logger: str, level: int, text: str) -> None:
    logging.getLogger(logger).log(level, text)


def log_much(count: int) -> None:
    for number in range(count):
        logging.getLogger("flood").warning("line %d", number)


def log_badly() -> None:
    logging.getLogger("bad").warning("two words: %s %s", "one")  # noqa: PLE1206  it is the point
    try:
        raise ValueError("with a traceback")
    except ValueError:
        logging.getLogger("bad").exception("it failed \udcff")


def count_up(count: int) -> Iterator[int]:
    yield from range(count)


# Large things


def negate(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return -array


def echo(data: bytes) -> bytes:
    return data


# Frames that are none


def say(raw: bytes) -> None:
    """Write to the manager's socket behind the library's back, then wait for what comes of it."""
    os.write(int(sys.argv[1]), raw)
    time.sleep(600)


def hang_up() -> None:
    socket.socket(fileno=int(sys.argv[1])).shutdown(socket.SHUT_WR)
    time.sleep(600)
