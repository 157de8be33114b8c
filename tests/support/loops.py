"""Running coroutines from tests that are plain functions, and stopping them at any moment."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``; and no task may go on when it ends, however it ends."""
    return asyncio.run(_tidy(main))


def run_timeless(main: Coroutine[Any, Any, T]) -> T:
    """As `run`, but the loop's clock jumps to whatever is due next: hours take no time.

    For coroutines that wait for nothing but each other and the clock, and for no thread.
    """
    with asyncio.Runner(loop_factory=_TimelessLoop) as runner:
        return runner.run(_tidy(main))


async def _tidy(main: Coroutine[Any, Any, T]) -> T:
    try:
        return await main
    finally:
        await turns(5)  # for the closing of half-read bodies, which the loop sees to
        assert not asyncio.all_tasks() - {asyncio.current_task()}


class _TimelessLoop(asyncio.SelectorEventLoop):
    """Its time is what its selector would have waited so far."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class _JumpingSelector(selectors.SelectSelector):
    """Does not wait; adds up how long it would have."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nobody will wake them"
        self.now_s += max(0.0, timeout)
        return super().select(0)


async def turns(count: int) -> None:
    """Let the others have so many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the others have their turns until it is so; a test that waits in vain times out."""
    while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0)


async def is_cancelled_at(turn: int, main: Awaitable[object]) -> bool:
    """Cancel ``main`` after so many turns of the loop; False if it had ended before."""
    task = asyncio.ensure_future(main)
    while turn and not task.done():
        await asyncio.sleep(0)
        turn -= 1
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()


def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do blocking work in the loop's own thread, so that every run takes the same turns."""

    async def to_thread(work: Callable[[], T]) -> T:
        await asyncio.sleep(0)
        result = work()
        await asyncio.sleep(0)
        return result

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
