"""Steps that several of the manager's tests take."""

from __future__ import annotations

from asyncinfer import JobHandle, StatusEvent


async def running(handle: JobHandle[object]) -> None:
    """Return once the job runs."""
    async for event in handle.events():
        if isinstance(event, StatusEvent) and event.status == "running":
            return
