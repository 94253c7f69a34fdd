"""Models that belong in a process: worker processes import this module."""

import os
import signal
import time

import msgspec

from asyncinfer import RetryPolicy, SetupContext, current_job, model


class State(msgspec.Struct):
    step: int = 0


class Renderer:
    def setup(self, ctx: SetupContext) -> None:
        self.scene = "loaded"  # once for each worker process: weights, scenes, caches

    def predict(self, steps: int) -> str:
        ctx = current_job()
        state = ctx.load_checkpoint(State) or State()
        while state.step < steps:
            ctx.raise_if_canceled()
            time.sleep(0.001)  # the work of one step
            state = State(state.step + 1)
            if state.step % 20 == 0:
                ctx.save_checkpoint(state)
                ctx.progress(state.step / steps)
            if state.step == steps // 2 and ctx.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory is short
        return f"{self.scene}, {state.step} steps, attempt {ctx.attempt}"


def stubborn() -> None:
    time.sleep(3600)  # native code that never looks at anything


def greedy(mebibytes: int) -> int:
    return len(bytearray(mebibytes * 1024 * 1024))


# Minutes in seconds: half an hour at most for one attempt, and a lost worker is no failure of the job.
render = model(Renderer, name="render", executor="process", time_limit=1800, retry=RetryPolicy(max_attempts=3))
hold = model(stubborn, name="hold", executor="process")
allocate = model(greedy, name="allocate", executor="process", memory_limit=512 * 1024 * 1024)
