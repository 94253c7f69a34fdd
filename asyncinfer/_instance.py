"""One instance of a class model: made and set up once, whoever asks first."""

from __future__ import annotations

import threading
from typing import Any

from asyncinfer._context import SetupContext
from asyncinfer.errors import SetupFailed


class Instance:
    """Builds the instance single-flight; a setup that failed is tried again by the next call."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._ready: Any = None  # Any: the user's own class

    def get(self, context: SetupContext) -> Any:
        """Return the instance, set up. Raise SetupFailed."""
        if self._ready is None:
            with self._lock:
                if self._ready is None:
                    self._ready = self._build(context)
        return self._ready

    def _build(self, context: SetupContext) -> Any:
        try:
            instance = self._kind()
            setup = getattr(instance, "setup", None)
            if setup is not None:
                setup(context)
        except Exception as exc:
            raise SetupFailed(f"model {context.model}: setup raised {type(exc).__qualname__}: {exc}") from exc
        return instance
