"""Small calls that come close together become one larger call.

Ten thousand tiny catalogs ask for three objects each; a message to a lane costs as much for three
objects as for sixty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Coalescing(Generic[K, V]):
    """Collects what is asked for during a moment, and hands everybody the answer to all of it."""

    def __init__(
        self, act: Callable[[Sequence[K]], Awaitable[V]], most: int, moment_s: float
    ) -> None:
        """Prepare.

        Args:
            act: answers for many at once.
            most: so many need not wait for more.
            moment_s: how long the first one waits for others.
        """
        self._act = act
        self._most = most
        self._moment_s = moment_s
        self._items: list[K] = []
        self._answer: asyncio.Future[V] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._acting: set[asyncio.Task[None]] = set()

    async def __call__(self, items: Sequence[K]) -> V:
        """The answer to these and to others; raises what `act` raised."""
        loop = asyncio.get_running_loop()
        if self._answer is None:
            self._answer = loop.create_future()
            self._timer = loop.call_later(self._moment_s, self._go)
        answer = self._answer
        self._items.extend(items)
        if len(self._items) >= self._most:
            self._go()
        return await asyncio.shield(answer)

    async def close(self) -> None:
        """Answer nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._answer is not None:
            self._answer.cancel()
        for task in self._acting:
            task.cancel()
        await asyncio.gather(*self._acting, return_exceptions=True)

    def _go(self) -> None:
        items, self._items = self._items, []
        answer, self._answer = self._answer, None
        if self._timer is not None:
            self._timer.cancel()
        if answer is not None:
            task = asyncio.get_running_loop().create_task(self._settle(items, answer))
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)

    async def _settle(self, items: list[K], answer: asyncio.Future[V]) -> None:
        try:
            answer.set_result(await self._act(items))
        except asyncio.CancelledError:
            answer.cancel()
        except Exception as error:  # noqa: BLE001 - raised by everybody who asked
            answer.set_exception(error)
            answer.exception()  # perhaps nobody waits any more
