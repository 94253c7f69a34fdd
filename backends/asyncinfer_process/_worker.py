"""One worker process as the manager's process sees it: started, spoken to, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from asyncinfer.abc import Call, Outcome
from asyncinfer.errors import SetupFailed
from asyncinfer_process import _memory
from asyncinfer_process._channel import Channel, Gone
from asyncinfer_process._exits import Elsewhere, Exit, KillReason, said, watch
from asyncinfer_process._hearing import OutOfBounds, hear, log
from asyncinfer_process._messages import STARVED, UP_HEADS, Cancel, Load, Logged, NotReady, Ready, Said, Stop, Up
from asyncinfer_process._requests import run_of
from asyncinfer_process._sender import Sender
from asyncinfer_process._stderr import StderrTail

Answer = Ready | NotReady | Sequence[Outcome] | Exit


class Worker:
    """One process. A thread starts it and receives what it says; every call here comes from the loop's thread.

    It answers one request at a time: a `load` first, then calls, or another load. The thread lives as long as it does:
    when it ends, the kernel ends the process too.
    """

    def __init__(
        self,
        name: str,
        env: Mapping[str, str],
        *,
        kill_after: float,
        max_part: int,
        on_end: Callable[[Worker], None],
    ) -> None:
        """Raise OSError or RuntimeError when there is no descriptor or no thread left."""
        self.name = name
        self.exit: Exit | None = None
        """Set when it has ended, and nothing of it is left."""
        self.calls: int = 0
        """How many it has run."""
        self._loop = asyncio.get_running_loop()
        self._env = dict(env)
        self._kill_after = kill_after
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: StderrTail | None = None
        self._code: int | None = None
        self._oom_kills = _memory.oom_kills()
        self._has_exited = threading.Event()
        self._is_stopping = False
        self._is_read_out = False
        self._killed_for: KillReason | None = None
        self._killed_why = ""
        self._timer: asyncio.TimerHandle | None = None
        self._on_answer: Callable[[Answer], None] | None = None
        self._is_loading = False
        self._call: Call | None = None
        """As `_is_loading`: set here when it is asked, unset by the thread when the answer has come."""
        ours, self._theirs = socket.socketpair()
        self._socket = ours
        self._channel: Channel[Up] = Channel(ours, UP_HEADS, max_part)
        self._sender = Sender(ours, name)
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        try:
            self._thread.start()
        except BaseException:
            ours.close()
            self._theirs.close()
            raise

    @property
    def pid(self) -> int | None:
        return None if self._process is None or self._code is not None else self._process.pid

    @property
    def is_leaving(self) -> bool:
        """It has ended or is about to: it takes no more calls."""
        has_ended = self._code is not None or self._is_read_out or self.exit is not None
        return has_ended or self._is_stopping or self._killed_for is not None

    async def load(self, load: Load, pickled: bytes) -> None:
        """Load a model. Raise SetupFailed when its setup raises or its process ends meanwhile."""
        answered: asyncio.Future[Answer] = self._loop.create_future()
        self._is_loading = True
        self._ask(lambda answer: None if answered.done() else answered.set_result(answer))
        self._sender.send(load, [pickled] if pickled else [])
        answer = await answered
        if isinstance(answer, NotReady):
            raise SetupFailed(answer.message) from (Elsewhere(answer.traceback) if answer.traceback else None)
        if isinstance(answer, Exit):
            cause = Elsewhere(answer.stderr) if answer.stderr else None
            raise SetupFailed(f"model {load.model}: {answer.message}") from cause

    def run(self, call: Call, model: int, on_answer: Callable[[Sequence[Outcome] | Exit], None]) -> None:
        """Run a call of the model with that number; `on_answer` hears of its end, or of that of the process."""

        def answered(answer: Answer) -> None:
            assert not isinstance(answer, Ready | NotReady)
            on_answer(answer)

        self.calls += 1
        self._call = call
        self._ask(answered)
        self._sender.send(*run_of(call, model))

    def cancel(self, item: int | None) -> None:
        """Set the token of one item of the running call, or of all."""
        self._sender.send(Cancel(item))

    def stop(self, seconds: float) -> None:
        """Let it run the model's teardown and exit; after `seconds` it is killed."""
        if self.is_leaving:
            return
        self._is_stopping = True
        self._sender.send(Stop())
        self._set_timer(seconds, partial(self.kill, "closing", at_once=True))

    def kill(self, reason: KillReason, why: str = "", *, at_once: bool = False) -> None:
        """End its process group: SIGTERM, and SIGKILL after `kill_after` seconds; or SIGKILL at once."""
        if self._code is not None or self.exit is not None:
            return
        self._note(reason, why)
        if self._process is None:
            return  # `_started` does it
        self._signal(signal.SIGKILL if at_once else signal.SIGTERM)
        if not at_once:
            self._set_timer(self._kill_after, partial(self._signal, signal.SIGKILL))

    async def wait(self) -> None:
        """Return when it has ended."""
        await self._ended.wait()

    # In the thread

    def _live(self) -> None:
        try:
            process = self._spawn()
        except Exception as error:  # noqa: BLE001  whatever Popen refuses
            self._post(partial(self._end, f"could not be started: {error}"))
            return
        if not self._post(partial(self._started, process)):
            process.kill()
            process.wait()
            return
        why = ""
        try:
            while True:
                self._receive()
        except Gone:
            pass
        except Exception as error:  # noqa: BLE001  a frame that is none, or what a log handler of ours raises
            why = str(error) or repr(error)
        if self._post(partial(self._hung_up, why)):
            self._has_exited.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        child = self._theirs
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "asyncinfer_process.child", str(child.fileno())],
                pass_fds=[child.fileno()],
                process_group=0,  # a Ctrl-C in the terminal is for the manager, and whatever it forks dies with it
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **self._env},
            )
        finally:
            child.close()

    def _receive(self) -> None:
        message, parts = self._channel.receive()
        if isinstance(message, Logged):
            log(message)
            return
        call = self._call
        if isinstance(message, Ready | NotReady):
            if not self._is_loading:
                raise OutOfBounds("it has loaded a model that it was not asked for")
            self._is_loading = False
            self._post(partial(self._answered, message))
        elif call is None:
            raise OutOfBounds("it spoke of a call that it does not run")
        elif isinstance(message, Said):
            hear(call, message, parts)
        else:
            if not len(call.items) == len(message.endings) == len(parts):
                raise OutOfBounds("it ended more or fewer jobs than it was given")
            self._call = None
            outcomes = [
                Outcome(ending.kind, part, ending.error, ending.delay)
                for ending, part in zip(message.endings, parts, strict=True)
            ]
            self._post(partial(self._answered, outcomes))

    def _post(self, function: Callable[[], None]) -> bool:
        """Have it called on the loop; False when the loop has been closed over it."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            return False
        return True

    # On the loop

    def _ask(self, on_answer: Callable[[Answer], None]) -> None:
        if self.exit is not None:
            on_answer(self.exit)
        else:
            self._on_answer = on_answer

    def _answered(self, answer: Answer) -> None:
        on_answer, self._on_answer = self._on_answer, None
        if on_answer is not None:
            on_answer(answer)

    def _started(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        assert process.stderr is not None
        self._stderr = StderrTail(process.stderr, self._loop)
        watch(process, self._loop, self._exited)
        if self._killed_for is not None:
            self.kill(self._killed_for, at_once=True)

    def _note(self, reason: KillReason, why: str) -> None:
        """Remember for what it is ended: the first reason counts."""
        if self._killed_for is None:
            self._killed_for, self._killed_why = reason, why

    def _set_timer(self, seconds: float, function: Callable[[], None]) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, function)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._code is not None:
            return
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:  # it has moved to another group
            self._process.send_signal(number)
        except PermissionError:  # as some systems say of a process that has ended
            return

    def _exited(self) -> None:
        assert self._process is not None
        self._signal(signal.SIGKILL)  # what it has forked: while nobody has waited for it, its group is its own
        self._code = self._process.wait()
        self._has_exited.set()
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._end_if_over()

    def _hung_up(self, why: str) -> None:
        self._is_read_out = True
        if why:
            self._note("broken", why)
        if why and self._code is None:
            self.kill("broken", at_once=True)
        self._set_timer(self._kill_after, partial(self.kill, "broken", "it closed its connection", at_once=True))
        self._end_if_over()

    def _end_if_over(self) -> None:
        if self._code is not None and self._is_read_out:
            self._end(said(self._code))

    def _end(self, how: str) -> None:
        self._thread.join()
        self._sender.close()
        self._socket.close()
        if self._timer is not None:
            self._timer.cancel()
        stderr = "" if self._stderr is None else self._stderr.close()
        if self._code == STARVED:
            self._note("memory_limit", "it had no memory for what the job needs")
        starved = self._code == -signal.SIGKILL and self._killed_for is None and _memory.oom_kills() != self._oom_kills
        why = self._killed_why or ("the kernel killed it for want of memory" if starved else "")
        self.exit = Exit(
            f"the worker process {how}" + (f": {why}" if why else ""),
            self._killed_for,
            starved or self._killed_for == "memory_limit",
            stderr,
        )
        self._answered(self.exit)
        self._on_end(self)
        self._ended.set()
