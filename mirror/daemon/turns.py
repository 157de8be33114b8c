"""Who may fetch now: so many at once, and nobody waits for ever.

Whoever has waited longest is next. Priority is time: one step counts as a minute of waiting, so a
repository of high priority overtakes, and one of low priority still gets its turn.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

_STEP_S: Final = 60.0


class Turns:
    """Hands out turns."""

    def __init__(self, at_once: int, time: Callable[[], float]) -> None:
        """So many at once; ``time`` gives seconds that never go back."""
        self._free = at_once
        self._time = time
        self._numbers = count()
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(not turn.done() for _, _, turn in self._waiting)

    @asynccontextmanager
    async def turn(self, priority: int = 0) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the end of the block."""
        await self._take(priority)
        try:
            yield
        finally:
            self._free += 1
            self._hand_out()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Within a turn: others may have it meanwhile, for who is here waits for somebody else.

        At its end the turn is had again at once, by one too many if need be.
        """
        self._free += 1
        self._hand_out()
        try:
            yield
        finally:
            self._free -= 1

    async def _take(self, priority: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = self._time() - priority * _STEP_S
        heapq.heappush(self._waiting, (place, next(self._numbers), turn))
        self._hand_out()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it came with the cancellation
                self._free += 1
                self._hand_out()
            raise

    def _hand_out(self) -> None:
        while self._free > 0 and self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self._free -= 1
                turn.set_result(None)
