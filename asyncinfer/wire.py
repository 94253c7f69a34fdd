"""The records of the HTTP contract as they are written on the wire: of the server, the client and OpenAPI alike.

Instants are RFC 3339 in UTC, durations numbers whose names end in `_seconds`. Unknown members of a request are refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from asyncinfer._job import ErrorCode, JobError, Status, shown

MAX_SECONDS = 10 * 366 * 86_400

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[A-Za-z0-9_][A-Za-z0-9_.:-]*$")]
JobId = Annotated[str, Meta(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]{1,64}$")]
Instant = Annotated[datetime, Meta(tz=True)]
Seconds = Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)]
SecondsOrZero = Annotated[float, Meta(ge=0, le=MAX_SECONDS)]
LabelName = Annotated[str, Meta(min_length=1, max_length=64)]
LabelText = Annotated[str, Meta(max_length=256)]

JobEvent = Literal["job.succeeded", "job.failed", "job.canceled", "job.started", "job.progress", "job.output"]
EndpointEvent = Literal[JobEvent, "webhook.disabled"]
WebhookProof = Literal["none", "challenge", "cloudevents"]
WebhookFormat = Literal["standard", "cloudevents-structured", "cloudevents-binary"]
Url = Annotated[str, Meta(min_length=1, max_length=2_048)]


# Requests


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows a failure, in place of the model's own policy."""

    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 1
    initial_delay_seconds: SecondsOrZero = 1.0
    max_delay_seconds: SecondsOrZero = 60.0
    multiplier: Annotated[float, Meta(ge=1, le=100)] = 2.0


class Dedup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Answer with a live or succeeded job of the same model and input, of the last `ttl_seconds`."""

    scope: Literal["input"] = "input"
    ttl_seconds: Annotated[float, Meta(ge=0.001, le=MAX_SECONDS)] = 600.0


class Webhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who must hear of the job: a URL, or a registered endpoint."""

    url: Annotated[str, Meta(min_length=1, max_length=2_048)] | None = None
    endpoint: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    events: Annotated[list[JobEvent], Meta(min_length=1, max_length=6)] | UnsetType = UNSET
    """Endings, `job.started`, `job.progress`, `job.output`; default all endings, or what the endpoint is there for."""

    def __repr__(self) -> str:
        return shown(self, "url")


class Submit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a submit. What is not given is as the model and the manager have it."""

    model: Name
    input: Raw = msgspec.field(default_factory=lambda: Raw(b"{}"))
    """An object of the model's parameters by name."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    """Lower comes first."""
    not_before: Instant | None = None
    delay_seconds: SecondsOrZero | None = None
    """From the submit on; not together with `not_before`."""
    queue_timeout_seconds: Seconds | UnsetType | None = UNSET
    time_limit_seconds: Seconds | UnsetType | None = UNSET
    deadline: Instant | None = None
    retry: Retry | None = None
    retention_result_seconds: SecondsOrZero | UnsetType = UNSET
    retention_record_seconds: SecondsOrZero | UnsetType = UNSET
    dedup: Dedup | None = None
    webhook: Webhook | None = None
    labels: dict[LabelName, LabelText] = {}
    metadata: Any = None
    """Anything; it comes back with the job."""

    def __repr__(self) -> str:
        return shown(self, "input", "metadata")


class RegisterWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Register a receiver of webhooks."""

    url: Url
    events: Annotated[list[EndpointEvent], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    """What it is told of jobs that name it, default all endings; and `webhook.disabled`, of your other endpoints."""
    description: Annotated[str, Meta(max_length=256)] = ""
    proof: WebhookProof = "none"
    """Nothing is sent until `…/verify`: it echoes a challenge, or allows this sender as CloudEvents receivers do."""
    format: WebhookFormat = "standard"
    """How events are written for it. It cannot be changed."""

    def __repr__(self) -> str:
        return shown(self, "url")


class ChangeWebhook(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Change what is given."""

    url: Url | UnsetType = UNSET
    events: Annotated[list[EndpointEvent], Meta(min_length=1, max_length=16)] | UnsetType = UNSET
    description: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET

    def __repr__(self) -> str:
        return shown(self, "url")


