"""How blocking file work leaves the event loop: it is never abandoned half way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, TypeVar

T = TypeVar("T")


class Closable(Protocol):
    """Something that is open."""

    def close(self) -> object:
        """Let go of it."""


C = TypeVar("C", bound=Closable)


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread; if cancelled, wait for its end and only then give way.

    A rename that goes on behind the back of whoever cleans up would be a race, and file work ends
    by itself.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):  # once more: it is raised below all the same
                await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen: the cancellation is what the caller hears of
        raise


async def open_in_thread(work: Callable[[], C]) -> C:
    """As `in_thread`, for work that opens something: if cancelled, nobody else would close it."""
    opened: list[C] = []
    try:
        await in_thread(lambda: opened.append(work()))
    except asyncio.CancelledError:
        for each in opened:
            each.close()
        raise
    return opened[0]
