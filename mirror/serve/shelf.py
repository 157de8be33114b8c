"""Where answers come from: a mirror's trees, or a proxy's cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from mirror.serve.content import Found
from mirror.serve.resources import Resource


class Refusal(Exception):
    """Why there is no such answer, as the client is told.

    Attributes:
        status: of HTTP.
        headers: beside those of every refusal.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.headers = dict(headers or {})
        super().__init__(reason)


Outcome = Found | Refusal | None
"""What became of looking for something: it, why it cannot be given, or that there is none."""
Tell = Callable[[Outcome], None]


class Shelf(Protocol):
    """Gives answers; the first two never wait."""

    def at_hand(self, line: bytes) -> Found | None:
        """What this request line names, if that can be told without waiting."""

    def named(self, line: bytes) -> Resource | None:
        """Which resource the line names; None for whatever is not plainly one of ours."""

    def asked(self, path: str, origin: str) -> Resource | None:
        """Which resource a parsed request names; None for nothing of ours.

        Args:
            path: decoded once, without query.
            origin: ``http://host:port`` where a client sends a whole URL, empty elsewhere.

        Raises:
            Refusal: it may not be asked for.
        """

    def seek(self, line: bytes, wanted: Resource, tell: Tell) -> Callable[[], None]:
        """Look for what a line names, and tell later; gives what makes it not worth telling."""

    async def find(self, wanted: Resource, *, is_fresh: bool = False) -> Found | None:
        """The resource, waiting for it; None if there is none.

        Args:
            wanted: what.
            is_fresh: the client got wrong bytes (contract C.1) and asks to look again.

        Raises:
            Refusal: it cannot be given, and the client shall know why.
            OSError: it cannot be read now.
        """


def seek_by_finding(shelf: Shelf, wanted: Resource, tell: Tell) -> Callable[[], None]:
    """`Shelf.seek` by way of `Shelf.find`, in a task."""

    async def look() -> None:
        found: Outcome = None
        with suppress(OSError):  # met again by aiohttp's handler, which tells the operator
            try:
                found = await shelf.find(wanted)
            except Refusal as refusal:
                found = refusal
        tell(found)

    task = asyncio.get_running_loop().create_task(look())

    def cancel() -> None:
        task.cancel()

    return cancel
