"""A bounded map that keeps what is asked for again: S3-FIFO.

Newcomers wait in a short queue; who is asked for again while there moves to the long one, and only
who is asked for there stays. So a job that reads a million files once pushes out nothing but other
newcomers. A hit only sets a flag, which is why it may stand in the way of every request.

    newcomer ─► probation ── asked for again ─► settled ─┐
                    │                              ▲     │ asked for: once more round
                    └─ else: out, but remembered ──┘     └ else: out
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, Protocol, TypeVar

_PROBATION: Final = 0.1
"""Of the room, for newcomers (what the authors of S3-FIFO found best over 6,594 traces)."""


class Entry(Protocol):
    """What is kept.

    Attributes:
        weight: of the room; never changes.
        is_wanted: set by whoever finds it, cleared here.
    """

    weight: int
    is_wanted: bool


K = TypeVar("K", bound=Hashable)
E = TypeVar("E", bound=Entry)


class HotSet(Generic[K, E]):
    """Keys and entries, of which the weights never sum up to more than ``room``."""

    def __init__(self, room: int) -> None:
        """Empty; ``room`` is in whatever the weights are in, 0 keeps nothing."""
        self.entries: Final[dict[K, E]] = {}
        """To look into directly; whoever finds something sets its ``is_wanted``."""
        self._room = room
        self._probation: OrderedDict[K, int] = OrderedDict()
        self._settled: OrderedDict[K, int] = OrderedDict()
        self._remembered: OrderedDict[K, None] = OrderedDict()
        self._probation_weight = self._settled_weight = 0
        self.evictions = 0

    @property
    def weight(self) -> int:
        """Of everything kept."""
        return self._probation_weight + self._settled_weight

    def add(self, key: K, entry: E) -> bool:
        """Keep an entry, in place of an older one; False where it would take too much room."""
        self.remove(key)
        if entry.weight > self._room * _PROBATION:
            return False
        entry.is_wanted = False
        self.entries[key] = entry
        if key in self._remembered:
            del self._remembered[key]
            self._settle(key, entry)
        else:
            self._probation[key] = entry.weight
            self._probation_weight += entry.weight
        while self.weight > self._room:
            self._make_room()
        return key in self.entries

    def remove(self, key: K) -> None:
        """Forget an entry, if it is there."""
        if self.entries.pop(key, None) is None:
            return
        if key in self._probation:
            self._probation_weight -= self._probation.pop(key)
        else:
            self._settled_weight -= self._settled.pop(key)

    def _make_room(self) -> None:
        is_long = self._probation_weight > self._room * _PROBATION
        if self._probation and (is_long or not self._settled):
            self._examine_newcomer()
        else:
            self._examine_settled()

    def _examine_newcomer(self) -> None:
        key, weight = self._probation.popitem(last=False)
        self._probation_weight -= weight
        if not self._go_on(key):
            self._remember(key)

    def _examine_settled(self) -> None:
        key, weight = self._settled.popitem(last=False)
        self._settled_weight -= weight
        self._go_on(key)

    def _go_on(self, key: K) -> bool:
        """Let what was asked for settle, for one more round; whatever was not is evicted."""
        entry = self.entries[key]
        if not entry.is_wanted:
            self._evict(key)
            return False
        entry.is_wanted = False
        self._settle(key, entry)
        return True

    def _settle(self, key: K, entry: E) -> None:
        self._settled[key] = entry.weight
        self._settled_weight += entry.weight

    def _evict(self, key: K) -> None:
        del self.entries[key]
        self.evictions += 1

    def _remember(self, key: K) -> None:
        self._remembered[key] = None
        while len(self._remembered) > max(16, len(self.entries)):
            self._remembered.popitem(last=False)
