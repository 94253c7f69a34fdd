"""What an executor answers where the runner gave no answer of its own."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from asyncinfer.abc import Call, JobError, Outcome


def canceled(call: Call) -> Sequence[Outcome]:
    """Return the outcomes of a call that was asked to stop and did."""
    return [Outcome("canceled")] * len(call.items)


def raised(call: Call, error: BaseException) -> Sequence[Outcome]:
    """Return the outcomes of a call whose runner let an exception through."""
    job_error = JobError(
        code="model_error",
        message=str(error),
        type=type(error).__qualname__,
        traceback="".join(traceback.format_exception(error)),
    )
    return [Outcome("raised", error=job_error)] * len(call.items)
