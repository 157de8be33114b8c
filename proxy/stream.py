"""What clients read of something that has not all come yet."""

from __future__ import annotations

import asyncio
import errno

from mirror.serve.content import Bytes
from proxy.arrived import Arrived


class Stream:
    """A `Body` that grows: as many bytes as are released may be read, and no more.

    Attributes:
        size_bytes: how many there will be.
        released_bytes: how many may be given to clients.
        arrived: where they are.
    """

    def __init__(self, size_bytes: int, arrived: Arrived) -> None:
        """Nothing is released yet."""
        self.size_bytes = size_bytes
        self.released_bytes = 0
        self.arrived = arrived
        self._error: OSError | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def at_hand(self, first: int, end: int) -> Bytes | None:
        """As `Body.at_hand`."""
        end = min(end, self.released_bytes)
        if self._error is not None or end <= first:
            return None
        return self.arrived.read(first, end)

    async def read(self, first: int, end: int) -> Bytes:
        """As `Body.read`.

        Raises:
            OSError: there will be no more; it tells why.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self.released_bytes > first:
                return self.arrived.read(first, min(end, self.released_bytes))
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    def release(self, count: int) -> None:
        """So many bytes may be read now."""
        if count > self.released_bytes:
            self.released_bytes = count
            self._wake()

    def fail(self, reason: str) -> None:
        """There will be no more, and what there was may be wrong."""
        self._error = OSError(errno.EIO, reason)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
