"""Room for the bodies that are read and worked on at once: what goes beyond it waits in line, unread.

Room is taken as a body arrives, so that a slow sender holds no more than it has sent. For bodies that are half read
must not wait for each other, one of them may always go on: it is kept within the room and one body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import NamedTuple


class Room:
    """So many bytes, lent in the order of asking."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._line: list[_Asking] = []
        self._ahead: Share | None = None
        """Who may go beyond the room: the first in the line when there was none."""

    @contextmanager
    def share(self) -> Generator[Share]:
        """Lend a share that grows; it is given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            if self._ahead is share:
                self._ahead = None
            self._free += share.size
            self._serve()

    async def take(self, share: Share, size: int) -> None:
        """Let a share grow by `size`, once there is room."""
        asking = _Asking(share, size, asyncio.get_running_loop().create_future())
        self._line.append(asking)
        self._serve()
        await asking.turn

    def _serve(self) -> None:
        """Let in whom there is room for; nobody passes another in the line, but for the one who is ahead."""
        line, self._line = self._line, []
        for asking in line:
            if asking.turn.done():  # it has left the line
                continue
            has_room = not self._line and asking.size <= self._free
            if not has_room and self._ahead is None:
                self._ahead = asking.share
            if has_room or asking.share is self._ahead:
                self._free -= asking.size
                asking.share.size += asking.size
                asking.turn.set_result(None)
            else:
                self._line.append(asking)


class Share:
    """What one body takes."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.size: int = 0

    async def grow(self, size: int) -> None:
        """Wait until it may be so large."""
        if size > self.size:
            await self._room.take(self, size - self.size)


class _Asking(NamedTuple):
    share: Share
    size: int
    turn: asyncio.Future[None]
