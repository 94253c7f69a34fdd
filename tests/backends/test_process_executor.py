"""The process executor: the suite, and what only processes promise."""

from __future__ import annotations

from asyncinfer.testing import ExecutorSuite
from asyncinfer_process import ProcessExecutor


class TestProcessExecutor(ExecutorSuite):
    def make_executor(self, slots: int) -> ProcessExecutor:
        return ProcessExecutor(slots)
