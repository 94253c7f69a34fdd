"""asyncinfer: durable background jobs for any Python inference code.

>>> from asyncinfer import JobManager, model
>>> @model
... async def echo(text: str) -> str:
...     return text
>>> async def main() -> str:
...     async with JobManager("sqlite:///jobs.db", models=[echo]) as manager:
...         job = await manager.submit(echo, "hello")
...         return await job
"""

from asyncinfer._context import JobContext, SetupContext, current_batch, current_job
from asyncinfer._events import Event, GapEvent, OutputEvent, ProgressEvent, ResetEvent, StatusEvent
from asyncinfer._handle import JobHandle
from asyncinfer._health import Health
from asyncinfer._job import Attempt, Job, JobError, JobKey, Progress, Status, Subscription
from asyncinfer._limits import Limits, QueueLimits, Retention
from asyncinfer._manager import JobManager
from asyncinfer._models import Model, Submission, model
from asyncinfer._options import Batch, ModelOptions, SubmitOptions
from asyncinfer._resources import MemoryBudget, Resources
from asyncinfer._retry import RetryPolicy
from asyncinfer._scoped import ScopedManager
from asyncinfer.abc import CancelAnswer, Counts, EventPage, JobFilter, JobPage, PublishedModel, WorkerInfo
from asyncinfer.errors import (
    AsyncinferError,
    CancelRequested,
    IdempotencyConflict,
    InvalidInput,
    JobCanceled,
    JobExpired,
    JobFailed,
    QueueFull,
    Refused,
    RetryLater,
    StreamReset,
    TooLarge,
    UnknownJob,
)

__all__ = [
    "AsyncinferError",
    "Attempt",
    "Batch",
    "CancelAnswer",
    "CancelRequested",
    "Counts",
    "Event",
    "EventPage",
    "GapEvent",
    "Health",
    "IdempotencyConflict",
    "InvalidInput",
    "Job",
    "JobCanceled",
    "JobContext",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobFilter",
    "JobHandle",
    "JobKey",
    "JobManager",
    "JobPage",
    "Limits",
    "MemoryBudget",
    "Model",
    "ModelOptions",
    "OutputEvent",
    "Progress",
    "ProgressEvent",
    "PublishedModel",
    "QueueFull",
    "QueueLimits",
    "Refused",
    "ResetEvent",
    "Resources",
    "Retention",
    "RetryLater",
    "RetryPolicy",
    "ScopedManager",
    "SetupContext",
    "Status",
    "StatusEvent",
    "StreamReset",
    "Submission",
    "SubmitOptions",
    "Subscription",
    "TooLarge",
    "UnknownJob",
    "WorkerInfo",
    "current_batch",
    "current_job",
    "model",
]
