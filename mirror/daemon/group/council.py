"""Who is a majority: any two of them have a member in common, and on that everything rests.

With an even number of members, the first one by name counts twice, so that half of them can go on
when the other half is cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Council:
    """The members of a group.

    Attributes:
        members: their names, in order.
    """

    def __init__(self, members: Iterable[str]) -> None:
        """Of these names."""
        self.members = tuple(sorted(members))
        self._total = sum(self._weight(each) for each in self.members)

    def is_majority(self, names: Iterable[str]) -> bool:
        """Whether they are one; strangers do not count."""
        present = set(names) & set(self.members)
        return 2 * sum(self._weight(each) for each in present) > self._total

    def latest(self, times: Mapping[str, float]) -> float | None:
        """The latest moment that is not after those of some majority; None without one."""
        return self._reached(sorted(times, key=lambda name: -times[name]), times)

    def earliest(self, times: Mapping[str, float]) -> float | None:
        """The earliest moment that is not before those of some majority; None without one."""
        return self._reached(sorted(times, key=lambda name: times[name]), times)

    def _reached(self, order: list[str], times: Mapping[str, float]) -> float | None:
        for count in range(1, len(order) + 1):
            if self.is_majority(order[:count]):
                return times[order[count - 1]]
        return None

    def _weight(self, name: str) -> int:
        counts_twice = len(self.members) % 2 == 0 and name == self.members[0]
        return 2 if counts_twice else 1
