from asyncinfer import Limits, model
from asyncinfer._services.planner import Planner
from asyncinfer._services.pool import AFFINITY_SECONDS, Pool, PoolModel, Slots
from asyncinfer.abc import Capabilities, ClaimRequest, ModelState, Runner, SetupContext
from asyncinfer_thread import ThreadExecutor


def plain(number: int) -> int:
    return number


class Loaded:
    def setup(self, ctx: object) -> None: ...
    def predict(self, number: int) -> int:
        return number


def entry(name: str, queue: Slots | None = None, *, concurrency: int | None = None, batch_size: int = 1) -> PoolModel:
    made = model(plain, name=name)
    slots = Slots(concurrency)
    return PoolModel(name, made.runner(Limits()), slots=slots, queue=queue or Slots(None), batch_size=batch_size)


def class_entry(name: str, *, concurrency: int | None = None) -> PoolModel:
    made = model(Loaded, name=name)
    return PoolModel(name, made.runner(Limits()), slots=Slots(concurrency), queue=Slots(None))


def pool(*entries: PoolModel, slots: int = 4, reserves: dict[Slots, int] | None = None) -> Pool:
    return Pool(ThreadExecutor(slots), {one.name: one for one in entries}, reserves)


def run(where: Pool, one: PoolModel, calls: int) -> None:
    """Let so many calls of a model run."""
    where.assigned += calls
    one.calls += calls
    one.slots.taken += calls
    one.queue.taken += calls


def asked(requests: list[ClaimRequest]) -> list[tuple[int, dict[str, int]]]:
    return [(one.slots, {room.model: room.room for room in one.models}) for one in requests]


def plan(*pools: Pool, jobs: Slots | None = None) -> list[tuple[int, dict[str, int]]]:
    planner = Planner(pools, jobs or Slots(None), worker_id="w", lease=1)
    return asked(planner.plan(0.0, is_idle=True).requests)


def test_every_model_may_fill_the_free_slots() -> None:
    where = pool(one := entry("one"), entry("two", batch_size=8))
    run(where, one, 1)
    assert plan(where) == [(3, {"two": 24, "one": 3})]


def test_a_full_pool_asks_for_nothing() -> None:
    where = pool(one := entry("one"))
    run(where, one, 4)
    assert plan(where) == []


def test_models_ask_for_no_more_than_their_own_bound_and_their_queues() -> None:
    queue = Slots(3)
    where = pool(entry("one", queue, concurrency=2), entry("two", queue))
    planner = Planner([where], Slots(None), worker_id="w", lease=1)
    first = planner.plan(0.0, is_idle=True)
    second = planner.plan(0.0, is_idle=True)
    assert (asked(first.requests), asked(second.requests)) == ([(3, {"two": 3})], [(4, {"one": 2, "two": 1})])
    assert (first.is_short, second.is_short) == (True, True)


def test_the_managers_total_is_shared_by_its_pools() -> None:
    pools = pool(entry("one")), pool(entry("two"))
    planner = Planner(pools, Slots(6), worker_id="w", lease=1)
    first, second = planner.plan(0.0, is_idle=True), planner.plan(0.0, is_idle=True)
    assert asked(first.requests) == [(4, {"two": 4}), (2, {"one": 2})]
    assert asked(second.requests) == [(4, {"one": 4}), (2, {"two": 2})]
    assert (first.is_short, first.is_crowded) == (True, False)


def test_a_model_that_is_not_loaded_is_asked_for_once() -> None:
    where = pool(one := class_entry("one"), reserves={})
    first = plan(where)
    run(where, one, 1)
    assert (first, plan(where)) == ([(1, {"one": 1})], [])


def test_a_model_whose_setup_failed_is_not_asked_for_until_its_pause_ends() -> None:
    where = pool(one := class_entry("one"))
    one.setbacks.failed(None, 100.0)
    planner = Planner([where], Slots(None), worker_id="w", lease=1)
    held = planner.plan(100.5, is_idle=True)
    assert (held.requests, held.held_until, held.is_short) == ([], 101.0, False)
    assert asked(planner.plan(101.0, is_idle=True).requests) == [(1, {"one": 1})]


