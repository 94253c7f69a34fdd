"""A model made ready to run: decode the input, call the user's code, check and encode what it gives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import copy_context
from typing import Any

from msgspec import Raw, Struct

from asyncinfer._batch_run import BatchRun
from asyncinfer._binding import Binding
from asyncinfer._codec import UNREADABLE
from asyncinfer._context import JobContext, SetupContext, set_current
from asyncinfer._instance import Instance
from asyncinfer._offload import offload, offload_long
from asyncinfer._outcomes import error_of, is_task_cancelled, outcome_of, unreadable
from asyncinfer._result import ResultCodec, check_size, join_yields
from asyncinfer._signature import Signature
from asyncinfer._weight import HEAVY_BYTES, is_heavy
from asyncinfer.abc import CallItem, ModelState, Outcome, RunnerSpec
from asyncinfer.errors import CancelRequested, SetupFailed

# Any, all over this file: the user's code is called with what its own annotations say.
_LIGHT = frozenset({type(None), bool, int, float})
_DRAIN_EVERY = 32
LOADING = "loading model"
"""The progress message of jobs that wait for their model's setup."""


class Recipe(Struct, frozen=True, kw_only=True):
    """All that a runner needs to know of its model."""

    spec: RunnerSpec
    signature: Signature
    binding: Binding
    result: ResultCodec


