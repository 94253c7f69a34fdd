"""How a job's webhooks do, all together: one member of the job."""

from __future__ import annotations

from asyncinfer import Job, wire
from asyncinfer.adapters._job_answer import instant
from asyncinfer.adapters.http._call import Call


async def webhooks_of(call: Call, job: Job) -> wire.WebhookState | None:
    """Return how a job's webhooks do; None for a job that has none."""
    if not job.has_subscriptions or call.service.webhooks is None:
        return None
    found = await call.service.webhooks.manager.outbox.of_job(job.job_key)
    if not found:
        return wire.WebhookState(status="none_yet", attempts=0, next_attempt_at=None, last_error=None)
    due = [one.due_at for one in found if one.status == "pending"]
    failures = [one.last for one in found if one.last is not None and one.last.kind != "delivered"]
    is_delivered = all(one.status == "delivered" for one in found)
    return wire.WebhookState(
        status="pending" if due else "delivered" if is_delivered else "failed",
        attempts=sum(one.attempts for one in found),
        next_attempt_at=instant(min(due, default=None)),
        last_error=failures[-1].kind if failures and not is_delivered else None,
    )
