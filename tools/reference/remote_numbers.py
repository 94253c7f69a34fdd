"""The numbers of the HTTP adapter and of the client that no option changes."""

from __future__ import annotations

from tools.reference.defaults import Fixed, fixed_numbers

HTTP = (
    Fixed("http._look", "LONGEST_PAGE", "jobs in one page"),
    Fixed(
        "http._look", "LONGEST_WAIT", "seconds: the longest `wait` that may be asked for; the bound is what is given"
    ),
    Fixed("http._events", "LONGEST_PAGE", "events in one page"),
    Fixed("http._deliveries", "LONGEST_PAGE", "deliveries in one page"),
    Fixed("http._events", "HIGHEST_ID", "the highest id of an event that is taken as `after`"),
    Fixed("http._events", "RETRY_MS", "a stream asks its reader to wait before it comes back"),
    Fixed("http._events", "CHUNK_BYTES", "of events that are written at a time"),
    Fixed("_job_answer", "LONGEST_PAUSE", "seconds: the longest `retry_after_seconds` of a job"),
    Fixed("http._change", "RUNNING_SECONDS", "the `Retry-After` of `job-not-terminal`"),
    Fixed(
        "http._status",
        "LIVE_SECONDS",
        "`/healthz` waits for the store: a late one is no reason to start the process again",
    ),
    Fixed("http._rate_limit", "KEPT", "callers whose rate is remembered; the one that asked longest ago is forgotten"),
)
CLIENT = (
    Fixed("_http", "MAX_CONNECTIONS", "the default of `max_connections`"),
    Fixed("_http", "KEEP_ALIVE_SECONDS", "an idle connection is kept: less than uvicorn's 5 s"),
    Fixed(
        "_repeating", "FIRST_BACKOFF", "seconds: the longest wait before the first repeat; it doubles, fully jittered"
    ),
    Fixed("_repeating", "MAX_BACKOFF", "seconds: what it doubles to"),
    Fixed("_repeating", "MAX_RETRY_AFTER", "seconds: a longer `Retry-After` is cut to this"),
    Fixed("_problems", "DEFAULT_RETRY_AFTER", "seconds: `retry_after` of an error whose answer named none"),
    Fixed("_submission", "MAX_WAIT", "seconds: the longest `wait` of a submit"),
    Fixed("_submission", "DEDUP_SECONDS", "`dedup=True` looks back"),
    Fixed("_result", "POLL_SECONDS", "`result` asks the service to hold one look"),
    Fixed("_result", "LOOK_SECONDS", "one look may take beyond `timeout`, so that `timeout=0` can look at all"),
    Fixed("_result", "EARLY_SECONDS", "a look that was answered sooner was not held: the next one waits"),
    Fixed("_result", "MAX_EARLY_WAIT", "seconds: the longest such wait"),
    Fixed("_events", "SILENCE_SECONDS", "a stream that sends nothing for so long is taken for dead"),
    Fixed("_events", "RECONNECT_SECONDS", "before a stream is opened again, until it says otherwise (`retry:`)"),
    Fixed("_events", "MAX_RECONNECT_SECONDS", "the longest that it may say"),
    Fixed("_sse", "MAX_MESSAGE_BYTES", "one line, or the data of one message, of a stream"),
    Fixed("_calls", "MAX_PAGE", "jobs in one page"),
    Fixed("_webhook_calls", "LONGEST_PAGE", "deliveries in one page"),
)


def of_http() -> str:
    return fixed_numbers(HTTP, "asyncinfer.adapters")


def of_client() -> str:
    return fixed_numbers(CLIENT, "asyncinfer.client")