def test_a_loaded_model_whose_setup_failed_elsewhere_fills_the_slots_when_its_pause_ends() -> None:
    where = pool(one := class_entry("one"))
    one.runner.setup(SetupContext(model="one", executor="thread"))
    run(where, one, 1)
    one.setbacks.failed(None, 100.0)
    planner = Planner([where], Slots(None), worker_id="w", lease=1)
    held = planner.plan(100.5, is_idle=False)
    assert (held.requests, held.held_until) == ([], 101.0)
    assert asked(planner.plan(101.0, is_idle=False).requests) == [(3, {"one": 3})]


def test_what_a_queue_reserves_is_asked_for_by_itself_and_the_rest_by_all() -> None:
    short, long = Slots(None), Slots(None)
    where = pool(entry("long", long), entry("short", short), reserves={short: 1})
    assert plan(where) == [(1, {"short": 1}), (3, {"short": 3, "long": 3})]


def test_other_queues_get_no_slot_that_is_reserved() -> None:
    short, long = Slots(None), Slots(None)
    where = pool(heavy := entry("long", long), entry("short", short), reserves={short: 1})
    run(where, heavy, 3)
    assert plan(where) == [(1, {"short": 1})]


def test_a_reserve_in_use_leaves_the_rest_to_all() -> None:
    short, long = Slots(None), Slots(None)
    where = pool(entry("long", long), light := entry("short", short), reserves={short: 1})
    run(where, light, 1)
    assert plan(where) == [(3, {"short": 3, "long": 3})]


def test_a_reserve_is_kept_out_of_the_managers_total_too() -> None:
    short, long = Slots(None), Slots(None)
    heavy, light = pool(entry("long", long), slots=8), pool(entry("short", short), reserves={short: 2})
    assert plan(heavy, light, jobs=Slots(5)) == [(2, {"short": 2}), (2, {"short": 2}), (1, {"long": 1})]


def test_a_model_asks_for_no_more_in_all_than_its_bound() -> None:
    short = Slots(None)
    where = pool(entry("short", short, concurrency=2), entry("long"), reserves={short: 1})
    assert plan(where) == [(1, {"short": 1}), (3, {"short": 1, "long": 3})]


def test_a_queues_bound_counts_what_was_asked_from_its_reserve() -> None:
    short = Slots(1)
    where = pool(entry("short", short), entry("long"), reserves={short: 1})
    assert plan(where) == [(1, {"short": 1}), (3, {"long": 3})]


def test_several_queues_may_reserve() -> None:
    one, two = Slots(None), Slots(None)
    where = pool(entry("a", one), entry("b", two), entry("c"), reserves={one: 1, two: 2})
    assert plan(where) == [(1, {"a": 1}), (2, {"b": 2}), (1, {"b": 1, "c": 1, "a": 1})]


class OneEach(ThreadExecutor):
    """Has one place, where one model at a time is loaded."""

    capabilities = Capabilities(isolated=True)
    loaded = ""

    def state(self, runner: Runner) -> ModelState:
        return "warm" if runner.model == self.loaded else "unloaded"


def test_a_loaded_model_comes_first_but_not_for_ever() -> None:
    executor = OneEach(1)
    executor.loaded = "warm"
    where = Pool(executor, {name: class_entry(name) for name in ("cold", "warm")})
    begin = 1_000.0
    where.in_turn(begin)
    turns = [
        [one.name for one in where.in_turn(begin + seconds)]
        for seconds in (1, 2, AFFINITY_SECONDS - 1, AFFINITY_SECONDS + 1, AFFINITY_SECONDS + 2)
    ]
    assert turns == [["warm", "cold"]] * 3 + [["cold", "warm"]] + [["warm", "cold"]]
