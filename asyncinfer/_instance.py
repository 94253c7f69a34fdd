"""One instance of a class model: made, set up and warmed up once, whoever asks first; torn down when it must go."""

from __future__ import annotations

import logging
import threading
from typing import Any

from asyncinfer._context import SetupContext
from asyncinfer.abc import ModelState
from asyncinfer.errors import SetupFailed

logger = logging.getLogger("asyncinfer.models")


class Instance:
    """Builds the instance single-flight; a setup that failed is tried again by the next call."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._ready: Any = None  # Any: the user's own class
        self.state: ModelState = "unloaded"

    def get(self, context: SetupContext) -> Any:
        """Return the instance, set up. Raise SetupFailed."""
        if self._ready is None:
            with self._lock:
                if self._ready is None:
                    self._ready = self._build(context)
        return self._ready

    def teardown(self) -> None:
        """Let the instance go, its own `teardown` first. What that raises is logged: the instance goes all the same."""
        with self._lock:
            instance, self._ready = self._ready, None
            if instance is None:
                return
            self.state = "draining"
            try:
                _call(instance, "teardown")
            except (Exception, SystemExit):
                logger.exception("the teardown of %s failed", self._kind.__qualname__)
            self.state = "unloaded"

    def _build(self, context: SetupContext) -> Any:
        self.state = "loading"
        step = "the constructor"
        try:
            instance = self._kind()
            for step in ("setup", "warmup"):
                _call(instance, step, context)
        except BaseException as exc:
            self.state = "failed"
            if not isinstance(exc, Exception):
                raise
            raise SetupFailed(f"model {context.model}: {step} raised {type(exc).__qualname__}: {exc}") from exc
        self.state = "warm"
        return instance


def _call(instance: Any, method: str, *arguments: object) -> None:
    function = getattr(instance, method, None)
    if function is not None:
        function(*arguments)
