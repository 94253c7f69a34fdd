"""Who runs jobs, and which models they published."""

from __future__ import annotations

from asyncinfer.abc import Clock, PublishedModel, WorkerInfo


class Workers:
    """Registered workers, each known until its lease has passed without a beat on the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._workers: dict[str, WorkerInfo] = {}
        self._known_until: dict[str, float] = {}
        self._models: dict[str, PublishedModel] = {}

    def register(self, worker: WorkerInfo, lease: int) -> None:
        self._workers[worker.worker] = worker
        self._known_until[worker.worker] = self._clock.monotonic() + lease / 1000
        for model in worker.models:
            self._models[model.name] = model

    def beat(self, worker: str, lease: int) -> None:
        """Keep a registered worker known for another lease."""
        if worker in self._workers:
            self._known_until[worker] = self._clock.monotonic() + lease / 1000

    def unregister(self, worker: str) -> None:
        self._workers.pop(worker, None)
        self._known_until.pop(worker, None)

    def forget_silent(self) -> None:
        """Drop the workers whose lease has passed."""
        now = self._clock.monotonic()
        for worker in [each for each, until in self._known_until.items() if until < now]:
            self.unregister(worker)

    def all(self) -> list[WorkerInfo]:
        """Return the known workers, by id."""
        self.forget_silent()
        return [self._workers[worker] for worker in sorted(self._workers)]

    def models(self) -> list[PublishedModel]:
        """Return every model ever published, by name."""
        return [self._models[name] for name in sorted(self._models)]