class Recover(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Send again what came to nothing in a time."""

    since: Instant
    until: Instant | None = None
    """Default: now."""


# Answers


class Error(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a job or one of its attempts failed."""

    code: str
    """One of ErrorCode today; a client should take others too."""
    message: str
    retryable: bool
    attempt: int
    details: dict[str, str]
    traceback: str = ""
    """Only when the server runs with `debug`."""

    def to_record(self) -> JobError:
        """Return the library's own record of it."""
        return JobError(
            code=cast("ErrorCode", self.code),
            message=self.message,
            type=self.details.get("type", ""),
            traceback=self.traceback,
            retryable=self.retryable,
            attempt=self.attempt,
            details={name: text for name, text in self.details.items() if name != "type"},
        )

    def __repr__(self) -> str:
        return shown(self, "message", "traceback", "details")


class Progress(Struct, frozen=True, kw_only=True):
    """The latest report of a running job."""

    fraction: float | None
    current: float | None
    total: float | None
    message: str


class Place(Struct, frozen=True, kw_only=True):
    """Where a waiting job stands: a snapshot."""

    name: str
    """The queue."""
    position: int | None
    """Jobs ahead; null when unknown."""
    eta_seconds: float | None
    """Until it may start, at the present rate; null when unknown."""


class Metrics(Struct, frozen=True, kw_only=True):
    """How long the job took so far."""

    queue_seconds: float | None
    """From the submit to the start of the newest attempt."""
    run_seconds: float | None
    """Of the newest attempt."""


class JobLinks(Struct, frozen=True, kw_only=True):
    """Absolute URLs."""

    self: str
    result: str
    events: str
    cancel: str
    retry: str
    deliveries: str = ""


class Attempt(Struct, frozen=True, kw_only=True):
    """One try at running the job."""

    number: int
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: Error | None


class WebhookState(Struct, frozen=True, kw_only=True):
    """How a job's webhooks do, all together."""

    status: Literal["none_yet", "pending", "delivered", "failed"]
    """`none_yet`: the job has not ended, or not in a way that somebody asked for."""
    attempts: int
    next_attempt_at: datetime | None
    last_error: str | None


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands."""

    object: Literal["job"] = "job"
    id: JobId
    model: str
    status: Status
    revision: int
    """Grows with every move and every durable event: the ETag, and the id of the event."""
    created_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    forget_at: datetime | None
    deadline: datetime | None
    cancel_requested_at: datetime | None
    output: Any
    """The result; null until the job has succeeded, and once the result's retention has passed."""
    error: Error | None
    progress: Progress | None
    queue: Place | None
    """Only while it waits."""
    attempt: int
    failures: int
    max_attempts: int
    crashes: int
    priority: int
    labels: dict[str, str]
    metadata: Any
    retry_of: str | None
    deduplicated: bool
    """This answer is a job that was there already, found by `dedup`."""
    metrics: Metrics
    webhook: WebhookState | None = None
    """How its webhooks do; null for a job that has none, in lists and in streams. It does not change the ETag."""
    retry_after_seconds: int | None
    """When to look again; null once it has ended."""
    links: JobLinks
    input: Any | UnsetType = UNSET
    """Only with `include=input`."""
    attempts: list[Attempt] | UnsetType = UNSET
    """Only with `include=attempts`."""

    def __repr__(self) -> str:
        return shown(self, "output", "metadata", "input")


class JobReference(Struct, frozen=True, kw_only=True):
    """A job in a webhook that would be too large with all of it."""

    object: Literal["job"] = "job"
    id: str
    model: str
    status: Status
    revision: int
    links: JobLinks


class JobProgress(Struct, frozen=True, kw_only=True):
    """How far a running job has come, in a webhook."""

    object: Literal["progress"] = "progress"
    id: str
    """Of the job."""
    model: str
    attempt: int
    revision: int
    """The id of the event: a smaller one is older."""
    progress: Progress
    links: JobLinks


class JobOutput(Struct, frozen=True, kw_only=True):
    """Values that a running job has emitted or yielded, in a webhook."""

    object: Literal["output"] = "output"
    id: str
    """Of the job."""
    model: str
    attempt: int
    """The values of another attempt, if there were some, are void."""
    revision: int
    """The id of the last of their events."""
    first_revision: int
    """The id of the first: the job's events `after` the one before it have them all."""
    count: int
    """How many values."""
    output: list[Any]
    """The values, in order; none where they would be too large, or have left the history of the job's events."""
    links: JobLinks

    def __repr__(self) -> str:
        return shown(self, "output")


class JobList(Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first, without outputs."""

    object: Literal["list"] = "list"
    data: list[Job]
    next_cursor: str | None
    prev_cursor: str | None


class StatusEvent(Struct, frozen=True, kw_only=True, tag="status", tag_field="kind"):
    """The job moved to `status`."""

    id: int
    attempt: int
    at: datetime
    status: Status
    error: Error | None


class ProgressEvent(Struct, frozen=True, kw_only=True, tag="progress", tag_field="kind"):
    """The latest progress; an earlier one may have been replaced unseen."""

    id: int
    attempt: int
    at: datetime
    progress: Progress


class OutputEvent(Struct, frozen=True, kw_only=True, tag="output", tag_field="kind"):
    """One value that the model emitted or yielded."""

    id: int
    attempt: int
    at: datetime
    value: Any


class ResetEvent(Struct, frozen=True, kw_only=True, tag="reset", tag_field="kind"):
    """A new attempt began: output of earlier attempts is void. Only in a stream."""

    attempt: int
    at: datetime


class GapEvent(Struct, frozen=True, kw_only=True, tag="gap", tag_field="kind"):
    """Events behind the asked-for id have left the bounded history. Only in a stream."""

    attempt: int
    at: datetime


Event = StatusEvent | ProgressEvent | OutputEvent
StreamedEvent = StatusEvent | ProgressEvent | OutputEvent | ResetEvent | GapEvent


class EventList(Struct, frozen=True, kw_only=True):
    """A page of a job's events in order of id. Pass `next_cursor` as `after` for what follows."""

    object: Literal["list"] = "list"
    data: list[Event]
    has_gap: bool
    """Output behind the asked-for id has left the bounded history."""
    has_more: bool
    next_cursor: str


class Model(Struct, frozen=True, kw_only=True):
    """A model that can be submitted."""

    object: Literal["model"] = "model"
    name: str
    queue: str
    executor: str
    input_schema: Any
    """JSON Schema of `input`."""
    output_schema: Any
    """JSON Schema of `output`."""
    max_attempts: int
    time_limit_seconds: float | None
    queue_timeout_seconds: float | None
    max_input_bytes: int
    """Of the input as it is stored; bytes count as themselves, not as base64."""
    max_output_bytes: int
    state: Literal["unloaded", "loading", "warm", "draining", "failed"] | None
    """How far it is loaded in the process that answers; null where its code runs elsewhere."""


class ModelList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]


class Queue(Struct, frozen=True, kw_only=True):
    """A queue as its caller sees it: the counts are of the caller's own jobs."""

    object: Literal["queue"] = "queue"
    name: str
    depth: int
    """Jobs that wait."""
    running: int
    oldest_age_seconds: float | None
    """Since the submit of the oldest job that waits."""
    capacity: int
    """Jobs of all callers that may wait at once."""
    accepting: bool
    """A submit would find room now."""
    paused: bool
    """Nothing of it is started."""


class Purged(Struct, frozen=True, kw_only=True):
    """Which waiting jobs were canceled."""

    object: Literal["list"] = "list"
    data: list[str]


class WebhookEndpoint(Struct, frozen=True, kw_only=True):
    """A registered receiver of webhooks."""

    object: Literal["webhook"] = "webhook"
    id: str
    url: str
    events: list[str]
    description: str
    enabled: bool
    disabled_because: str
    """Why it is disabled, where the sender did it."""
    verified: bool
    failing_since: datetime | None
    """Every attempt since then has failed; after 120 hours it is disabled."""
    secret_hint: str
    """The last characters of its secret."""
    created_at: datetime
    proof: WebhookProof = "none"
    """How it was to prove itself when it was registered."""
    format: WebhookFormat = "standard"
    """How events are written for it."""
    secret: str | UnsetType = UNSET
    """Only in the answer to its registration and to `rotate-secret`."""

    def __repr__(self) -> str:
        return shown(self, "url", "secret")


class WebhookEndpointList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[WebhookEndpoint]


class DeliveryAttempt(Struct, frozen=True, kw_only=True):
    """One line of a delivery's log."""

    at: datetime
    kind: str
    """delivered, dns, blocked, connect, tls, timeout, status or redirect."""
    status: int | None
    latency_seconds: float
    detail: str


class Delivery(Struct, frozen=True, kw_only=True):
    """One event on its way to one receiver."""

    object: Literal["delivery"] = "delivery"
    id: str
    """The `webhook-id` of every attempt."""
    job_id: str
    event: str
    endpoint: str | None
    url_host: str
    """Where it goes: the scheme and host alone, the rest of a URL may be a secret."""
    status: Literal["pending", "delivered", "exhausted", "disabled"]
    attempts: int
    """All that were made, those before it was sent again too."""
    created_at: datetime
    next_attempt_at: datetime | None
    last: DeliveryAttempt | None
    log: list[DeliveryAttempt] | UnsetType = UNSET
    """Of one delivery alone: its attempts, oldest first, the newest 100."""


class DeliveryList(Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Delivery]
    next_cursor: str | None


class Recovered(Struct, frozen=True, kw_only=True):
    """How many deliveries are sent again."""

    deliveries: int


class Health(Struct, frozen=True, kw_only=True):
    """Whether the service is live (`/healthz`) or ready (`/readyz`), and why not."""

    status: Literal["ok", "unavailable"]
    reasons: list[str]


class Service(Struct, frozen=True, kw_only=True):
    """What this is, and where to go on."""

    object: Literal["service"] = "service"
    name: Literal["asyncinfer"] = "asyncinfer"
    version: str
    links: dict[str, str]


class FieldError(Struct, frozen=True, kw_only=True):
    """One member of a request that is wrong."""

    pointer: str
    """JSON Pointer (RFC 6901) into the body, or the name of a header or query parameter."""
    detail: str


ProblemSlug = Literal[
    "malformed-request",
    "unauthorized",
    "forbidden",
    "not-found",
    "job-not-found",
    "model-not-found",
    "method-not-allowed",
    "not-acceptable",
    "request-timeout",
    "job-not-terminal",
    "job-expired",
    "payload-too-large",
    "unsupported-media-type",
    "validation",
    "idempotency-key-reused",
    "webhook-url-rejected",
    "webhook-not-proven",
    "too-many-webhooks",
    "no-result",
    "quota-exceeded",
    "rate-limited",
    "headers-too-large",
    "internal-error",
    "queue-full",
    "storage-full",
    "draining",
    "store-unavailable",
    "webhook-not-signed",
]
PROBLEM_PREFIX = "urn:asyncinfer:problem:"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`application/problem+json` (RFC 9457): why a request was not done."""

    type: str
    """`urn:asyncinfer:problem:` and a ProblemSlug."""
    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] = []
    job_id: str | None = None
    """The job that it is about."""
    code: str | None = None
    """With `no-result`: why the job failed."""
    limit: str | None = None
    """Which limit was reached."""
    max_bytes: int | None = None
    retry_after_seconds: int | None = None

    @property
    def slug(self) -> str:
        return self.type.removeprefix(PROBLEM_PREFIX)
