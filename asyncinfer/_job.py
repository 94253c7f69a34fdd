"""The records of a job's life: frozen, and passed between the core and every store.

Instants are integer milliseconds since 1970 UTC and end in `_at` (`not_before`, `deadline`, `*_until` excepted);
durations in these records are integer milliseconds too. The public options take seconds and `datetime`.
"""

from __future__ import annotations

import secrets
import time
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

Status = Literal["queued", "running", "succeeded", "failed", "canceled"]
ErrorCode = Literal[
    "invalid_input",
    "model_error",
    "time_limit",
    "queue_timeout",
    "deadline",
    "out_of_memory",
    "worker_lost",
    "device_lost",
    "crash_budget",
    "result_too_large",
    "result_unserializable",
    "undecodable",
    "store_error",
]

MAX_MESSAGE = 2 * 1024
MAX_TRACEBACK = 8 * 1024

MSGPACK = "application/msgpack"
JSON = "application/json"


class JobKey(NamedTuple):
    """What names a job: an id alone is never enough, so that one owner cannot reach another's."""

    owner: str
    id: str


class JobError(Struct, frozen=True, omit_defaults=True):
    """Why a job failed. `details` never holds the input; `traceback` is for operators."""

    code: ErrorCode
    """What kind of failure, for programs."""
    message: str
    """What happened, for people."""
    type: str = ""
    """The class of the exception, if there was one."""
    traceback: str = ""
    """The model's own frames, at most 8,192 characters."""
    retryable: bool = False
    """Another attempt may do better."""
    attempt: int = 0
    """The attempt that it ended; 0 where none had begun."""
    details: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    """More about it, by name."""

    def __repr__(self) -> str:
        return shown(self, "message", "traceback", "details")


def storable(text: str, longest: int) -> str:
    """Cut the text, and write a lone surrogate as an escape: no store could encode it."""
    return text[:longest].encode(errors="backslashreplace").decode()


def bounded(error: JobError) -> JobError:
    """Return an error of an executor's making with texts that any store takes; of the traceback the end is kept."""
    return replace(
        error,
        message=storable(error.message, MAX_MESSAGE),
        type=storable(error.type, 256),
        traceback=storable(error.traceback[-MAX_TRACEBACK:], MAX_TRACEBACK),
    )


class Progress(Struct, frozen=True, omit_defaults=True):
    """The latest report of a running job: a fraction of 1, or current of total, and a line of text."""

    fraction: float | None = None
    """0 to 1."""
    message: str = ""
    """A line of text."""
    current: float | None = None
    """How many are done."""
    total: float | None = None
    """Of how many."""


LIVE_EVENTS = ("job.started", "job.progress", "job.output")
"""What happens before a job ends: told while it runs, once, and never stored for later."""


class Subscription(Struct, frozen=True, omit_defaults=True):
    """Who must hear of a job: a URL whose scheme names the sender, or a registered endpoint's id."""

    target: str
    """A URL, or the id of a registered endpoint."""
    events: tuple[str, ...] = ("job.succeeded", "job.failed", "job.canceled")
    """Of what: the endings; `job.started`, `job.progress` and `job.output` too where they are named."""
    secret: str = ""
    """What the sender signs with, `whsec_…`, in place of its own; a registered endpoint has its own in any case."""

    def __repr__(self) -> str:
        return shown(self, "target", "secret")

    @property
    def is_live(self) -> bool:
        """It names something that happens before the ending."""
        return any(event in LIVE_EVENTS for event in self.events)


class Backoff(Struct, frozen=True, omit_defaults=True):
    """How long the next attempt waits, in milliseconds; kept with the job so that any worker can apply it."""

    initial_delay: int = 1_000
    max_delay: int = 60_000
    multiplier: float = 2.0
    jitter: float = 0.2


