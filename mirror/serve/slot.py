"""The place of one worker: there is always one in it, and it may be replaced by another.

replace    a new one gets ready, then the old one drains; both listen on the same sockets
its death  told, and made good at once; less and less quickly if it happens again and again
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mirror.serve.backoff import Backoff
from mirror.serve.worker_handle import WorkerFailed, WorkerHandle
from mirror.serve.worker_options import WorkerOptions

Say = Callable[[str], None]
"""Takes a line for the operator."""
Numbers = set[int]
"""Of counters' slots that nobody has: a worker and its successor never count in the same one."""
_GRACE_S: Final = 10.0
"""Beyond its time to drain, for a worker to end by itself."""


class Slot:
    """A worker, those that are on their way out, and whoever watches them."""

    def __init__(self, say: Say, numbers: Numbers) -> None:
        """Empty; the numbers belong to all slots together."""
        self._say = say
        self._numbers = numbers
        self._backoff = Backoff()
        self._worker: WorkerHandle | None = None
        self._options: WorkerOptions | None = None
        self._watching: asyncio.Task[None] | None = None
        self._leaving: dict[asyncio.Task[None], WorkerHandle] = {}

    @property
    def process(self) -> int | None:
        """The number of the process that serves now; None while there is none."""
        return self._worker.process if self._worker and self._worker.is_alive else None

    async def replace(self, options: WorkerOptions) -> None:
        """Let a new worker take over.

        Raises:
            WorkerFailed: it does not get ready; the old one goes on.
        """
        await self._stop_watching()
        number = min(self._numbers, default=None)
        if number is not None:
            self._numbers.remove(number)
        options = replace(options, number=number)
        try:
            fresh = await WorkerHandle.start(options)
        except BaseException:
            self._give_back(number)
            self._watch()
            raise
        old, old_options = self._worker, self._options
        self._worker, self._options = fresh, options
        self._watch()
        if old is not None and old_options is not None:
            self._dismiss(old, old_options, old_options.limits.drain_s)

    def reopen(self) -> None:
        """Let all of them open their logs anew."""
        for each in [self._worker, *self._leaving.values()]:
            if each is not None:
                each.reopen()

    @property
    def is_occupied(self) -> bool:
        """Whether anybody is in it, or on the way out."""
        return self._worker is not None or bool(self._leaving)

    async def leave(self, within_s: float) -> None:
        """Let its worker end, and put nobody in its place."""
        await self._stop_watching()
        if self._worker is not None and self._options is not None:
            self._dismiss(self._worker, self._options, within_s)
            self._worker = None

    async def stop(self, within_s: float) -> None:
        """Let everyone end, and wait for it."""
        await self.leave(within_s)
        try:
            await asyncio.gather(*self._leaving)
        finally:
            self.kill()

    def kill(self) -> None:
        """End everyone now."""
        for each in [self._worker, *self._leaving.values()]:
            if each is not None:
                each.kill()

    def _dismiss(self, worker: WorkerHandle, options: WorkerOptions, within_s: float) -> None:
        task = asyncio.get_running_loop().create_task(_leave(worker, within_s))
        self._leaving[task] = worker
        task.add_done_callback(self._leaving.pop)
        task.add_done_callback(lambda _: self._give_back(options.number))

    def _give_back(self, number: int | None) -> None:
        if number is not None:
            self._numbers.add(number)

    def _watch(self) -> None:
        if self._worker is not None:
            self._watching = asyncio.get_running_loop().create_task(self._keep(self._worker))

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
            self._watching = None

    async def _keep(self, worker: WorkerHandle) -> None:
        """Put another one in its place whenever it ends, which is not what it was told."""
        while True:
            what = f"worker {worker.process} {await worker.ended()}"
            worker = await self._another(what)
            self._worker = worker

    async def _another(self, what: str) -> WorkerHandle:
        assert self._options is not None
        while True:
            pause_s = self._backoff.pause_s(asyncio.get_running_loop().time())
            when = f"in {pause_s:g} s" if pause_s else "at once"
            self._say(f"{what}; it is replaced {when}")
            await asyncio.sleep(pause_s)
            try:
                return await WorkerHandle.start(self._options)
            except WorkerFailed as error:
                what = str(error)


async def _leave(worker: WorkerHandle, within_s: float) -> None:
    worker.drain(within_s)
    try:
        async with asyncio.timeout(within_s + _GRACE_S):
            await worker.ended()
    except TimeoutError:
        worker.kill()
        await worker.ended()
