"""The tree of errors as the classes make it, and what a caller can do about each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import get_args

from asyncinfer import errors
from asyncinfer.abc import ErrorCode
from tools.reference.markdown import code, first_sentence, table

WHAT_TO_DO = {
    "AsyncinferError": "Catch it to catch everything below.",
    "InvalidInput": "Mend the input that the message names; repeating it is of no use.",
    "InvalidOption": "Mend the argument that the message names.",
    "InvalidModel": "Write the function or class as the message says.",
    "UnknownModel": "Register it: `JobManager(models=[…])`; by name, start a worker that has it.",
    "UnknownJob": "Check the id and the owner.",
    "JobExpired": "Submit again with a new key or id, or keep jobs longer: `Retention`.",
    "IdempotencyConflict": "Use another key; `job_id` is the job that has this one.",
    "Refused": "Try again in `retry_after` seconds, or submit elsewhere.",
    "QueueFull": "As above, or submit with `wait_for_room=True`.",
    "QuotaExceeded": "As above; other owners are not concerned.",
    "StorageFull": "Free some disk space.",
    "Draining": "Submit to another process, or when this one is back.",
    "TooLarge": "Send less (a reference in place of the bytes), or raise the limit that the message names.",
    "JobFailed": "Look at `code` and `error`; `manager.retry(job_id)` runs it again as a new job.",
    "JobCanceled": "Somebody wanted that; `manager.retry(job_id)` runs it again as a new job.",
    "StreamReset": "Drop what was streamed and stream again.",
    "StoreError": "Catch it to catch every trouble with the store.",
    "StoreUnavailable": "Nothing happened: try again later.",
    "OutcomeUnknown": "Repeat it: with an idempotency key or job id a submit cannot double.",
    "SchemaTooNew": "Upgrade asyncinfer in this process.",
    "StoreUnusable": "Choose another path, as the message says.",
    "Undecodable": "The row is damaged: its job fails as `undecodable`, nothing else is touched.",
    "MissingExtra": "Type the line in the message.",
    "UnknownPlugin": "Install what provides that scheme or executor, or mend the name.",
    "LeaseLost": "Stop: whatever this attempt still writes is refused.",
    "SetupFailed": "Look at the chained cause: the model's own `setup` raised it.",
}
CODES = {
    "invalid_input": "A worker could not read the input as its model's (submitted by name, or another version).",
    "model_error": "The model raised; `type`, `message` and `traceback` say what.",
    "time_limit": "An attempt took longer than its `time_limit`.",
    "queue_timeout": "It waited longer than its `queue_timeout` for its first start.",
    "deadline": "Its `deadline` passed, while it waited or while it ran.",
    "out_of_memory": "The model raised MemoryError; of a repeated attempt also: its process was killed for memory.",
    "worker_lost": "Why an attempt was repeated: its worker died or stalled. Never the end of a job.",
    "device_lost": "Reserved for device executors, a later version.",
    "crash_budget": "Its attempts have killed their worker, or died with it, `crash_budget` times. The message ends in "
    "how the last one died, where that is known; `details.cause` is its code, `traceback` the end of its stderr.",
    "result_too_large": "The result exceeds `Limits.result_bytes`.",
    "result_unserializable": "The result cannot be encoded, or is not what the annotation says.",
    "undecodable": "Its stored row or input cannot be read back.",
    "store_error": "Reserved for stores that lose a result they had accepted.",
}


def tree() -> str:
    """Return the classes as a tree, each with what its docstring says first."""
    return "\n".join(["```text", "AsyncinferError", *_branches(errors.AsyncinferError, ""), "```"])


def advice() -> str:
    """Return what each error means and what to do."""
    return table(
        ["error", "when", "what to do"],
        [
            [code(kind.__name__), first_sentence(inspect.getdoc(kind) or ""), WHAT_TO_DO[kind.__name__]]
            for kind in [errors.AsyncinferError, *_below(errors.AsyncinferError)]
        ],
    )


def codes() -> str:
    """Return why a job can have failed."""
    return table(["code", "why the job failed"], [[code(one), CODES[one]] for one in get_args(ErrorCode)])


def _branches(kind: type, indent: str) -> Iterator[str]:
    children: list[type] = _children(kind)
    for child in children:
        is_last = child is children[-1]
        yield f"{indent}{'└── ' if is_last else '├── '}{child.__name__}"
        yield from _branches(child, indent + ("    " if is_last else "│   "))


def _below(kind: type) -> Iterator[type]:
    for child in _children(kind):
        yield child
        yield from _below(child)


def _children(kind: type) -> list[type]:
    below: list[type] = kind.__subclasses__()
    return [child for child in below if child.__module__ == errors.__name__]
