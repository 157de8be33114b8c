"""Decorator: not more requests and bytes a second than the operator allows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, time
from time import monotonic

from mirror.upstream.base import Body, Consume, Request, T, Upstream
from mirror.upstream.pacing import Pacer


def local_time() -> time:
    """The time of day that the operator's clock on the wall shows."""
    return datetime.now().astimezone().time()


class Paced:
    """Waits before a request, and between the pieces of a body.

    A pause between pieces is a consumer that takes its time: the client stops reading, TCP slows
    the server down, and no window of the client counts it against the server. Belongs next to the
    client and below `Limited`: what waits here occupies a place there, so whatever the limit of
    concurrency is, no more than that goes off at once, and more places are not tried in vain.
    """

    def __init__(
        self,
        inner: Upstream,
        pacers: Sequence[Pacer],
        now_s: Callable[[], float] = monotonic,
        clock: Callable[[], time] = local_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Decorate ``inner``; the pacers may be shared, and the strictest counts.

        Args:
            inner: to be asked less often.
            pacers: say how long to wait.
            now_s: a clock that never goes back.
            clock: the time of day.
            sleep: waits.
        """
        self._inner = inner
        self._pacers = pacers
        self._now_s = now_s
        self._clock = clock
        self._sleep = sleep

    @property
    def source(self) -> str:
        """As the inner one."""
        return self._inner.source

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch when it is time."""
        await self._wait(requests=1)
        return await self._inner.fetch(request, lambda body: consume(self._slowed(body)))

    async def _slowed(self, body: Body) -> Body:
        async for piece in body:
            await self._wait(size_bytes=len(piece))
            yield piece

    async def _wait(self, requests: int = 0, size_bytes: int = 0) -> None:
        now_s, moment = self._now_s(), self._clock()
        delays_s = [
            pacer.delay_s(now_s, moment, requests=requests, size_bytes=size_bytes)
            for pacer in self._pacers
        ]
        delay_s = max(delays_s, default=0.0)
        if delay_s:
            await self._sleep(delay_s)
