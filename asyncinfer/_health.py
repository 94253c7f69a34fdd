"""Whether a manager is live and ready, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from asyncinfer._engine import Engine
from asyncinfer.errors import StoreError


class Health(Struct, frozen=True, kw_only=True):
    """A snapshot. `reasons` is empty exactly when the manager is ready."""

    is_live: bool
    """Its services run; when not, restart the process."""
    is_ready: bool
    """It accepts jobs and, unless it only submits, runs them."""
    reasons: Sequence[str]
    durability: str
    """What an accepted job survives, in words."""
    running: int
    """Attempts that run here now."""
    abandoned: Mapping[str, int]
    """By executor: slots taken by code that goes on although its job has ended."""
    rescued: int
    """Attempts this manager has rescued since its start."""
    notices: Sequence[str]
    """What the store wants an operator to know; the manager is ready all the same."""


async def health_of(engine: Engine) -> Health:
    """Ask every part, the store too."""
    reasons = [
        f"service {name} failed and starts again: {engine.supervisor.failures[name]!r}"
        for name in sorted(engine.supervisor.failing)
    ]
    is_live = not engine.supervisor.failing
    if engine.is_draining:
        reasons.append("draining")
    if engine.clock.monotonic() >= engine.heartbeat.held_until and engine.worker.attempts:
        reasons.append("the leases of running jobs could not be extended in time")
    reasons += [
        f"model {entry.name} cannot be set up: {'' if entry.setbacks.error is None else entry.setbacks.error.message}"
        for pool in engine.pools
        for entry in pool.models.values()
        if entry.setbacks.is_persistent and not entry.is_warm(pool.executor)
    ]
    try:
        await engine.store.workers()
    except StoreError as error:
        reasons.append(f"store: {error}")
    abandoned = {
        pool.executor.name: pool.assigned
        - len({one.call for one in engine.worker.attempts.values() if one.pool is pool})
        for pool in engine.pools
    }
    return Health(
        is_live=is_live,
        is_ready=not reasons,
        reasons=reasons,
        durability=engine.store.features.durability,
        running=len(engine.worker.attempts),
        abandoned={name: count for name, count in abandoned.items() if count > 0},
        rescued=engine.rescuer.rescued,
        notices=engine.store.notices(),
    )
