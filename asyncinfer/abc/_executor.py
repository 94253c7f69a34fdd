"""The executor contract: where a model's code runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol

from msgspec import Struct

from asyncinfer._context import JobContext, SetupContext
from asyncinfer._job import JobError
from asyncinfer._limits import MIB

OutcomeKind = Literal["returned", "raised", "retry_later", "canceled", "time_limit", "worker_lost", "not_run"]
ModelState = Literal["unloaded", "loading", "warm", "draining", "failed"]
"""Of what a model needs to run: not there · `setup` and `warmup` run · ready · `teardown` runs · its setup failed."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What an executor can keep; a model that asks for more is refused at registration."""

    runs_async: bool = False
    """It runs `async def` models."""
    hard_cancel: bool = False
    hard_time_limit: bool = False
    isolated: bool = False
    """A crash of the model ends one slot, not the host."""
    remote: bool = False


class Outcome(Struct, frozen=True, gc=False):
    """How one job's attempt ended, before the core decides what follows.

    returned: `result` is encoded · raised: `error` · retry_later: `delay` seconds or None · canceled: it obeyed ·
    time_limit: the executor ended it · worker_lost: its process died, `error` says how · not_run: its code was not
    begun, since its model could not be set up: `error` says why, nothing is charged.
    """

    kind: OutcomeKind
    result: bytes = b""
    error: JobError | None = None
    delay: float | None = None


class CallItem(Struct, frozen=True, gc=False):
    """One job of a call: its stored input and its context."""

    input: bytes
    content_type: str
    context: JobContext


class RunnerSpec(Struct, frozen=True, kw_only=True):
    """From what `asyncinfer.model(code, …).runner(…)` makes an equal runner in another process."""

    model: str
    executor: str
    code: Callable[..., Any]  # Any: the user's function or class
    target: str | None
    """Import path `module:qualname` of the code; None when it has none, as what `__main__` defines."""
    retry_on: tuple[type[Exception], ...] = (Exception,)
    is_batch: bool = False
    bisects: bool = True
    """A failed batch is run again in halves."""
    memory_limit: int | None = None
    """Bytes that its worker may take; only executors that are `isolated` can keep it."""
    result_bytes: int = 16 * MIB
    checkpoint_bytes: int = 16 * MIB


class Runner(Protocol):
    """A model made ready to run; one per executor. Decodes inputs, calls the user's code, encodes results.

    `run` and `run_async` never raise but for cancellation of the task: whatever the user's code does is an outcome, one
    per item, in order.
    """

    @property
    def model(self) -> str: ...

    @property
    def spec(self) -> RunnerSpec:
        """For executors that run it elsewhere."""
        ...

    @property
    def is_async(self) -> bool: ...

    @property
    def state(self) -> ModelState:
        """Of what was loaded in this process; a model without a `setup` is always warm."""
        ...

    def setup(self, context: SetupContext) -> None:
        """Load what the model needs and warm it up, once; later calls return at once. Raise SetupFailed."""
        ...

    def teardown(self) -> None:
        """Run the model's `teardown` and forget what was loaded; a later `setup` loads it anew. Nothing is raised."""
        ...

    def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        """Run a `def` model in the calling thread, inside each item's context."""
        ...

    async def run_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        """Run an `async def` model on the running loop."""
        ...


class Call(Struct, frozen=True, eq=False, gc=False):
    """What an executor is asked to run: one job, or one batch, of one model. Compared and hashed by identity."""

    runner: Runner
    items: Sequence[CallItem]
    time_limit: float | None = None
    """Seconds; only executors with `hard_time_limit` act on it, the core ends the job by itself elsewhere."""


class Executor(ABC):
    """Runs calls in a bounded number of slots.

    A slot is taken from `run` until the user's code has really returned, however the job ended meanwhile: `free` never
    counts a slot whose code still runs.
    """

    name: ClassVar[str]
    capabilities: ClassVar[Capabilities]
    slots: int

    def __init__(self, slots: int = 1) -> None:
        """Every executor can be made with its number of slots alone; the class decides the default."""
        self.slots = slots

    @property
    @abstractmethod
    def free(self) -> int:
        """Slots that could take a call now; may be negative after an overload."""

    @property
    def abandoned(self) -> int:
        """Slots taken by code that nobody awaits any more; for health and metrics."""
        return 0

    @property
    def copies(self) -> int:
        """How many times one model may be loaded at once: its memory is counted as often."""
        return 1

    @property
    def devices(self) -> Sequence[int]:
        """Indexes of the devices over which it spreads its calls and the copies of its models; none: device 0."""
        return ()

    def check(self, runner: Runner) -> None:
        """Refuse at registration a model that it can never run. Raise InvalidModel, with the remedy."""
        return

    def state(self, runner: Runner) -> ModelState:
        """Tell how far the model is loaded where its calls run; the best of its copies."""
        return runner.state

    def has_begun(self, call: Call) -> bool:
        """Tell whether a running call no longer waits for its model to be loaded: its time limit ends only such."""
        return self.state(call.runner) != "loading"

    @abstractmethod
    async def start(self, on_free: Callable[[], None]) -> None:
        """Be ready to run. `on_free` is called on the loop when a slot has become free. Raise SetupFailed."""

    @abstractmethod
    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        """Run the model's setup where its calls will run. Raise SetupFailed."""

    @abstractmethod
    async def release(self, runner: Runner) -> None:
        """Run the model's teardown wherever it is loaded, and give its memory back. None of its calls may run."""

    @abstractmethod
    async def run(self, call: Call) -> Sequence[Outcome]:
        """Run a call and return one outcome per item. A cancelled await detaches from the code, which may go on.

        Where code runs in this process, it sees the context variables of the task that awaits this, such as a current
        span; what it sets itself no other call sees.
        """

    @abstractmethod
    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        """Ask a running call to stop, or only one item of a batch; unknown calls are ignored.

        `hard` ends the whole call where `capabilities.hard_cancel`: whoever asks has no use for any of its items.
        """

    @abstractmethod
    async def close(self, grace: float) -> None:
        """Stop. Waits up to `grace` seconds for code that still runs, then leaves or ends it."""
