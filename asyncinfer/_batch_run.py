"""Run one batch: one call of `predict_batch`, one outcome an item; what fails together is run again in parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from asyncinfer._codec import UNREADABLE
from asyncinfer._context import JobContext, set_current
from asyncinfer._outcomes import failed, is_task_cancelled, outcome_of, unreadable
from asyncinfer._result import ResultRefused
from asyncinfer.abc import CallItem, Outcome
from asyncinfer.errors import CancelRequested, RetryLater


class _Member(NamedTuple):
    """One job of the batch whose input decoded."""

    position: int
    value: Any  # Any: the model's Item
    context: JobContext


class BatchRun:
    """One batch on its way from stored inputs to outcomes; used once."""

    def __init__(
        self,
        items: Sequence[CallItem],
        *,
        function: Callable[..., Any],
        decode: Callable[[bytes, str], tuple[tuple[Any, ...], dict[str, Any]]],
        encode: Callable[[Any], bytes],
        retry_on: tuple[type[Exception], ...],
        bisects: bool,
    ) -> None:
        self._items = items
        self._function = function
        self._decode = decode
        self._encode = encode
        self._retry_on = retry_on
        self._bisects = bisects
        self._outcomes: dict[int, Outcome] = {}

    def run(self) -> list[Outcome]:
        """Run in the calling thread."""
        parts = [self._members()]
        while parts:
            part = parts.pop()
            try:
                answers: Any = self._function([member.value for member in part]) if part else []
            except BaseException as exc:  # noqa: BLE001  sys.exit() in a model must end its jobs, not the worker
                parts += self._after_failure(part, exc)
            else:
                self._settle(part, answers)
            if parts:
                set_current(tuple(member.context for member in parts[-1]))
        return self._in_order()

    async def run_async(self) -> list[Outcome]:
        """Run in the current task, which should be the attempt's own."""
        parts = [self._members()]
        while parts:
            part = parts.pop()
            try:
                answers: Any = await self._function([member.value for member in part]) if part else []
            except GeneratorExit:
                raise
            except BaseException as exc:
                if is_task_cancelled(exc, [member.context for member in part]):
                    raise
                parts += self._after_failure(part, exc)
            else:
                self._settle(part, answers)
            if parts:
                set_current(tuple(member.context for member in parts[-1]))
        return self._in_order()

    def _members(self) -> list[_Member]:
        members: list[_Member] = []
        for position, item in enumerate(self._items):
            try:
                (value,), _ = self._decode(item.input, item.content_type)
            except UNREADABLE as exc:
                self._outcomes[position] = unreadable(exc, item.context)
            else:
                members.append(_Member(position, value, item.context))
        set_current(tuple(member.context for member in members))
        return members

    def _after_failure(self, part: list[_Member], exc: BaseException) -> list[list[_Member]]:
        """Settle who is to blame and return the parts to run again."""
        if isinstance(exc, (CancelRequested, asyncio.CancelledError)):
            canceled = [member for member in part if member.context.is_canceled] or part
            self._end(canceled, exc)
            innocent = [member for member in part if member.position not in self._outcomes]
            if innocent and not self._bisects:
                self._end(innocent, RuntimeError("its batch ended for a canceled item and may not be run again"))
                return []
            return [innocent] if innocent else []
        if len(part) > 1 and self._bisects and not isinstance(exc, RetryLater):
            wanted = [member for member in part if not member.context.is_canceled]
            if len(wanted) < len(part):
                self._end([member for member in part if member.context.is_canceled], CancelRequested())
                return [wanted] if wanted else []
            middle = len(part) // 2
            return [part[middle:], part[:middle]]
        self._end(part, exc)
        return []

    def _end(self, part: list[_Member], exc: BaseException) -> None:
        for member in part:
            self._outcomes[member.position] = outcome_of(exc, member.context, self._retry_on)

    def _settle(self, part: list[_Member], answers: Any) -> None:
        if isinstance(answers, (str, bytes)) or not hasattr(answers, "__len__") or len(answers) != len(part):
            given = f"{len(answers)} results" if hasattr(answers, "__len__") else type(answers).__qualname__
            message = f"predict_batch returned {given} for {len(part)} items; it must return a list, one result an item"
            self._outcomes |= {member.position: failed(message, member.context) for member in part}
            return
        for member, answer in zip(part, answers, strict=True):
            self._outcomes[member.position] = self._answer(answer, member.context)

    def _answer(self, answer: Any, context: JobContext) -> Outcome:
        if isinstance(answer, (Exception, CancelRequested)):
            return outcome_of(answer, context, self._retry_on)
        try:
            return Outcome("returned", self._encode(answer))
        except ResultRefused as exc:
            return outcome_of(exc, context, self._retry_on)

    def _in_order(self) -> list[Outcome]:
        return [self._outcomes[position] for position in range(len(self._items))]
