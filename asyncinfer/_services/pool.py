"""A pool: one executor of a manager, the models it runs, and what is taken of its slots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asyncinfer._resources import Resources
from asyncinfer._services.ledger import NO_NEED, Need
from asyncinfer._services.setbacks import Setbacks
from asyncinfer.abc import Executor, Runner

PLAIN = Resources()
AFFINITY_SECONDS = 10.0
"""How long the jobs of loaded models may go before those of a model that would have to be loaded first."""


class Slots:
    """A count of jobs at once with an optional bound: of one model, one queue, or the whole manager."""

    __slots__ = ("limit", "taken")

    def __init__(self, limit: int | None) -> None:
        self.limit: int | None = limit
        self.taken: int = 0

    def room(self, wanted: int) -> int:
        return wanted if self.limit is None else max(0, min(wanted, self.limit - self.taken))


class PoolModel:
    """One model as a pool runs it: its runner, its batches, and the counts it is held to."""

    __slots__ = (
        "batch_cost",
        "batch_size",
        "batch_wait",
        "calls",
        "idle_since",
        "is_class",
        "is_large",
        "is_leaving",
        "name",
        "need",
        "preload",
        "queue",
        "resources",
        "runner",
        "setbacks",
        "slots",
    )

    def __init__(
        self,
        name: str,
        runner: Runner,
        *,
        slots: Slots,
        queue: Slots,
        batch_size: int = 1,
        batch_cost: int | None = None,
        batch_wait: int = 0,
        preload: bool = True,
        resources: Resources = PLAIN,
    ) -> None:
        self.name = name
        self.runner = runner
        self.slots = slots
        self.queue = queue
        self.batch_size = batch_size
        self.batch_cost = batch_cost
        self.batch_wait = batch_wait
        self.preload = preload
        self.calls: int = 0
        """Whose code has not returned."""
        self.is_class: bool = isinstance(runner.spec.code, type)
        """It has a setup; a function is always warm."""
        self.setbacks = Setbacks()
        self.resources = resources
        self.is_large: bool = resources.slots > 1 or resources.device_share > 0
        self.need: Need = NO_NEED
        """What its copies take of the memory budget; empty where nothing bounds it."""
        self.idle_since: float = 0.0
        """Since when it runs nothing, in monotonic seconds; kept only for a model with a need."""
        self.is_leaving: bool = False
        """It is being unloaded, for another."""

    def is_warm(self, executor: Executor) -> bool:
        """Tell whether its jobs may run side by side; else one call at a time finds out."""
        return not (self.is_class or self.setbacks.count) or executor.state(self.runner) == "warm"

    def is_loaded(self, executor: Executor) -> bool:
        """Tell whether there is something to tear down."""
        return self.is_class and executor.state(self.runner) == "warm"

    def holds_memory(self, executor: Executor) -> bool:
        """Tell whether it is loaded, or on its way in or out."""
        if self.calls or self.is_leaving or not self.is_class:
            return True
        return executor.state(self.runner) in ("loading", "warm", "draining")


class Pool:
    """One executor and its models. `assigned` counts calls from their claim until their code has returned.

    `reserves` are slots that are kept for the jobs of a queue.
    """

    def __init__(
        self, executor: Executor, models: Mapping[str, PoolModel], reserves: Mapping[Slots, int] | None = None
    ) -> None:
        self.executor = executor
        self.models = models
        self.reserves: Mapping[Slots, int] = reserves or {}
        self.assigned = 0
        self._rotation = 0
        self._is_tight = executor.capabilities.isolated and sum(one.is_class for one in models.values()) > 1
        """Its processes have one model each, and may have to make room for each other."""
        self._warm_since = 0.0

    @property
    def free(self) -> int:
        """Slots for which work may be claimed now."""
        return min(self.executor.free, self.executor.slots - self.assigned)

    def kept(self) -> dict[Slots, int]:
        """Return how many more slots are kept for each queue that reserves some: what it does not use of them."""
        unused = dict(self.reserves)
        for entry in self.models.values():
            if entry.queue in unused:
                unused[entry.queue] -= entry.calls
        return {queue: slots for queue, slots in unused.items() if slots > 0}

    def in_turn(self, now: float) -> Sequence[PoolModel]:
        """Return the models in the order to serve them, each time beginning with the next.

        Where a model may have to be loaded in place of another, those that are loaded come first, so that a slot does
        not go to and fro between two backlogs; but every `AFFINITY_SECONDS` those that are not come before them.
        """
        models = list(self.models.values())
        if len(models) < 2:
            return models
        self._rotation = (self._rotation + 1) % len(models)
        models = models[self._rotation :] + models[: self._rotation]
        if not self._is_tight:
            return models
        warm = [entry for entry in models if entry.is_warm(self.executor)]
        cold = [entry for entry in models if not entry.is_warm(self.executor)]
        if not warm or not cold:
            self._warm_since = now
        elif now - self._warm_since >= AFFINITY_SECONDS:
            self._warm_since = now
            return [*cold, *warm]
        return [*warm, *cold]
