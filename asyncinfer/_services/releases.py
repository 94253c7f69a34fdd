"""Unload models: run their teardowns, within a bound, whatever they do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from asyncinfer._services.pool import Pool, PoolModel

RELEASE_SECONDS = 10.0
"""What the teardowns of a closing manager may take, all together."""
logger = logging.getLogger("asyncinfer.models")


async def release(models: Sequence[tuple[Pool, PoolModel]]) -> None:
    """Release loaded models, all at once. What fails or takes longer is logged and left behind."""
    tasks = {
        asyncio.create_task(pool.executor.release(entry.runner)): entry.name
        for pool, entry in models
        if entry.is_loaded(pool.executor)
    }
    if not tasks:
        return
    _, hanging = await asyncio.wait(tasks, timeout=RELEASE_SECONDS)
    for task in hanging:
        logger.error("the teardown of model %s takes longer than %g s and is left behind", tasks[task], RELEASE_SECONDS)
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for name, result in zip(tasks.values(), results, strict=True):
        if isinstance(result, Exception):
            logger.error("model %s could not be released", name, exc_info=result)
