"""A hedged request: when the answer is late another source is asked, too; the first to answer wins.

Only the beginnings of answers race. Whoever answers first is consumed alone, in the task of whoever
wanted it, and the other one is cancelled before. So a consumer is never at work twice at the same
time, nothing is fetched twice beyond what the network had in its pipes, and a result is never in a
task that might be cancelled with it. If the winner then fails, its error says so, and a third
source may be asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, Protocol

from mirror.errors import UpstreamError
from mirror.upstream.base import Body, Consume, T


class Ask(Protocol):
    """Asks one source, whichever it is."""

    def __call__(self, consume: Consume[T], /) -> Awaitable[T]:
        """As `Upstream.fetch`, but one attempt: ``consume`` is called once at most."""


class Race(Generic[T]):
    """One hedged request; use it once.

    Attributes:
        is_overtaken: whether the second source answered before the first.
        is_second_consumed: whether the outcome is the second one's.
    """

    def __init__(
        self, first: Ask, second: Callable[[], Ask | None], patience_s: Callable[[], float]
    ) -> None:
        """Prepare; nothing happens until `run`.

        Args:
            first: asks the source to begin with.
            second: called when the first one is late; asks another one, None if none may be asked
                now.
            patience_s: after how long without an answer it is late, counted from the start; asked
                again when that time is over, since more may be known then.
        """
        self._first = first
        self._second = second
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._cut = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._is_first_asked = True
        self._asking: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[Body] = self._loop.create_future()
        self._outcome: asyncio.Future[None] = self._loop.create_future()
        self.is_overtaken = self.is_second_consumed = False

    async def run(self, consume: Consume[T]) -> T:
        """Fetch.

        Raises:
            UpstreamError: of whoever failed last.
        """

        async def consume_first(body: Body) -> T:
            self._stop_timer()
            if self._answer.done():  # in this very turn; we are being cut
                await self._loop.create_future()
            await self._call_off()
            return await consume(body)

        self._began_s = self._loop.time()
        self._timer = self._loop.call_at(self._began_s + self._patience_s(), self._late)
        try:
            try:
                async with self._cut:
                    return await self._first(consume_first)
            except TimeoutError:
                if not self._cut.expired():
                    raise
                self.is_overtaken = True
            except UpstreamError:
                if self._asking is None:
                    raise
            self._is_first_asked = False
            return await self._consume_second(self._asking, consume)
        finally:
            self._stop_timer()
            await self._call_off()  # does not wait if there is nothing to call off

    def _late(self) -> None:
        """The first one ought to have answered by now."""
        ends_s = self._began_s + self._patience_s()
        if self._loop.time() < ends_s - 0.001:
            self._timer = self._loop.call_at(ends_s, self._late)
            return
        second = self._second()
        if second is not None:
            self._asking = self._loop.create_task(self._ask(second))
        else:  # not now, but perhaps in a while
            self._timer = self._loop.call_later(self._patience_s(), self._late)

    async def _ask(self, second: Ask) -> None:
        async def hand_over(body: Body) -> None:
            self._answer.set_result(body)
            if self._is_first_asked:
                self._cut.reschedule(self._loop.time())
            await self._outcome  # the source's own decorators see the request end as it ended

        await second(hand_over)

    async def _consume_second(self, asking: asyncio.Task[None] | None, consume: Consume[T]) -> T:
        assert asking is not None, "only it ends the first one's turn"
        either: list[asyncio.Future[Any]] = [asking, self._answer]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._answer.done():
            await asking
        self.is_second_consumed = True
        return await consume(self._handed_over(self._answer.result(), asking))

    async def _handed_over(self, body: Body, asking: asyncio.Task[None]) -> Body:
        """The body; and the task that asked for it has ended before its consumer has."""
        try:
            async for piece in body:
                yield piece
        except UpstreamError as error:
            self._outcome.set_exception(error)
            self._outcome.exception()  # it counts as seen even if nobody waits for it any more
        else:
            self._outcome.set_result(None)
        await asking

    async def _call_off(self) -> None:
        asking = self._asking
        if asking is None:
            return
        if not asking.done():
            asking.cancel()
            await asyncio.wait({asking})
        self._asking = None
        error = None if asking.cancelled() else asking.exception()
        if error is not None and not isinstance(error, UpstreamError):
            raise error

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
