"""The two shells: they drive a flow, one awaiting what it asks for, one blocking for it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any, TypeVar, cast

from asyncinfer.client._exchange import Flow, Give
from asyncinfer.client._http import AsyncConnections, Connections
from asyncinfer.client._patience import Patience

T = TypeVar("T")


class AsyncShell:
    """Drives flows with asyncio."""

    def __init__(self, connections: AsyncConnections, patience: Patience) -> None:
        self.patience: Patience = patience
        self._connections = connections

    async def run(self, flow: Flow[T]) -> T:
        """Return what the flow returns."""
        line, outcome = self._connections.line(self.patience.timing), None
        try:
            while True:
                try:
                    effect = flow.send(outcome)
                except StopIteration as end:
                    return cast("T", end.value)
                outcome = await line.do(effect)
        finally:
            await line.close()

    async def iterate(self, flow: Flow[None]) -> AsyncGenerator[Any, None]:  # Any: as Give
        """Yield what the flow gives."""
        line, outcome = self._connections.line(self.patience.timing), None
        try:
            while True:
                try:
                    effect = flow.send(outcome)
                except StopIteration:
                    return
                if isinstance(effect, Give):
                    yield effect.value
                    outcome = None
                else:
                    outcome = await line.do(effect)
        finally:
            await line.close()

    async def close(self) -> None:
        await self._connections.close()


class Shell:
    """Drives flows in the calling thread."""

    def __init__(self, connections: Connections, patience: Patience) -> None:
        self.patience: Patience = patience
        self._connections = connections

    def run(self, flow: Flow[T]) -> T:
        """Return what the flow returns."""
        line, outcome = self._connections.line(self.patience.timing), None
        try:
            while True:
                try:
                    effect = flow.send(outcome)
                except StopIteration as end:
                    return cast("T", end.value)
                outcome = line.do(effect)
        finally:
            line.close()

    def iterate(self, flow: Flow[None]) -> Generator[Any, None, None]:  # Any: as Give
        """Yield what the flow gives."""
        line, outcome = self._connections.line(self.patience.timing), None
        try:
            while True:
                try:
                    effect = flow.send(outcome)
                except StopIteration:
                    return
                if isinstance(effect, Give):
                    yield effect.value
                    outcome = None
                else:
                    outcome = line.do(effect)
        finally:
            line.close()

    def close(self) -> None:
        self._connections.close()
