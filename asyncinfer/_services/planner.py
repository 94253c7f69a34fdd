"""What to claim now: the free slots, cut by every bound that models, queues and the manager have. No awaits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer.abc import ClaimRequest, ModelRoom

_PLENTY = 1_000_000


class Planner:
    """Plans the claims of one worker."""

    def __init__(self, pools: Sequence[Pool], jobs: Slots, *, worker_id: str, lease: int) -> None:
        self._pools = pools
        self._jobs = jobs
        self._worker_id = worker_id
        self._lease = lease

    def plan(self, now: float, *, is_idle: bool) -> Plan:
        """Return what may be claimed at `now` (monotonic seconds); `is_idle`: no attempt runs in this worker."""
        plan = Plan(now, self._jobs.room(_PLENTY))
        kept = {pool: pool.kept() for pool in self._pools if pool.reserves}
        # What is kept for one queue is no room for the others, in the manager's total either.
        left_for_all = plan.left - sum(sum(of_pool.values()) for of_pool in kept.values())
        for pool in self._pools:
            free = pool.free
            if free <= 0:
                continue
            models = pool.rotated()
            for queue, slots in kept.get(pool, _NOTHING).items():
                of_queue = [entry for entry in models if entry.queue is queue]
                self._ask(plan, pool, of_queue, min(slots, free, plan.left), is_idle)
                free -= slots
            slots = min(free, plan.left, left_for_all)
            left_for_all -= max(0, slots)
            self._ask(plan, pool, models, slots, is_idle)
        return plan

    def _ask(self, plan: Plan, pool: Pool, models: Iterable[PoolModel], slots: int, is_idle: bool) -> None:
        """Ask for jobs of these models that take at most `slots` slots of the pool."""
        if slots <= 0:
            return
        plan.left -= slots
        rooms: list[ModelRoom] = []
        for entry in models:
            room = plan.room(pool, entry, slots)
            if room > 0:
                batch = (entry.batch_size, entry.batch_cost, entry.batch_wait)
                rooms.append(ModelRoom(entry.name, room, entry.slots.limit, *batch))
        if rooms:
            isolated = pool.executor.capabilities.isolated
            plan.requests.append(ClaimRequest(self._worker_id, self._lease, slots, tuple(rooms), is_idle, isolated))


class Plan:
    """The requests of one claim, and what they leave of each bound, should every one of them be filled."""

    __slots__ = ("_asked", "_left_of_queue", "_now", "held_until", "is_short", "left", "requests")

    def __init__(self, now: float, left: int) -> None:
        self.requests: list[ClaimRequest] = []
        self.is_short: bool = False
        """A shared bound kept some model from asking for all it could run: if anything comes, ask again at once."""
        self.held_until: float | None = None
        """When the first model that is held off may be tried again, in monotonic seconds."""
        self.left: int = left
        """Of the manager's total."""
        self._now = now
        self._left_of_queue: dict[Slots, int] = {}
        self._asked: dict[PoolModel, int] = {}

    def room(self, pool: Pool, entry: PoolModel, slots: int) -> int:
        """Take and return how many jobs of a model to ask for, of `slots` calls at most."""
        wanted = entry.slots.room(slots * entry.batch_size)
        if pool.reserves:  # only there is a model asked for twice
            wanted = min(wanted, entry.slots.room(_PLENTY) - self._asked.get(entry, 0))
        if not entry.is_warm(pool.executor):
            wanted = min(wanted, self._room_while_cold(entry))
        room = min(wanted, self._left_of_queue.get(entry.queue, entry.queue.room(wanted)))
        if entry.queue.limit is not None:
            self._left_of_queue[entry.queue] = self._left_of_queue.get(entry.queue, entry.queue.room(_PLENTY)) - room
        if pool.reserves:
            self._asked[entry] = self._asked.get(entry, 0) + room
        self.is_short = self.is_short or room < wanted
        return room

    def _room_while_cold(self, entry: PoolModel) -> int:
        """Return room for the one call that sets the model up, unless that runs or has just failed."""
        until = entry.setbacks.until
        if until > self._now:
            self.held_until = until if self.held_until is None else min(until, self.held_until)
            return 0
        return 0 if entry.calls or self._asked.get(entry) else entry.batch_size


_NOTHING: dict[Slots, int] = {}