class NewJob(Struct, frozen=True, kw_only=True, gc=False):
    """A job as it is handed to `JobStore.insert`: bound, checked and encoded; the store adds only its instants."""

    owner: str
    id: str
    model: str
    queue: str
    input: bytes
    """The input itself, or empty when `input_ref` says where it lies."""
    input_ref: str | None = None
    content_type: str = MSGPACK
    fingerprint: bytes = b""
    """Hash of the canonical submission; compared when the same key or id comes again."""
    priority: int = 5
    not_before: int | None = None
    deadline: int | None = None
    """Instant after which the result is useless: a queued job fails, a running one is ended."""
    expire_at: int | None = None
    """Instant at which a still queued job fails with `expire_code`."""
    expire_code: Literal["queue_timeout", "deadline"] = "queue_timeout"
    time_limit: int | None = None
    key: str | None = None
    key_until: int | None = None
    """The idempotency key holds at least until then, and as long as the job's record and tombstone."""
    dedup: bytes | None = None
    dedup_until: int | None = None
    """Until its own, a live or succeeded job of the same owner and model with the same `dedup` answers for this one."""
    batch_key: str = ""
    cost: int = 1
    max_attempts: int = 1
    crash_budget: int = 3
    backoff: Backoff | None = None
    retention_result: int = 86_400_000
    retention_record: int = 604_800_000
    subscriptions: tuple[Subscription, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    metadata: bytes = b""
    """Opaque, encoded by the core (msgpack); at most `Limits.metadata_bytes`."""
    retry_of: str | None = None
    traceparent: str | None = None
    limit_key: str | None = None
    group_id: str | None = None
    parent_id: str | None = None

    def __repr__(self) -> str:
        return shown(self, "input", "key", "metadata")

    @property
    def job_key(self) -> JobKey:
        return JobKey(self.owner, self.id)


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands. `revision` grows with every move and every durable event: it is the ETag and the event id."""

    owner: str
    id: str
    """`job_` and 26 characters that sort by time, or the one that the submitter chose."""
    model: str
    """The name of its model."""
    queue: str
    status: Status
    revision: int
    """Grows by one with every move and every durable event."""
    created_at: int
    """When it was accepted."""
    attempt: int = 0
    """Attempts begun so far; the newest one's number is the fence."""
    failures: int = 0
    """Attempts that failed by themselves: counted against `max_attempts`."""
    crashes: int = 0
    """Attempts lost with their worker: counted against `crash_budget`."""
    max_attempts: int = 1
    crash_budget: int = 3
    priority: int = 5
    """0 (first) to 9."""
    content_type: str = MSGPACK
    """How its input is encoded."""
    has_result: bool = False
    """A result is kept, though it may not be read here (`find` reads none)."""
    result: bytes | None = None
    """The encoded result: None while pending, when it failed, or once `retention_result` has passed."""
    error: JobError | None = None
    """Why it failed; why an earlier attempt did is told by that attempt."""
    progress: Progress | None = None
    """The latest report of its model."""
    not_before: int | None = None
    """Of its latest wait in the queue: what the submit or retry asked for; None when given back or rescued."""
    deadline: int | None = None
    """Instant after which its result is useless."""
    expire_at: int | None = None
    """Instant at which it fails if it still waits."""
    time_limit: int | None = None
    """Milliseconds that one attempt may take."""
    started_at: int | None = None
    """When the newest attempt began."""
    finished_at: int | None = None
    """When it ended."""
    forget_at: int | None = None
    """When its record is pruned; set by the ending."""
    cancel_requested_at: int | None = None
    """When its owner first wished it canceled while it ran."""
    worker: str | None = None
    """Who runs it, or ran it last."""
    renewals: int = 0
    """Heartbeats of the newest attempt."""
    tag: float = 0.0
    """Its place in the fair order of its model; smaller is earlier."""
    is_solo: bool = False
    """Its last chance: it is claimed with nothing beside it."""
    fingerprint: bytes = b""
    """Hash of its input, kept where a key, an id or dedup needs it."""
    key: str | None = None
    """Its idempotency key."""
    labels: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    metadata: bytes = b""
    """What the submitter handed over, encoded."""
    retry_of: str | None = None
    """The ended job that this one runs again."""
    traceparent: str | None = None
    """The W3C trace context that it belongs to."""
    limit_key: str | None = None
    """Reserved: nothing sets it yet."""
    group_id: str | None = None
    """Reserved: nothing sets it yet."""
    parent_id: str | None = None
    """Reserved: nothing sets it yet."""
    has_subscriptions: bool = False
    """Somebody must hear of its ending."""

    def __repr__(self) -> str:
        return shown(self, "result", "key", "metadata")

    @property
    def job_key(self) -> JobKey:
        return JobKey(self.owner, self.id)

    @property
    def is_terminal(self) -> bool:
        return self.status != "queued" and self.status != "running"


class Attempt(Struct, frozen=True, kw_only=True):
    """One try at running a job. `outcome` is None while it runs."""

    number: int
    """Counted from 1 over the job's whole life."""
    worker: str
    """Who ran it."""
    started_at: int
    ended_at: int | None = None
    outcome: str | None = None
    """succeeded, failed, canceled, retried, given_back, rescued, or time_limit."""
    error: JobError | None = None


def shown(record: Struct, *hidden: str) -> str:
    """Return the repr of a record without what a user has put into it: reprs end in logs."""
    fields: list[str] = []
    for name in record.__struct_fields__:
        value = getattr(record, name)
        fields.append(f"{name}=<{type(value).__name__}>" if name in hidden and value else f"{name}={value!r}")
    return f"{type(record).__name__}({', '.join(fields)})"


_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: sorts as the numbers do, and has no letters to mistake for digits."""
_LETTER_OF_BYTE = bytes(ord(_ALPHABET[byte % 32]) for byte in range(256))
_RANDOM_LETTERS = 16
_POOL_LETTERS = 1024 * _RANDOM_LETTERS


class JobIds:
    """Make ids: `job_` + 48 bits of milliseconds + 80 random bits, sortable and unguessable.

    Random letters are drawn for 1,024 ids at a time, each from five bits of a byte: 0.3 us an id, a system call each
    6.2, and each call lets the interpreter lock go, which beside a busy thread costs far more.
    """

    def __init__(self) -> None:
        self._pool = ""
        self._used = 0
        self._stamp = ""
        self._stamp_ms = -1

    def __call__(self, now: int | None = None) -> str:
        now = time.time_ns() // 1_000_000 if now is None else now
        if now != self._stamp_ms:
            self._stamp, self._stamp_ms = "job_" + _base32(now, 10), now
        begin = self._used
        if begin == len(self._pool):
            self._pool = secrets.token_bytes(_POOL_LETTERS).translate(_LETTER_OF_BYTE).decode("ascii")
            begin = 0
        self._used = end = begin + _RANDOM_LETTERS
        return self._stamp + self._pool[begin:end]


def _base32(number: int, digits: int) -> str:
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(digits)))
