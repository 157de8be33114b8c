"""Decorator: so many requests under way at once and no more, as `AdaptiveLimit` sees fit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.errors import TooSlow, Unavailable
from mirror.upstream.base import Body, Consume, Request, T, Upstream
from mirror.upstream.concurrency import AdaptiveLimit


class Limited:
    """Lets requests wait for their turn, first come first served."""

    def __init__(self, inner: Upstream, limit: AdaptiveLimit) -> None:
        """Decorate ``inner``; several may share one ``limit`` only if they share the server."""
        self._inner = inner
        self._limit = limit
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def source(self) -> str:
        """As the inner one."""
        return self._inner.source

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch when it is our turn."""
        received_bytes = 0

        async def counting(body: Body) -> Body:
            nonlocal received_bytes
            async for chunk in body:
                received_bytes += len(chunk)
                yield chunk

        async with self._turn():
            try:
                result = await self._inner.fetch(request, lambda body: consume(counting(body)))
            except (Unavailable, TooSlow):
                self._record(received_bytes, is_failure=True)
                raise
            self._record(received_bytes, is_failure=False)
            return result

    def _record(self, received_bytes: int, *, is_failure: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        self._limit.record(now_s, received_bytes, is_failure=is_failure)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting or self._under_way >= self._limit.value:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave()  # it was given to us while we were being cancelled
                raise
        else:
            self._under_way += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._under_way -= 1
        while self._waiting and self._under_way < self._limit.value:
            turn = self._waiting.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)
