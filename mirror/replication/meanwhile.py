"""Begin now what is needed later: a round trip that nobody has to wait for twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

T = TypeVar("T")


@asynccontextmanager
async def meanwhile(work: Coroutine[Any, Any, T]) -> AsyncIterator[Awaitable[T]]:
    """Let work go on beside what is in the context; it has ended, somehow, when that is left.

    Its error is raised where it is awaited, so errors come in the same order as if it began only
    there. Left before that, it is cancelled, and what became of it is of no interest any more.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        yield task
    finally:
        await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    task.cancel()
    was_cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            was_cancelled = True  # all the same: nothing may go on behind our back
    with suppress(asyncio.CancelledError):
        task.exception()  # it counts as seen
    if was_cancelled:
        raise asyncio.CancelledError
