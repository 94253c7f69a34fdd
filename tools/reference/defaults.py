"""Every default and fixed number of the library, read from the code that uses it."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points

from msgspec import Struct

from asyncinfer import (
    Batch,
    JobManager,
    Limits,
    MemoryBudget,
    ModelOptions,
    QueueLimits,
    Resources,
    Retention,
    RetryPolicy,
    SubmitOptions,
    model,
)
from asyncinfer.abc import NewJob
from asyncinfer_sqlite import SQLiteStore
from tools.reference.markdown import code, table
from tools.reference.source import attributes

KIB, MIB, GIB = 1024, 1024**2, 1024**3

MANAGER_OPTIONS = {
    "models": "What this process runs; with `run_jobs=False` what it can submit typed.",
    "executors": "Executors of your own, by name; the others are made from their entry points.",
    "limits": "How much is accepted: the table of `Limits` below.",
    "lease": "Seconds that an attempt is leased for, 0.005 to 86,400; never a bound on run time.",
    "retention": "How long ended jobs are kept: the table of `Retention` below.",
    "concurrency": "Jobs at once: an int for all together (a batch counts once), or slots by executor.",
    "run_jobs": "False: submit only.",
    "cancel_grace": "Seconds that a canceled job may take to stop by itself, 0 to 86,400.",
    "drain_grace": "Seconds that running jobs may take when the manager closes, 0 to 86,400.",
    "memory": "What the loaded models may take together: the table of `MemoryBudget` below; none: no bound.",
    "telemetry": "Who watches: one Telemetry or several, such as PrometheusTelemetry or Tracing.",
}
SQLITE_OPTIONS = {
    "clock": "Wall time, monotonic time and timers; tests lend a FakeClock.",
    "min_free_bytes": "Below so much free disk new jobs are refused, so that running ones can still finish.",
    "synchronous": "SQLite's own; anything below FULL may lose acknowledged jobs in a power cut.",
    "call_timeout": "Seconds that a call may take.",
    "insert_timeout": "Seconds that an insert may take.",
}


@model
async def bare() -> None:
    """A model, and a submit of it, that are told nothing."""


_factory = importlib.import_module("asyncinfer._submission").JobFactory(Limits(), Retention())
NEW_JOB: NewJob = _factory.new_job(bare.bind(), owner="", now=0)
WHEN_NOT_GIVEN = {
    "priority": f"{NEW_JOB.priority}",
    "not_before": "at once",
    "delay": "none",
    "deadline": "none",
    "queue_timeout": "the model's",
    "time_limit": "the model's",
    "idempotency_key": "none",
    "dedup": "off",
    "webhook": "nobody",
    "labels": "none",
    "metadata": "none",
    "retry": "the model's",
    "retention": "the manager's",
    "job_id": "a random one",
    "traceparent": "none",
    "wait_for_room": "`False`",
}


class Fixed(Struct, frozen=True):
    """A number that no option changes."""

    module: str
    name: str
    meaning: str


FIXED = (
    Fixed("_services.heartbeat", "BEATS_PER_LEASE", "heartbeats in one lease: every 15 s at the default lease"),
    Fixed("_services.heartbeat", "EARLY_BEAT_SECONDS", "a hint of a change elsewhere beats early, at most this often"),
    Fixed("_services.rescuer", "TICK_SECONDS", "the rescuer looks at every running lease (more often at short leases)"),
    Fixed("_services.rescuer", "LIMIT_GRACE_MS", "after a time limit the rescuer ends what its worker did not"),
    Fixed("_services.rescuer", "PAGE", "leases that the rescuer reads at a time"),
    Fixed("_services.pruner", "TICK_SECONDS", "the pruner rests when nothing is due"),
    Fixed("_services.pruner", "ROWS", "rows that one prune forgets"),
    Fixed("_services.pruner", "PAUSE_SECONDS", "the pruner rests between two full batches"),
    Fixed("_services.worker", "IDLE_POLL_SECONDS", "an idle worker looks for work that no hint told of"),
    Fixed("_services.worker", "RETRY_SECONDS", "before a claim that failed is tried again"),
    Fixed("_services.worker", "ABANDON_SECONDS", "a closing manager waits for coroutines that ignore a cancellation"),
    Fixed(
        "_services.pool",
        "AFFINITY_SECONDS",
        "loaded models go before those that would have to be loaded in their place",
    ),
    Fixed("_services.setbacks", "FIRST_PAUSE_SECONDS", "the jobs of a model wait after its setup failed; it doubles"),
    Fixed("_services.setbacks", "LONGEST_PAUSE_SECONDS", "the longest such pause"),
    Fixed("_services.setbacks", "PERSISTENT_COUNT", "failed setups of a model, from which on the manager is not ready"),
    Fixed("_services.setbacks", "PERSISTENT_SECONDS", "if they came within so long"),
    Fixed("_services.releases", "RELEASE_SECONDS", "a closing manager waits for the teardowns of its models"),
    Fixed("_services.waiters", "POLL_SECONDS", "whoever waits looks again: what a lost hint costs at most"),
    Fixed("_services.waiters", "LOOK_UP", "awaited jobs that are looked up at a time"),
    Fixed("_services.waiters", "REST", "a pause after a look at all of them, by what the look took"),
    Fixed(
        "_services.waiters",
        "SUBMITTED_KEPT",
        "newest submitted jobs whose handles are told of an ending without a look",
    ),
    Fixed("_services.waiters", "KEPT_RESULT_BYTES", "results that live handles keep in memory"),
    Fixed("_services.waiters", "SMALL_RESULT_BYTES", "results up to this size are not counted there"),
    Fixed("_services.journal", "FLUSH_SECONDS", "reports of a model are gathered before they are stored"),
    Fixed("_services.journal", "UNSENT_VALUES", "emitted values that may wait before `emit` holds up its thread"),
    Fixed("_services.journal", "RETRY_SECONDS", "before reports that could not be stored are tried again"),
    Fixed("_services.finisher", "RETRY_SECONDS", "pauses between tries of a finish, the last one again and again"),
    Fixed(
        "_services.finisher",
        "HELD_RESULT_BYTES",
        "results that wait to be written, above which nothing more is claimed",
    ),
    Fixed("_services.finisher", "BATCH", "endings that are written at a time"),
    Fixed("_services.finisher", "BATCH_BYTES", "bytes of results that are written at a time"),
    Fixed("_services.supervisor", "RESTART_SECONDS", "before a service that failed is started again"),
    Fixed("_services.drain_rate", "WINDOW_SECONDS", "`retry_after` is reckoned from one to two windows of this length"),
    Fixed("_services.drain_rate", "SHORTEST_SECONDS", "the shortest `retry_after`"),
    Fixed("_services.drain_rate", "LONGEST_SECONDS", "the longest `retry_after`"),
    Fixed("_services.drain_rate", "JITTER", "the random part of `retry_after`, in both directions"),
    Fixed("_engine", "ROOM_POLL_SECONDS", "a submit that waits for room looks again"),
    Fixed("_engine", "INSERT_TRIES", "tries of an insert whose outcome is unknown"),
    Fixed("_engine", "INSERT_AGAIN_SECONDS", "only an insert that is no older is tried again"),
    Fixed("_engine", "REGISTRY_SECONDS", "a submit-only manager reads the published models again"),
    Fixed("_engine", "CLOSE_SECONDS", "beyond the grace, for a closing manager's last writes"),
    Fixed("_manager", "CLOSE_SECONDS", "beyond `drain_grace`, until `__aexit__` gives up on its parts"),
    Fixed("_handle", "PAGE", "events that a stream reads at a time, at most"),
    Fixed("_handle", "FIRST_PAGE", "events that it reads first"),
    Fixed("_handle", "PAGE_BYTES", "then it reads as many as had this size so far"),
    Fixed("_scoped", "INSERT_CHUNK", "jobs of `submit_many` in one insert"),
    Fixed("_scoped", "FIND_PAGE", "jobs that `find_all` and `retry_all` read at a time"),
    Fixed("_submission", "IDEMPOTENCY_SECONDS", "an idempotency key holds at least so long, and as long as its job"),
    Fixed("_options", "DEDUP_SECONDS", "`dedup=True` looks back"),
    Fixed("_options", "MAX_SECONDS", "the longest duration that is taken: ten years"),
    Fixed("_options", "MAX_LABELS", "what `Limits.labels` may be raised to"),
    Fixed("_options", "MAX_WEBHOOKS", "subscriptions of one submit"),
    Fixed("_codec", "MAX_DEPTH", "levels of JSON from outside"),
    Fixed("lifecycle", "HELD_BATCHES", "batches of a model that wait to be filled and that a claim looks past"),
    Fixed("_job", "MAX_MESSAGE", "characters of a stored error message"),
    Fixed("_job", "MAX_TRACEBACK", "characters of a stored traceback"),
    Fixed("_weight", "HEAVY_BYTES", "from here on values are encoded and checked in a thread"),
)


def manager_defaults() -> str:
    """Return the options of JobManager."""
    shown = {"concurrency": _slots(), "limits": "`Limits()`", "retention": "`Retention()`"}
    return _of_constructor(JobManager, MANAGER_OPTIONS, shown, skip="store")


def sqlite_defaults() -> str:
    """Return the options of SQLiteStore, for whoever makes the store object himself."""
    return _of_constructor(SQLiteStore, SQLITE_OPTIONS, {"clock": "the host's"}, skip="path")


def limits_defaults() -> str:
    return _of_struct(Limits)


def queue_limits_defaults() -> str:
    return _of_struct(QueueLimits)


def resources_defaults() -> str:
    return _of_struct(Resources)


def memory_budget_defaults() -> str:
    return _of_struct(MemoryBudget)


def retention_defaults() -> str:
    return _of_struct(Retention)


def retry_defaults() -> str:
    return _of_struct(RetryPolicy)


def batch_defaults() -> str:
    return _of_struct(Batch)


def model_defaults() -> str:
    """Return the options of model(), with what a model has that is given none of them."""
    shown = {"name": "the function's or class's own", "executor": "`loop` for async code, else `thread`"}
    shown |= {"retry": "`RetryPolicy()`: one attempt"}
    return table(
        ["option", "default", "meaning"],
        [
            [code(one.name), shown.get(one.name) or _shown(getattr(bare, one.name), one.name), one.doc]
            for one in attributes(ModelOptions)
        ],
    )


def submit_defaults() -> str:
    """Return the options of one submit."""
    return table(
        ["option", "when not given", "meaning"],
        [[code(one.name), WHEN_NOT_GIVEN[one.name], one.doc] for one in attributes(SubmitOptions)],
    )


def fixed_numbers(several: Sequence[Fixed] = FIXED, package: str = "asyncinfer") -> str:
    """Return what no option changes, by the file of the package that holds it."""
    return table(
        ["number", "value", "meaning"],
        [
            [
                code(f"{fixed.module.removeprefix('_services.')}.{fixed.name}"),
                _shown(getattr(importlib.import_module(f"{package}.{fixed.module}"), fixed.name), fixed.name),
                fixed.meaning,
            ]
            for fixed in several
        ],
    )


def _of_struct(kind: type[Struct]) -> str:
    bare = kind()
    return table(
        ["field", "default", "meaning"],
        [[code(one.name), _shown(getattr(bare, one.name), one.name), one.doc] for one in attributes(kind)],
    )


def _of_constructor(
    kind: Callable[..., object], meanings: Mapping[str, str], shown: Mapping[str, str], *, skip: str
) -> str:
    parameters = inspect.signature(kind).parameters.values()
    return table(
        ["option", "default", "meaning"],
        [
            [code(one.name), shown.get(one.name) or _shown(one.default, one.name), meanings[one.name]]
            for one in parameters
            if one.name != skip
        ],
    )


def _slots() -> str:
    slots: Mapping[str, int] = importlib.import_module("asyncinfer._manager").DEFAULT_SLOTS
    installed = entry_points(group="asyncinfer.executors").names
    return ", ".join(f"{name} {count}" for name, count in slots.items() if name in installed)


def _shown(value: object, name: str) -> str:
    """Return a value as a reader wants it, by the unit that its name or place tells."""
    match value:
        case None:
            return "none"
        case bool() | str():
            return code(repr(value))
        case int() | float() if "BYTES" in name.upper():
            return _bytes(int(value))
        case int() if name.endswith("_MS"):
            return _seconds(value / 1000)
        case int() | float() if name.endswith("_SECONDS") or name in _SECONDS:
            return _seconds(value)
        case tuple() if name.endswith("_SECONDS"):
            return ", ".join(f"{one:g}" for one in value) + " s"  # pyright: ignore[reportUnknownVariableType]
        case int() | float():
            return f"{value:,}"
        case _ if not value:
            return "none"
        case _:
            return code(repr(value).replace("<class '", "").replace("'>", ""))


_SECONDS = {
    "lease", "cancel_grace", "drain_grace", "result", "record", "tombstone", "initial_delay", "max_delay",
    "call_timeout", "insert_timeout",
}  # fmt: skip


def _seconds(value: float) -> str:
    if value >= 86_400 and value % 86_400 == 0:
        return f"{value / 86_400:,.0f} d"
    return f"{value:g} s"


def _bytes(value: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if value >= unit and value % unit == 0:
            return f"{value // unit} {name}"
    return f"{value} bytes"
