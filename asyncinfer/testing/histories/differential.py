"""Two stores side by side: the same history must give the same answers and show the same jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

from asyncinfer.abc import Job, JobKey
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.histories.commands import WAIT, Command
from asyncinfer.testing.histories.comparable import comparable
from asyncinfer.testing.histories.invariants import broken_by_history, broken_by_step
from asyncinfer.testing.histories.looking import visible_jobs, whole_view
from asyncinfer.testing.histories.player import Player


class Difference(NamedTuple):
    """Where two stores part, or where both break a rule."""

    step: int
    command: Command
    what: str


Plays = Callable[[Sequence[Command]], Awaitable[Difference | None]]
"""Plays a history on two fresh stores."""


async def first_difference(
    history: Sequence[Command], model: Player, tried: Player, clock: FakeClock
) -> Difference | None:
    """Play a history on both stores, and return where `tried` first differs from `model`; None if it never does."""
    seen: dict[JobKey, Job | None] = {}
    for step, command in enumerate(history):
        if command.name == WAIT:
            await clock.advance(command.seconds())
            continue
        what = _difference(await command.play(model), await command.play(tried))
        what = what or await _difference_of_jobs(model, tried, seen)
        if what:
            return Difference(step, command, what)
    what = await _difference_of_views(model, tried) or await _broken_histories(model, seen)
    return Difference(len(history), Command("the end", 0), what) if what else None


async def shortest(history: Sequence[Command], plays: Plays, *, tries: int = 400) -> list[Command]:
    """Return a shorter history that still shows a difference, by leaving out halves, quarters, … single commands."""
    kept, size = list(history), len(history) // 2
    while size >= 1 and tries > 0:
        at = 0
        while at < len(kept) and tries > 0:
            without = kept[:at] + kept[at + size :]
            tries -= 1
            if await plays(without) is not None:
                kept = without
            else:
                at += size
        size //= 2
    return kept


async def _difference_of_jobs(model: Player, tried: Player, seen: dict[JobKey, Job | None]) -> str:
    jobs = await visible_jobs(model)
    what = _difference(jobs, await visible_jobs(tried))
    if what:
        return what
    for key, job in zip(model.keys, jobs, strict=True):
        for broken in broken_by_step(seen.get(key), job):
            return f"{key}: {broken}"
        seen[key] = job
    return ""


async def _difference_of_views(model: Player, tried: Player) -> str:
    return _difference(await whole_view(model), await whole_view(tried))


async def _broken_histories(model: Player, seen: dict[JobKey, Job | None]) -> str:
    for key, job in seen.items():
        if job is None:
            continue
        page = await model.store.events(key, 0, 10_000)
        for broken in broken_by_history(job, list(page.events)):
            return f"{key}: {broken}"
    return ""


def _difference(expected: object, got: object) -> str:
    # Most answers are equal as they are, and that is a hundred times as cheap to see.
    if expected == got:
        return ""
    return "; ".join(_parts("", comparable(expected), comparable(got)))


def _parts(path: str, expected: object, got: object) -> Iterator[str]:
    """Name the smallest parts that differ."""
    if expected == got:
        return
    ours, theirs = _members(expected), _members(got)
    if ours and ours.keys() == theirs.keys():
        for name in ours:
            yield from _parts(f"{path}.{name}", ours[name], theirs[name])
    else:
        yield f"{path}: expected {expected!r}, got {got!r}"


def _members(plain: object) -> Mapping[object, object]:
    if isinstance(plain, dict):
        return cast("dict[object, object]", plain)
    if isinstance(plain, list):
        return dict(enumerate(cast("list[object]", plain)))
    return {}
