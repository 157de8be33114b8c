"""A semaphore for groups: so many at once, whether they come one by one or by the hundred."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """First come, first served; a group larger than the room has it for itself."""

    def __init__(self, size: int) -> None:
        """Make room for so many."""
        self._size = size
        self._inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, count: int) -> None:
        """Wait until there is room for all of these; cancelled, none of them is inside."""
        if not self._waiting and self._has_room_for(count):
            self._inside += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(count)  # it was given to us while we were being cancelled
            raise

    def leave(self, count: int) -> None:
        """These are inside no more."""
        self._inside -= count
        while self._waiting:
            group, turn = self._waiting[0]
            if not turn.done() and not self._has_room_for(group):
                return
            self._waiting.popleft()
            if not turn.done():
                self._inside += group
                turn.set_result(None)

    def _has_room_for(self, count: int) -> bool:
        return not self._inside or self._inside + count <= self._size
