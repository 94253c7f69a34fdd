"""What can be submitted, and where it waits: models and queues."""

from __future__ import annotations

from msgspec import Raw

from asyncinfer import PublishedModel, wire
from asyncinfer.abc import Limits
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._problems import problem


async def models(call: Call) -> Answer:
    """Answer with every model."""
    call.query()
    await call.may("models")
    limits = call.owned.limits
    return answer(wire.ModelList(data=[_model(one, limits) for one in call.service.manager.models()]))


async def model(call: Call) -> Answer:
    """Answer with one model."""
    call.query()
    await call.may("models")
    for one in call.service.manager.models():
        if one.name == call.path["name"]:
            return answer(_model(one, call.owned.limits))
    raise problem("model-not-found")


async def queue(call: Call) -> Answer:
    """Answer with how the caller's jobs stand in a queue."""
    call.query()
    await call.may("queue")
    name = _known_queue(call)
    counts = await call.owned.counts(name)
    oldest = min((one.oldest_queued_at for one in counts if one.oldest_queued_at is not None), default=None)
    told = wire.Queue(
        name=name,
        depth=sum(one.queued for one in counts),
        running=sum(one.running for one in counts),
        oldest_age_seconds=None if oldest is None else max(0, call.now() - oldest) / 1000,
        capacity=call.owned.limits.of_queue(name)[0],
        accepting=await call.owned.has_room(name),
        paused=any(one.is_paused for one in counts),
    )
    return answer(told)


async def purge(call: Call) -> Answer:
    """Cancel the caller's waiting jobs of a queue."""
    call.query()
    await call.may("purge")
    return answer(wire.Purged(data=list(await call.owned.purge(_known_queue(call)))))


def _known_queue(call: Call) -> str:
    name = call.path["name"]
    if not any(one.queue == name for one in call.service.manager.models()):
        raise problem("not-found", "no model belongs to such a queue")
    return name


def _model(one: PublishedModel, limits: Limits) -> wire.Model:
    return wire.Model(
        name=one.name,
        queue=one.queue,
        executor=one.executor,
        input_schema=Raw(one.input_schema or b"{}"),
        output_schema=Raw(one.result_schema or b"{}"),
        max_attempts=one.max_attempts,
        time_limit_seconds=None if one.time_limit is None else one.time_limit / 1000,
        queue_timeout_seconds=None if one.queue_timeout is None else one.queue_timeout / 1000,
        max_input_bytes=limits.input_bytes,
        max_output_bytes=limits.result_bytes,
        state=one.state,
    )
