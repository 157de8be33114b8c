"""How fast we may go, by time of day: so much at night, less while people are at work.

Values only. A `Schedule` answers for any time of day; who goes by it asks `Schedule.pace_at`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from itertools import combinations


@dataclass(frozen=True, slots=True)
class Pace:
    """The most there may be in a second; None is as fast as it goes.

    Attributes:
        requests_per_s: retries included.
        bytes_per_s: of bodies.
    """

    requests_per_s: float | None = None
    bytes_per_s: float | None = None

    def changed_by(self, other: Pace) -> Pace:
        """What the other one says, and this one where it says nothing."""
        return Pace(
            self.requests_per_s if other.requests_per_s is None else other.requests_per_s,
            self.bytes_per_s if other.bytes_per_s is None else other.bytes_per_s,
        )


@dataclass(frozen=True, slots=True)
class Window:
    """Some hours of every day, in local time; it may cross midnight.

    Attributes:
        begins: the first moment in it.
        ends: the first moment after it; never the same as ``begins``.
        pace: replaces what it states; the rest stays as at other times.
    """

    begins: time
    ends: time
    pace: Pace

    def holds(self, moment: time) -> bool:
        """Whether ``moment`` is in it."""
        if self.begins < self.ends:
            return self.begins <= moment < self.ends
        return moment >= self.begins or moment < self.ends

    def overlaps(self, other: Window) -> bool:
        """Whether any moment is in both."""
        return self.holds(other.begins) or other.holds(self.begins)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A pace for every time of day.

    Attributes:
        usual: outside all windows.
        windows: of which no two overlap.
    """

    usual: Pace = Pace()
    windows: tuple[Window, ...] = ()

    def pace_at(self, moment: time) -> Pace:
        """The pace at this time of day."""
        for window in self.windows:
            if window.holds(moment):
                return self.usual.changed_by(window.pace)
        return self.usual

    @property
    def is_limited(self) -> bool:
        """Whether there is ever anything to wait for."""
        return any(pace != Pace() for pace in (self.usual, *(each.pace for each in self.windows)))


def overlapping(windows: Sequence[Window]) -> list[tuple[int, int]]:
    """The pairs, by their places in the sequence, that leave open which of them counts."""
    pairs = combinations(enumerate(windows), 2)
    return [(one, two) for (one, first), (two, second) in pairs if first.overlaps(second)]
