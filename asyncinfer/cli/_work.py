"""`asyncinfer work`: run a manager as a process of its own, until it is told to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator

from asyncinfer import JobManager
from asyncinfer.cli._import_path import manager_at
from asyncinfer.cli._lifetime import run_until_told
from asyncinfer.cli._options import LogLevelOption, ManagerArgument, log_from
from asyncinfer.cli._running import errors_told, run
from asyncinfer.errors import InvalidOption

logger = logging.getLogger("asyncinfer.work")


def work(manager: ManagerArgument, log_level: LogLevelOption = "info") -> None:
    """Run the jobs of a manager until SIGTERM or Ctrl-C.

    The first signal drains: nothing more is claimed, what runs has the manager's drain_grace to finish, the rest is
    given back uncharged. A second signal gives back at once. The exit code is 0 after a drain. The working directory is
    importable.
    """
    log_from(log_level)
    with errors_told():
        found = manager_at(manager)
    run(run_until_told(found, _running(found), logger))


@contextlib.asynccontextmanager
async def _running(manager: JobManager) -> AsyncGenerator[None]:
    """Tell what is run. Raise InvalidOption for a manager that runs nothing."""
    pids = {(worker.host, worker.pid) for worker in await manager.workers()}
    if (socket.gethostname(), os.getpid()) not in pids:
        raise InvalidOption("MANAGER: expected a JobManager that runs jobs, this one has run_jobs=False")
    logger.info("process %d runs %s", os.getpid(), ", ".join(model.name for model in manager.models()))
    yield
