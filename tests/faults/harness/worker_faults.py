"""What fault tests let a model do to the worker process that runs it.

Worker processes import this file and not the tests: it needs the library alone.
"""

from __future__ import annotations

import ctypes
import faulthandler
import functools
import mmap
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, cast

import msgspec

from asyncinfer import JobContext, SetupContext, current_batch, current_job
from asyncinfer_process._channel import MAGIC, MAX_HEAD, PREFIX
from asyncinfer_process._messages import Ended, Ready
from tests.faults.harness.witness import Witness

WITNESSES = "ASYNCINFER_WITNESSES"
"""The environment variable of a worker process that names the folder of its witness."""
FATAL = "fatal"
"""The input of a job whose first attempt meets a fatal error of its device."""
TRANSIENT = "ASYNCINFER_TAKE_FATAL_FOR_TRANSIENT"
"""Set in the environment: the process goes on after a fatal error."""
WORK_SECONDS = 0.02
FOR_EVER = 3_600
SESSION_SECONDS = 5
"""Nobody can end a grandchild that has left its group: it leaves by itself."""
SETUP_SECONDS = 3.0
OUTPUTS = 50
MIB = 1024 * 1024
GREED = 640 * MIB
"""What a greedy job takes where nobody stops it."""
STEP = 8 * MIB
STEP_SECONDS = 0.02


@functools.cache
def witness() -> Witness:
    return Witness(Path(os.environ[WITNESSES]))


def work() -> None:
    time.sleep(WORK_SECONDS)


def kill_itself() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody survives SIGKILL")


def leave_at_once() -> NoReturn:
    os._exit(7)


def read_nowhere() -> None:
    ctypes.string_at(0)


def overflow_the_stack() -> None:
    """Crash as the standard library does to test its own crash reports."""
    overflow: Callable[[], object] = getattr(faulthandler, "_stack_overflow")  # noqa: B009  it is not in its stubs
    overflow()


def die_within_a_frame() -> NoReturn:
    write(PREFIX.pack(MAGIC, 1_000) + b"half of it")
    kill_itself()


def die_after_output() -> NoReturn:
    for number in range(OUTPUTS):
        current_job().emit(number)
    time.sleep(0.1)  # until some of it has been sent
    current_job().emit(OUTPUTS)
    kill_itself()


def hang() -> None:
    time.sleep(FOR_EVER)


def allocate() -> None:
    """Take memory that RLIMIT_DATA counts."""
    held = [bytearray(STEP) for _ in range(GREED // STEP)]
    held.clear()


def map_shared_pages() -> None:
    """Take memory that RLIMIT_DATA does not count, no faster than somebody who looks now and then can follow."""
    held: list[mmap.mmap] = []
    for _ in range(GREED // STEP):
        held.append(mmap.mmap(-1, STEP))
        held[-1].write(b"x" * STEP)
        time.sleep(STEP_SECONDS)


def hold_the_lock() -> None:
    """Stay in one call of C that neither lets the interpreter's lock go nor looks for signals; a minute or more."""
    pow(3, 10**8)


def hold_the_lock_deaf() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    hold_the_lock()


def leave_a_grandchild() -> None:
    if not os.fork():
        time.sleep(FOR_EVER)
        os._exit(0)


def die_before_a_grandchild(*, in_a_session: bool) -> NoReturn:
    """Fork one as a library in C would: it keeps every descriptor, and this process's end of the socket stays open."""
    libc = ctypes.CDLL(None)
    if not libc.fork():
        if in_a_session:
            libc.setsid()
        libc.sleep(SESSION_SECONDS if in_a_session else FOR_EVER)
        libc._exit(0)
    kill_itself()


def send(data: bytes) -> None:
    """Write to the manager beside the library, and wait for what comes of it."""
    write(data)
    hang()


def hang_up() -> None:
    """Say nothing more to the manager, and go on."""
    with socket.socket(fileno=os.dup(int(sys.argv[1]))) as same:
        same.shutdown(socket.SHUT_WR)
    hang()


def frame_of(message: object, *sizes: int) -> bytes:
    head = msgspec.msgpack.encode((sizes, message))
    return PREFIX.pack(MAGIC, len(head)) + head


def write(data: bytes) -> None:
    os.write(int(sys.argv[1]), data)


FAULTS: Mapping[str, Callable[[], object]] = {
    "none": work,
    "SIGKILL": kill_itself,
    "os._exit": leave_at_once,
    "sys.exit": sys.exit,
    "os.abort": os.abort,
    "segfault": read_nowhere,
    "stack overflow": overflow_the_stack,
    "half a frame": die_within_a_frame,
    "output, then death": die_after_output,
    "hang": hang,
    "allocation": allocate,
    "shared pages": map_shared_pages,
    "a long C call": hold_the_lock,
    "a long C call without SIGTERM": hold_the_lock_deaf,
    "a result that cannot be encoded": object,
    "a grandchild": functools.partial(die_before_a_grandchild, in_a_session=False),
    "a grandchild in a session": functools.partial(die_before_a_grandchild, in_a_session=True),
    "a grandchild that stays": leave_a_grandchild,
    "a closed socket": hang_up,
    "an oversized head": lambda: send(PREFIX.pack(MAGIC, MAX_HEAD + 1)),
    "an oversized part": lambda: send(frame_of(Ended(()), 2**40)),
    "a garbage frame": lambda: send(struct.pack(">QQ", 2**63 + 12_345, 2**63 + 67_890)),
    "a garbage head": lambda: send(PREFIX.pack(MAGIC, 8) + b"\xc1" * 8),
    "an answer out of turn": lambda: send(frame_of(Ready())),
    "an answer for other jobs": lambda: send(frame_of(Ended(()))),
}


def run(kind: str) -> str:
    """Do what `kind` names, between two lines of the witness."""
    testify("begin", current_job(), kind)
    try:
        result = FAULTS[kind]()
    finally:
        testify("end", current_job(), kind)
    return kind if result is None else cast("str", result)


class RunBatch:
    """Runs its jobs one after the other: a fault takes the whole batch with it."""

    def predict_batch(self, items: list[str]) -> list[str]:
        jobs = list(zip(current_batch(), items, strict=True))
        for job, kind in jobs:
            testify("begin", job, kind)
        try:
            for _, kind in jobs:
                FAULTS[kind]()
        finally:
            for job, kind in jobs:
                testify("end", job, kind)
        return items


def testify(event: str, job: JobContext, kind: str) -> None:
    witness().write(event, job.job_id, job.attempt, kind)


class OnDevice:
    """Runs its jobs on a stand-in for a device that a fatal error spoils for the whole process."""

    def setup(self, context: SetupContext) -> None:
        self.is_lost: bool = False

    def predict_batch(self, items: list[str]) -> list[str]:
        jobs = [(job, kind if job.attempt == 1 else "none") for job, kind in zip(current_batch(), items, strict=True)]
        for job, kind in jobs:
            testify("begin", job, kind)
        try:
            if any(kind == FATAL for _, kind in jobs):
                self.is_lost = True
                if TRANSIENT not in os.environ:
                    os.abort()
            if self.is_lost:
                raise RuntimeError("the device is lost")
            work()
        finally:
            for job, kind in jobs:
                testify("end", job, kind)
        return items


class SlowToLoad:
    """Takes its time to be set up, then does what it is asked to."""

    def setup(self, context: SetupContext) -> None:
        time.sleep(SETUP_SECONDS)

    def predict(self, kind: str) -> str:
        return run(kind)
