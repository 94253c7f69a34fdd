"""What is asked of a worker process, made of a call or a runner's spec."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from asyncinfer.abc import Call, RunnerSpec
from asyncinfer_process._code import pack
from asyncinfer_process._messages import Item, Load, Run

SLACK_BYTES = 1024 * 1024


def max_part(spec: RunnerSpec) -> int:
    """Return the bytes that one part of what a worker of this model says may have."""
    return max(spec.result_bytes, spec.checkpoint_bytes) + SLACK_BYTES


def load_of(spec: RunnerSpec, number: int, *, device: str | None, threads: int) -> tuple[Load, bytes]:
    """Return the message that loads a model, and its part. Raise InvalidModel for code that cannot be pickled."""
    target, retry_on, pickled = pack(spec)
    load = Load(
        number=number,
        model=spec.model,
        executor=spec.executor,
        target=target,
        retry_on=retry_on,
        is_batch=spec.is_batch,
        bisects=spec.bisects,
        result_bytes=spec.result_bytes,
        checkpoint_bytes=spec.checkpoint_bytes,
        memory_limit=spec.memory_limit,
        device=device,
        threads=threads,
        search_path=tuple(path or str(Path.cwd()) for path in sys.path),
        log_levels=_log_levels(),
    )
    return load, pickled


def run_of(call: Call, model: int) -> tuple[Run, Sequence[bytes]]:
    """Return the message that runs a call, and its parts: the stored bytes as they are."""
    items: list[Item] = []
    parts: list[bytes] = []
    for one in call.items:
        context = one.context
        checkpoint = context.checkpoint_bytes
        items.append(
            Item(
                one.content_type,
                context.job_id,
                context.owner,
                context.attempt,
                context.deadline,
                context.time_limit,
                checkpoint is not None,
                context.is_canceled,
            )
        )
        parts += [one.input, context.metadata_bytes]
        if checkpoint is not None:
            parts.append(checkpoint)
    return Run(model, tuple(items)), parts


def _log_levels() -> dict[str, int]:
    loggers = logging.getLogger().manager.loggerDict.items()
    own = {name: logger.level for name, logger in loggers if isinstance(logger, logging.Logger) and logger.level}
    return {"": logging.getLogger().level, **own}
