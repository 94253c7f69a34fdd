"""What a manager refuses when it opens: models that cannot run as they ask, and reserves that cannot be kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from asyncinfer._limits import Limits
from asyncinfer._models import Model
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer.errors import InvalidModel, InvalidOption

Models = Mapping[str, Model[..., Any, Any]]  # Any: models of whatever signature


def require_runnable(pool: Pool, models: Models) -> None:
    """Raise InvalidModel, with the remedy, for the first model that the pool's executor cannot run as it asks."""
    executor = pool.executor
    for name, entry in pool.models.items():
        one = models[name]
        if one.is_async != executor.capabilities.runs_async:
            kind, place = ("async def", "loop") if one.is_async else ("def", "thread")
            raise InvalidModel(
                f"model {name!r} is {kind} code, which executor {executor.name!r} does not run; use executor={place!r}"
            )
        if one.memory_limit is not None and not executor.capabilities.isolated:
            raise InvalidModel(
                f"model {name!r} has a memory_limit, which executor {executor.name!r} cannot keep: its code shares the"
                " host's process; use executor='process'"
            )
        executor.check(entry.runner)


def reserves_of(entries: Iterable[PoolModel], models: Models, limits: Limits) -> Mapping[Slots, int]:
    """Return the slots that the queues of these models reserve. Raise InvalidOption."""
    reserves: dict[Slots, int] = {}
    for entry in entries:
        queue = models[entry.name].queue
        own = limits.queues.get(queue)
        if own is None:
            continue
        most = own.concurrency if own.concurrency is not None else 1_000_000
        if isinstance(own.reserve, bool) or not isinstance(own.reserve, int) or not 0 <= own.reserve <= most:  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(
                f"QueueLimits.reserve of queue {queue!r}: expected an int from 0 to {most}, got {own.reserve!r}"
            )
        if own.reserve:
            reserves[entry.queue] = own.reserve
    return reserves


def require_reserves(pools: Sequence[Pool], total: int | None) -> None:
    """Raise InvalidOption when what queues reserve leaves an executor, or the manager, too few slots."""
    for pool in pools:
        reserved = sum(pool.reserves.values())
        if reserved > pool.executor.slots:
            raise InvalidOption(
                f"QueueLimits.reserve: the queues of executor {pool.executor.name!r} reserve {reserved} slots, it has"
                f" {pool.executor.slots}; reserve less, or raise its concurrency"
            )
        if reserved == pool.executor.slots and (others := _unreserved(pool)):
            raise InvalidOption(
                f"QueueLimits.reserve: all {reserved} slots of executor {pool.executor.name!r} are reserved, and none"
                f" is left for model {others[0]!r} of another queue; reserve less, or raise its concurrency"
            )
    for entry in [entry for pool in pools for entry in pool.models.values()]:
        if total is not None and entry.resources.slots > total:
            raise InvalidModel(
                f"model {entry.name!r} takes {entry.resources.slots} slots, concurrency={total} never has so many;"
                " raise that, or lower Resources.slots"
            )
    reserved = sum(sum(pool.reserves.values()) for pool in pools)
    if total is not None and reserved + any(_unreserved(pool) for pool in pools) > total:
        raise InvalidOption(
            f"QueueLimits.reserve: {reserved} slots are reserved in all, concurrency={total} leaves too few for the"
            " other queues; reserve less, or raise it"
        )


def require_memory(pools: Sequence[Pool], ledger: Ledger) -> None:
    """Work out what each model needs. Raise InvalidModel for one that can never fit, beside those that stay loaded."""
    for pool in pools:
        for entry in pool.models.values():
            entry.need = ledger.need(entry.resources, copies=pool.executor.copies, devices=pool.executor.devices)
    models = [entry for pool in pools for entry in pool.models.values() if entry.need]
    staying = [entry for entry in models if entry.resources.pinned or not entry.is_class]
    for entry in models:
        others = [one for one in staying if one is not entry]
        excess = ledger.excess([entry.need, *(one.need for one in others)])
        if excess:
            beside = f" beside {', '.join(one.name for one in others)}, which stay loaded" if others else ""
            place, size = next(iter(excess.items()))
            raise InvalidModel(
                f"model {entry.name!r} can never be loaded{beside}: that is {size:,} bytes above the MemoryBudget of"
                f" the {place}; raise that, or lower its Resources"
            )


def _unreserved(pool: Pool) -> Sequence[str]:
    return [entry.name for entry in pool.models.values() if entry.queue not in pool.reserves]
