"""What to claim now: the free slots, cut by every bound that models, queues and the manager have. No awaits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asyncinfer._services.ledger import Ledger, Need
from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer._services.shares import Shares
from asyncinfer.abc import ClaimRequest, ModelRoom

_PLENTY = 1_000_000


class Planner:
    """Plans the claims of one worker."""

    def __init__(
        self, pools: Sequence[Pool], jobs: Slots, *, worker_id: str, lease: int, ledger: Ledger | None = None
    ) -> None:
        self._pools = pools
        self._jobs = jobs
        self._worker_id = worker_id
        self._lease = lease
        self._ledger = ledger
        self._turn = 0
        self.shares: Shares = Shares()
        self.models: int = sum(len(pool.models) for pool in pools)

    def plan(self, now: float, *, is_idle: bool) -> Plan:
        """Return what may be claimed at `now` (monotonic seconds); `is_idle`: no attempt runs in this worker."""
        self._turn += 1
        plan = Plan(now, self._jobs.room(_PLENTY), is_idle=is_idle)
        if self._ledger is not None:
            plan.set_memory(self._ledger, held_memory(self._pools))
        kept = {pool: pool.kept() for pool in self._pools if pool.reserves}
        # What is kept for one queue is no room for the others, in the manager's total either.
        kept_in_all = sum(sum(of_pool.values()) for of_pool in kept.values())
        for pool in self._in_turn():
            free = pool.free
            if free <= 0:
                continue
            models = pool.in_turn(now)
            for queue, slots in kept.get(pool, _NOTHING).items():
                of_queue = [entry for entry in models if entry.queue is queue]
                plan.left -= self._ask_all(plan, pool, of_queue, min(slots, free), 0)
                free -= slots
                kept_in_all -= slots
            plan.left -= self._ask_all(plan, pool, models, free, kept_in_all)
        return plan

    def _in_turn(self) -> Sequence[Pool]:
        pools = self._pools
        if len(pools) < 2 or self._jobs.limit is None:
            return pools
        first = self._turn % len(pools)
        return [*pools[first:], *pools[:first]]

    def _ask_all(self, plan: Plan, pool: Pool, models: Sequence[PoolModel], slots: int, kept: int) -> int:
        """Ask for jobs that fill `slots` of the pool; return what they take of the manager's total, all but `kept`.

        A model whose calls take more than a slot is asked for by itself, or several of them could come at once.
        """
        large = [entry for entry in models if entry.is_large]
        groups: list[Sequence[PoolModel]] = [[entry] for entry in large]
        if len(large) < len(models):
            small = models if not large else [entry for entry in models if not entry.is_large]
            groups.insert(self._turn % 2 and len(groups), small)
        asked = 0
        used = 0
        for group in groups:
            weight = group[0].resources.slots if self._jobs.limit is not None else 1
            alone = min(slots, (plan.total - kept) // weight)
            calls = min(slots - asked, (plan.left - kept - used) // weight)
            plan.squeezed(calls, alone)
            calls = self._ask(plan, pool, group, calls)
            asked += calls
            used += calls * weight
        return used

    def _ask(self, plan: Plan, pool: Pool, models: Sequence[PoolModel], calls: int) -> int:
        """Ask for so many calls of these models at most; return how many were asked for."""
        if models[0].resources.device_share:
            calls = plan.take_shares(self.shares, models[0].resources.device_share, pool.executor.devices, calls)
        if calls <= 0:
            return 0
        rooms: list[ModelRoom] = []
        for entry in models:
            room = plan.room(pool, entry, calls)
            if room > 0:
                batch = (entry.batch_size, entry.batch_cost, entry.batch_wait)
                rooms.append(ModelRoom(entry.name, room, entry.slots.limit, *batch))
        if not rooms:
            return 0
        if len(rooms) == 1:
            calls = min(calls, rooms[0].room)
        isolated = pool.executor.capabilities.isolated
        plan.requests.append(ClaimRequest(self._worker_id, self._lease, calls, tuple(rooms), plan.is_idle, isolated))
        return calls


class Plan:
    """The requests of one claim, and what they leave of each bound, should every one of them be filled."""

    __slots__ = (
        "_asked",
        "_held",
        "_hoped",
        "_ledger",
        "_left_of_queue",
        "_now",
        "_shares",
        "held_until",
        "is_crowded",
        "is_idle",
        "is_short",
        "left",
        "requests",
        "total",
        "unfit",
    )

    def __init__(self, now: float, left: int, *, is_idle: bool) -> None:
        self.requests: list[ClaimRequest] = []
        self.is_short: bool = False
        """A shared bound kept some model from asking for all it could run: if anything comes, ask again at once."""
        self.is_crowded: bool = False
        """Some model got nothing because others were asked first: ask again, in another order, if nothing comes."""
        self.held_until: float | None = None
        """When the first model that is held off may be tried again, in monotonic seconds."""
        self.unfit: list[PoolModel] = []
        """Models that are not loaded and do not fit beside those that are."""
        self.total: int = left
        """What was left of the manager's total."""
        self.left: int = left
        """What still is, when all that was asked for comes."""
        self.is_idle = is_idle
        self._now = now
        self._left_of_queue: dict[Slots, int] = {}
        self._asked: dict[PoolModel, int] = {}
        self._ledger: Ledger | None = None
        self._held: Sequence[Need] = ()
        self._hoped: list[Need] = []
        """Of models that would be loaded by what is asked for."""
        self._shares: Shares | None = None

    def set_memory(self, ledger: Ledger, held: Sequence[Need]) -> None:
        """Bound what may be loaded, beside what is."""
        self._ledger, self._held = ledger, held

    def squeezed(self, calls: int, alone: int) -> None:
        """Note that some models may ask for `calls`, and could for `alone` if nobody had asked before them."""
        if calls < alone:
            self.is_short = True
            self.is_crowded = self.is_crowded or calls <= 0

    def take_shares(self, running: Shares, share: float, devices: Sequence[int], calls: int) -> int:
        """Take and return how many of so many calls the devices have room for, beside those that run."""
        shares = self._shares = self._shares or running.copy()
        taken = 0
        while taken < calls and shares.fits(share, devices):
            shares.take(share, devices)
            taken += 1
        if not taken and calls > 0 and running.fits(share, devices):
            self.is_short = self.is_crowded = True
        return taken

    def room(self, pool: Pool, entry: PoolModel, slots: int) -> int:
        """Take and return how many jobs of a model to ask for, of `slots` calls at most."""
        wanted = entry.slots.room(slots * entry.batch_size)
        if pool.reserves:  # only there is a model asked for twice
            wanted = min(wanted, entry.slots.room(_PLENTY) - self._asked.get(entry, 0))
        if entry.setbacks.until > self._now:
            until = entry.setbacks.until
            self.held_until = until if self.held_until is None else min(until, self.held_until)
            return 0
        if not entry.is_warm(pool.executor):
            wanted = min(wanted, self._room_while_cold(pool, entry))
        elif entry.is_leaving:
            return 0
        alone = entry.queue.room(wanted)
        room = min(wanted, self._left_of_queue.get(entry.queue, alone))
        if entry.queue.limit is not None:
            self._left_of_queue[entry.queue] = self._left_of_queue.get(entry.queue, entry.queue.room(_PLENTY)) - room
        if pool.reserves:
            self._asked[entry] = self._asked.get(entry, 0) + room
        self.is_short = self.is_short or room < wanted
        self.is_crowded = self.is_crowded or room <= 0 < alone
        return room

    def _room_while_cold(self, pool: Pool, entry: PoolModel) -> int:
        """Return room for the one call that sets the model up, unless that runs already, or it does not fit."""
        if entry.calls or entry.is_leaving or self._asked.get(entry):
            return 0
        if entry.need and not entry.holds_memory(pool.executor) and not self._admits(entry):
            return 0
        return 1

    def _admits(self, entry: PoolModel) -> bool:
        assert self._ledger is not None
        if not self._ledger.excess([entry.need, *self._held, *self._hoped]):
            self._hoped.append(entry.need)
            return True
        if self._ledger.excess([entry.need, *self._held]):
            self.unfit.append(entry)
        else:
            self.is_short = self.is_crowded = True
        return False


def held_memory(pools: Iterable[Pool], but: PoolModel | None = None) -> Sequence[Need]:
    """Return what each model but one takes that is loaded, or on its way in or out."""
    return [
        entry.need
        for pool in pools
        for entry in pool.models.values()
        if entry.need and entry is not but and entry.holds_memory(pool.executor)
    ]


_NOTHING: dict[Slots, int] = {}
