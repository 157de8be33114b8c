"""Whoever wants to hear of our flips: one message to all of them, and nobody waits for anybody.

A subscriber gets the last message of its repository at once, then each new one. What it does not
take is kept for it in a short queue; when that is full, it is dropped, and will come back and get
the last message again. Nothing is lost by that, since only the newest revision matters.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from mirror.cvmfs.fqrn import Fqrn

_MOST_WAITING: Final = 16


class TooManySubscribers(Exception):
    """There is no room for one more."""


@dataclass(frozen=True, slots=True)
class HubLimits:
    """What subscribers may take.

    Attributes:
        subscribers: at the same time,
        per_address: of these.
        waiting: messages kept for one that does not take them.
        longest_s: without a message, like the reference; then a subscriber comes anew.
        heartbeat_s: between signs of life, for those that ask for them.
        stalled_s: how long a subscriber may take nothing of a message.
    """

    subscribers: int = 10_000
    per_address: int = 1_000
    waiting: int = _MOST_WAITING
    longest_s: float = 7200.0
    heartbeat_s: float = 30.0
    stalled_s: float = 30.0


@dataclass(slots=True, eq=False)
class Seat:
    """One subscriber's place."""

    drop: Callable[[], None]
    waiting: deque[str] = field(default_factory=deque)
    is_over: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> str | None:
        """The next message; None when there will be none any more."""
        while not self.waiting:
            if self.is_over:
                return None
            self._news.clear()
            await self._news.wait()
        return self.waiting.popleft()

    def offer(self, message: str, most: int) -> bool:
        """Keep a message for it; False if it has too many waiting, and is dropped."""
        if len(self.waiting) >= most:
            self.end()
            self.drop()
            return False
        self.waiting.append(message)
        self._news.set()
        return True

    def end(self) -> None:
        """No more messages; what is waiting still goes out, if it can."""
        self.is_over = True
        self._news.set()


class Hub:
    """See above.

    Attributes:
        limits: what subscribers may take.
        came: how many subscribers there ever were,
        dropped: and how many of them took nothing.
    """

    def __init__(self, limits: HubLimits | None = None) -> None:
        """Nobody is there, and nothing has been said."""
        self.limits = limits or HubLimits()
        self.came = 0
        self.dropped = 0
        self._last: dict[Fqrn, str] = {}
        self._seats: dict[Fqrn, set[Seat]] = {}
        self._addresses: Counter[str] = Counter()
        self._is_closed = False

    @property
    def subscribers(self) -> int:
        """How many are there."""
        return self._addresses.total()

    def publish(self, fqrn: Fqrn, message: str) -> None:
        """Tell everybody; what was said last is not said again."""
        if self._last.get(fqrn) == message:
            return
        self._last[fqrn] = message
        for seat in list(self._seats.get(fqrn, ())):
            if not seat.offer(message, self.limits.waiting):
                self.dropped += 1

    def forget(self, fqrn: Fqrn) -> None:
        """A repository is not ours any more."""
        self._last.pop(fqrn, None)
        for seat in list(self._seats.get(fqrn, ())):
            seat.end()

    @contextmanager
    def subscribe(self, fqrn: Fqrn, address: str, drop: Callable[[], None]) -> Iterator[Seat]:
        """A place until the end of the block.

        Args:
            fqrn: of which repository.
            address: where the subscriber comes from.
            drop: ends a subscriber that takes nothing.

        Raises:
            TooManySubscribers: in sum, or from this address.
        """
        limits = self.limits
        is_full = self.subscribers >= limits.subscribers
        if is_full or self._addresses[address] >= limits.per_address or self._is_closed:
            raise TooManySubscribers
        seat = Seat(drop)
        if fqrn in self._last:
            seat.offer(self._last[fqrn], limits.waiting)
        self.came += 1
        self._addresses[address] += 1
        self._seats.setdefault(fqrn, set()).add(seat)
        try:
            yield seat
        finally:
            self._leave(fqrn, address, seat)

    def close(self) -> None:
        """End all of them, and let nobody in any more."""
        self._is_closed = True
        for seats in self._seats.values():
            for seat in seats:
                seat.end()

    def _leave(self, fqrn: Fqrn, address: str, seat: Seat) -> None:
        self._seats[fqrn].discard(seat)
        if not self._seats[fqrn]:
            del self._seats[fqrn]
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
