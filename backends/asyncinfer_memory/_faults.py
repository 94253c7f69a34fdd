"""What no store could keep of a submission: said for one item alone, before it touches any table."""

from __future__ import annotations

from asyncinfer.abc import NewJob

_TOO_LARGE = 2**63
_NO_TEXTS = (None,) * 6
_NO_INSTANTS = (None,) * 6
_TEXTS = (
    "owner",
    "id",
    "model",
    "queue",
    "input_ref",
    "content_type",
    "key",
    "batch_key",
    "retry_of",
    "traceparent",
    "limit_key",
    "group_id",
    "parent_id",
)
_INTEGERS = (
    "not_before",
    "deadline",
    "expire_at",
    "time_limit",
    "key_until",
    "dedup_until",
    "cost",
    "max_attempts",
    "crash_budget",
    "retention_result",
    "retention_record",
)


def fault_of(new: NewJob) -> str:
    """Say what is wrong: text that is not Unicode, a number beyond 64 bits or out of range. Empty when all is well."""
    if not 0 <= new.priority <= 9:
        return f"priority: expected 0 to 9, got {new.priority}"
    if not new.id:
        return "id: expected a text that is not empty"
    return "" if _is_plain(new) else _text_fault_of(new) or _integer_fault_of(new)


def _is_plain(new: NewJob) -> bool:
    """Tell at a glance that nothing can be wrong, as for nearly every job: 0.3 us, where the whole look takes 5."""
    return (
        new.id.isascii()
        and new.owner.isascii()
        and new.model.isascii()
        and new.queue.isascii()
        and new.content_type.isascii()
        and not new.labels
        and not new.subscriptions
        and not new.batch_key
        and (new.key, new.input_ref, new.retry_of, new.limit_key, new.group_id, new.parent_id) == _NO_TEXTS
        and (new.traceparent is None or new.traceparent.isascii())
        and (new.not_before, new.deadline, new.expire_at, new.time_limit, new.key_until, new.dedup_until)
        == _NO_INSTANTS
        # Any too large or negative one shows in the bits of all.
        and 0
        <= (new.cost | new.max_attempts | new.crash_budget | new.retention_result | new.retention_record)
        < _TOO_LARGE
    )


def _text_fault_of(new: NewJob) -> str:
    texts: list[tuple[str, str | None]] = [(name, getattr(new, name)) for name in _TEXTS]
    texts += [("labels", text) for label, value in new.labels.items() for text in (label, value)]
    texts += [
        ("subscriptions", text)
        for subscription in new.subscriptions
        for text in (subscription.target, subscription.secret, *subscription.events)
    ]
    for name, text in texts:
        if text is not None and not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            return f"{name}: holds a lone surrogate, which is no Unicode text"
    return ""


def _integer_fault_of(new: NewJob) -> str:
    for name in _INTEGERS:
        number: int | None = getattr(new, name)
        if number is not None and not -_TOO_LARGE <= number < _TOO_LARGE:
            return f"{name}: expected an integer of at most 64 bits, got {number}"
    return ""
