"""What a manager and the scoped managers made from it share: the models, and the engine while it is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asyncinfer._engine import Engine
from asyncinfer._models import Model, published_model
from asyncinfer.errors import AsyncinferError, UnknownModel


class ManagerCore:
    """One per JobManager."""

    def __init__(self, models: Mapping[str, Model[..., Any, Any]], *, run_jobs: bool) -> None:
        self.models = models
        self._run_jobs = run_jobs
        self._engine: Engine | None = None
        self._remote: dict[str, Model[..., Any, Any]] = {}

    @property
    def engine(self) -> Engine:
        """The running parts. Raises AsyncinferError outside `async with`."""
        engine = self._engine
        if engine is None:
            raise AsyncinferError("the manager is not open: use it inside `async with JobManager(…) as manager`")
        return engine

    @property
    def is_open(self) -> bool:
        return self._engine is not None

    def opened(self, engine: Engine) -> None:
        self._engine = engine

    def closed(self) -> None:
        self._engine = None

    def model(self, name: str) -> Model[..., Any, Any]:
        """Return a model of this manager, or an untyped stand-in for one that a worker has published."""
        found = self.models.get(name)
        if found is not None:
            return found
        published = self.engine.published.get(name)
        if published is None:
            known = ", ".join(sorted({*self.models, *self.engine.published})) or "none"
            raise UnknownModel(f"no model {name!r} is registered here or published in the store (known: {known})")
        stand_in = self._remote.get(name)
        if stand_in is None or stand_in.publish() != published:
            stand_in = self._remote[name] = published_model(published)
        return stand_in

    def require(self, model: Model[..., Any, object]) -> None:
        """Raise UnknownModel for a model that no worker of this store would ever run, as far as is known here."""
        if model.name in self.models or model.name in self.engine.published:
            return
        if self._run_jobs:
            raise UnknownModel(f"model {model.name!r} is not registered: JobManager(…, models=[…, {model.name}])")
        raise UnknownModel(f"no worker has published a model {model.name!r} in this store yet")
