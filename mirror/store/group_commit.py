"""Many commits, one sync: durable before visible, without an fsync per file.

Each commit has two halves: *stage* (write the bytes to a temporary file) and *reveal* (rename it).
Commits that wait at the same time are carried out together:

    1. stage them all
    2. sync the file system, once
    3. reveal them all

So an object's bytes are on the disk before its name is. And since a catalog's commit begins only
after those of everything below it have returned, its step 2 also makes their *names* durable before
step 3 reveals the catalog: after a power cut too, a catalog that is there proves its whole tree.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from mirror.errors import StoreError
from mirror.store.threads import in_thread


class Commit(Protocol):
    """One object's two halves; both block, and are called in a thread."""

    def stage(self) -> None:
        """Write the bytes where nobody looks."""

    def reveal(self) -> None:
        """Give them their name."""

    def discard(self) -> None:
        """Remove what was staged, since it will not be revealed; harmless if nothing was."""


@dataclass(eq=False, slots=True)
class _Entry:
    commit: Commit
    is_done: bool = False
    error: Exception | None = field(default=None)


class GroupCommit:
    """Whoever gets the turn carries out the commits of all who wait."""

    def __init__(self, sync: Callable[[], None]) -> None:
        """Use ``sync`` to make everything written so far durable; it blocks."""
        self._sync = sync
        self._turn = asyncio.Lock()
        self._waiting: list[_Entry] = []

    async def carry_out(self, commit: Commit) -> None:
        """Return once ``commit`` was staged, synced and revealed; raise what either half raised.

        Cancelled, it is carried out now or never, not later with somebody else's.
        """
        entry = _Entry(commit)
        self._waiting.append(entry)
        try:
            async with self._turn:
                if not entry.is_done:
                    batch, self._waiting = self._waiting, []
                    await in_thread(lambda: self._carry_out_all(batch))
        except asyncio.CancelledError:
            with suppress(ValueError):  # not waiting any more: it is in a batch
                self._waiting.remove(entry)
            raise
        if entry.error is not None:
            raise entry.error

    def _carry_out_all(self, batch: list[_Entry]) -> None:
        for entry in batch:
            _attempt(entry, entry.commit.stage)
        try:
            self._sync()
        except Exception as error:  # noqa: BLE001 - every commit of the batch hears of it
            for entry in batch:
                entry.error = entry.error or error
        for entry in batch:
            _attempt(entry, entry.commit.reveal)
            if entry.error is not None:
                with suppress(StoreError):  # the first error is the one to tell
                    entry.commit.discard()
            entry.is_done = True


def _attempt(entry: _Entry, half: Callable[[], None]) -> None:
    """One commit's failure is its own: the others of the batch go on."""
    if entry.error is None:
        try:
            half()
        except Exception as error:  # noqa: BLE001 - raised where the commit is awaited
            entry.error = error
