"""The protocol between whoever wants bytes and whatever has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")

Body = AsyncIterator[bytes]
Consume = Callable[[Body], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch.

    Attributes:
        path: below the repository's base URL, without a leading slash.
        max_bytes: how many bytes are read at most; one more is `TooLarge`.
        is_fresh: ask caches on the way not to answer from what they hold.
    """

    path: str
    max_bytes: int
    is_fresh: bool = False


class Upstream(Protocol):
    """One repository at one or several servers.

    The contract: ``fetch`` hands the body to ``consume`` and returns what that returns. ``consume``
    may be called *several times*, once per attempt, each time with the body from its first byte, so
    it starts from nothing each time and cleans up behind itself when it raises. It raises
    `Corrupted` if the bytes are not those wanted: an upstream may then ask again, past caches. All
    that goes wrong on the way is an `UpstreamError`; what else ``consume`` raises passes through.
    """

    @property
    def source(self) -> str:
        """The base URL, for people."""

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch once, successfully, or raise the last error."""


async def read_all(body: Body) -> bytes:
    """A consumer for what is small: the whole body in memory, as far as ``max_bytes`` lets it."""
    return b"".join([chunk async for chunk in body])
