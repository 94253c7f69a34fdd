"""Run models in the host's own process: `def` models on dedicated threads, `async def` models on its loop."""

from asyncinfer_thread._loop_executor import LoopExecutor
from asyncinfer_thread._thread_executor import ThreadExecutor

__all__ = ["LoopExecutor", "ThreadExecutor"]
