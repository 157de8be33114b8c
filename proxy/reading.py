"""One look at the disk for everybody who asks meanwhile: a thousand need not hash the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mirror.serve.content import Found
from mirror.serve.shelf import Tell

Fetch = Callable[[Tell], Callable[[], None]]
"""Gets it from elsewhere, and tells; gives what ends the interest."""


@dataclass(slots=True, eq=False)
class _Reader:
    tell: Tell
    fetch: Fetch
    is_gone: bool = False
    cancel: Callable[[], None] | None = None

    def hear(self, found: Found | None) -> None:
        if self.is_gone:
            return
        if found is None:
            self.cancel = self.fetch(self.tell)
        else:
            self.tell(found)

    def leave(self) -> None:
        self.is_gone = True
        if self.cancel is not None:
            self.cancel()


class Reading:
    """See above. What the disk does not have, or has wrong, is fetched after all."""

    def __init__(self, look: Awaitable[Found | None], over: Callable[[], None]) -> None:
        """Begin; ``over`` is called when nobody may join any more."""
        self._readers: list[_Reader] = []
        self._over = over
        self._task = asyncio.ensure_future(self._read(look))

    def join(self, tell: Tell, fetch: Fetch) -> Callable[[], None]:
        """Wait for it; gives what ends the interest."""
        reader = _Reader(tell, fetch)
        self._readers.append(reader)
        return reader.leave

    async def _read(self, look: Awaitable[Found | None]) -> None:
        found = None
        try:
            found = await look
        finally:
            self._over()
            for each in self._readers:
                each.hear(found)
