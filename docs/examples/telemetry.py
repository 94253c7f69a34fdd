"""Watch a manager: metrics for Prometheus, traces for OpenTelemetry, and a few lines of one's own."""

import asyncio
from collections.abc import Sequence

from asyncinfer import JobFailed, JobManager, model
from asyncinfer.abc import EndedAttempt, Telemetry
from asyncinfer.adapters.otel import Tracing
from asyncinfer.adapters.prometheus import PrometheusTelemetry


@model
async def shout(text: str) -> str:
    if not text:
        raise ValueError("nothing to shout")
    return text.upper()


class Failures(Telemetry):
    """Override what you want to hear of; each method must return at once."""

    def ended(self, attempts: Sequence[EndedAttempt]) -> None:
        for one in attempts:
            if one.error is not None:
                print("attempt", one.claim.attempt, "of", one.claim.model, one.outcome, one.error.code)


async def main() -> None:
    metrics = PrometheusTelemetry()
    async with JobManager("sqlite:///jobs.db", models=[shout], telemetry=[metrics, Tracing(), Failures()]) as manager:
        await (await manager.submit(shout, "hi"))
        try:
            await (await manager.submit(shout, ""))
        except JobFailed as failed:
            print("failed:", failed.code)

        body, content_type = await metrics.render(manager)  # what a /metrics route answers
    print(content_type)
    for line in body.decode().splitlines():
        if line.startswith(("asyncinfer_attempts_ended_total", "asyncinfer_ready")):
            print(line)


asyncio.run(main())