class ModelRunner:
    """Implements `asyncinfer.abc.Runner` for a function or a class."""

    def __init__(self, recipe: Recipe) -> None:
        spec = recipe.spec
        self.model: str = spec.model
        self.spec: RunnerSpec = spec
        self.is_async: bool = recipe.signature.is_async
        self._recipe = recipe
        self._is_stream = recipe.signature.is_stream
        self._is_batch = recipe.signature.is_batch
        self._decode = recipe.binding.decode
        self._encode = recipe.result.encode
        self._limit = spec.result_bytes
        self._retry_on = spec.retry_on
        self._instance = Instance(spec.code) if isinstance(spec.code, type) else None
        self._function: Callable[..., Any] | None = None if self._instance else spec.code
        self._setup_context = SetupContext(model=spec.model, executor=spec.executor)

    @property
    def state(self) -> ModelState:
        return "warm" if self._instance is None else self._instance.state

    def setup(self, context: SetupContext) -> None:
        """Make the class model's instance and run its `setup` and `warmup`, once. Raise SetupFailed."""
        if self._function is None and self._instance is not None:
            self._setup_context = context
            self._function = getattr(self._instance.get(context), self._recipe.signature.method)

    def teardown(self) -> None:
        """Run the class model's `teardown` and let its instance go."""
        if self._instance is not None:
            self._function = None
            self._instance.teardown()

    def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        """Run a `def` model in the calling thread; each job in a copy of the thread's context."""
        if self._is_batch:
            return copy_context().run(self._run_batch, items)
        return [copy_context().run(self._run_one, item) for item in items]

    async def run_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        """Run an `async def` model in the current task, which should be the attempt's own."""
        if self._is_batch:
            return await self._run_batch_async(items)
        if len(items) == 1:  # without a comprehension's own frame
            return [await self._run_one_async(items[0])]
        return [await self._run_one_async(item) for item in items]

    def _run_one(self, item: CallItem) -> Outcome:
        context = item.context
        try:
            args, kwargs = self._decode(item.input, item.content_type)
        except UNREADABLE as exc:
            return unreadable(exc, context)
        set_current((context,))
        try:
            function = self._function or self._load((item,))
        except (SetupFailed, CancelRequested) as exc:
            return _not_begun(exc, context)
        try:
            value = function(*args, **kwargs)
            if self._is_stream:
                return Outcome("returned", self._collect(value, context))
            return Outcome("returned", self._encode(value, self._limit))
        except BaseException as exc:  # noqa: BLE001  sys.exit() in a model must end its job, not the worker
            return outcome_of(exc, context, self._retry_on)

    async def _run_one_async(self, item: CallItem) -> Outcome:
        context = item.context
        try:
            if len(item.input) > HEAVY_BYTES:
                args, kwargs = await offload(self._decode, item.input, item.content_type)
            else:
                args, kwargs = self._decode(item.input, item.content_type)
        except UNREADABLE as exc:
            return unreadable(exc, context)
        set_current((context,))
        try:
            function = self._function
            if function is None:
                function = await offload_long(self._load, (item,))
        except (SetupFailed, CancelRequested) as exc:
            return _not_begun(exc, context)
        try:
            if self._is_stream:
                return Outcome("returned", await self._collect_async(function(*args, **kwargs), context))
            value = await function(*args, **kwargs)
            if type(value) in _LIGHT or not is_heavy(value):
                return Outcome("returned", self._encode(value, self._limit))
            return Outcome("returned", await offload(self._encode, value, self._limit))
        except GeneratorExit:
            raise
        except BaseException as exc:
            if is_task_cancelled(exc, [context]):
                raise
            return outcome_of(exc, context, self._retry_on)

    def _run_batch(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        try:
            function = self._function or self._load(items)
        except (SetupFailed, CancelRequested) as exc:
            return [_not_begun(exc, item.context) for item in items]
        return self._batch(items, function).run()

    async def _run_batch_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        try:
            function = self._function
            if function is None:
                function = await offload_long(self._load, items)
        except (SetupFailed, CancelRequested) as exc:
            return [_not_begun(exc, item.context) for item in items]
        return await self._batch(items, function).run_async()

    def _load(self, items: Sequence[CallItem]) -> Callable[..., Any]:
        """Set the model up, while the jobs that found it cold show it. Raise SetupFailed or CancelRequested."""
        for item in items:
            item.context.progress(message=LOADING)
        try:
            self.setup(self._setup_context)
        except (KeyboardInterrupt, SystemExit) as exc:  # a model's setup must end no worker
            raise SetupFailed(f"model {self.model}: its setup raised {exc!r}") from exc
        assert self._function is not None
        if all(item.context.is_canceled for item in items):
            raise CancelRequested(f"model {self.model}: nobody waits for its jobs any more")
        for item in items:
            item.context.progress()
        return self._function

    def _collect(self, values: Iterator[Any], context: JobContext) -> bytes:
        """Emit each yield and return them all as the result; between two yields the job can be canceled."""
        pieces: list[bytes] = []
        size = 0
        try:
            for value in values:
                piece = self._encode(value, self._limit)
                size += len(piece)
                check_size(size, self._limit)
                pieces.append(piece)
                context.emit(Raw(piece))
                context.raise_if_canceled()
        finally:
            close = getattr(values, "close", None)
            if close is not None:
                close()
        return join_yields(pieces)

    async def _collect_async(self, values: AsyncIterator[Any], context: JobContext) -> bytes:
        pieces: list[bytes] = []
        size = 0
        try:
            async for value in values:
                piece = self._encode(value, self._limit)
                size += len(piece)
                check_size(size, self._limit)
                pieces.append(piece)
                context.emit(Raw(piece))
                context.raise_if_canceled()
                if len(pieces) % _DRAIN_EVERY == 0:
                    await context.drain()
        finally:
            close = getattr(values, "aclose", None)
            if close is not None:
                await close()
        return join_yields(pieces)

    def _batch(self, items: Sequence[CallItem], function: Callable[..., Any]) -> BatchRun:
        return BatchRun(
            items,
            function=function,
            decode=self._decode,
            encode=lambda value: self._encode(value, self._limit),
            retry_on=self._retry_on,
            bisects=self.spec.bisects,
        )


def _not_begun(exc: SetupFailed | CancelRequested, context: JobContext) -> Outcome:
    if isinstance(exc, CancelRequested):
        return Outcome("canceled")
    return Outcome("not_run", error=error_of(exc, attempt=context.attempt, retryable=True))
