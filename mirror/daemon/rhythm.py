"""When to look at a repository again.

A repository that changes often is looked at often, one that has been quiet for months is not; one
that fails is left alone for longer each time. No two hosts look at the same moment for long: every
time is blurred a little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

_OF_QUIET: Final = 0.02
"""Of the time since something last changed: a day of quiet gives half an hour between looks."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often.

    Attributes:
        interval_s: between looks at a repository that changes.
        slowest_s: between looks at one that does not.
        backoff_s: between attempts where all others have failed, at most.
        jitter: how much a time is blurred, as a part of it.
    """

    interval_s: float = 60.0
    slowest_s: float = 600.0
    backoff_s: float = 1800.0
    jitter: float = 0.1


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the day, host time; it may go past midnight."""

    begins: time
    ends: time

    def __contains__(self, moment: time) -> bool:
        if self.begins < self.ends:
            return self.begins <= moment < self.ends
        return moment >= self.begins or moment < self.ends


def pause_s(
    rhythm: Rhythm,
    quiet_s: float,
    failures: int,
    random: Callable[[], float],
    *,
    is_told: bool = False,
) -> float:
    """Seconds until the next look.

    Args:
        rhythm: how often.
        quiet_s: since the publisher last published.
        failures: in a row, until now.
        random: gives numbers from 0 to 1.
        is_told: publications are announced to us, so that looking is only for safety.
    """
    if failures:
        pause = min(rhythm.interval_s * 2.0 ** min(failures - 1, 30), rhythm.backoff_s)
    elif is_told:
        pause = rhythm.slowest_s
    else:
        pause = min(max(rhythm.interval_s, quiet_s * _OF_QUIET), rhythm.slowest_s)
    return pause * (1 - rhythm.jitter * random())


def next_allowed(moment: datetime, hours: Sequence[Hours]) -> datetime:
    """The first moment from this one on that lies in one of the hours; the same if none are set."""
    if not hours or any(moment.time() in each for each in hours):
        return moment
    return min(_next(moment, each.begins) for each in hours)


def _next(moment: datetime, begins: time) -> datetime:
    today = moment.replace(
        hour=begins.hour, minute=begins.minute, second=begins.second, microsecond=0
    )
    return today if today > moment else today + timedelta(days=1)
