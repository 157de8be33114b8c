"""Not more than so much a second: how long to wait, decided without a clock and without a loop.

    Bucket    one rate: what is taken too early has to be waited for
    Pacer     requests and bytes of one scope, at the pace that its schedule has for the hour
    Pacing    the scopes of one process: everything in sum, and each server for itself

What is taken is counted at once and waited for afterwards, so whoever has a large piece in hand
need not hold it back in parts, and the order in which many take is the order in which they go on.
In *t* seconds there go on at most as many as the rate allows in *t* and a tenth.
"""

from __future__ import annotations

from datetime import time
from typing import Final
from urllib.parse import urlsplit

from mirror.upstream.schedule import Schedule

_BURST_S: Final = 0.1
"""What an idle time leaves to be taken at once, in seconds of the rate: enough that timers which
come a few milliseconds late cost nothing, too little to be felt at the other end."""


class Bucket:
    """What may be taken at one rate; in debt when more was taken than has flowed in."""

    def __init__(self) -> None:
        self._level: float | None = None  # full, of whatever the rate is
        self._seen_s = 0.0

    def delay_s(self, now_s: float, amount: float, rate_per_s: float | None) -> float:
        """Take ``amount``; returns how long to wait before going on.

        Args:
            now_s: any clock that never goes back.
            amount: a request, or bytes.
            rate_per_s: at this time; None does not limit, and forgives what is owed.
        """
        if rate_per_s is None:
            self._level = None
            return 0.0
        full = rate_per_s * _BURST_S
        level = full
        if self._level is not None:
            level = min(full, self._level + rate_per_s * max(0.0, now_s - self._seen_s))
        self._level, self._seen_s = level - amount, now_s
        return max(0.0, -self._level / rate_per_s)


class Pacer:
    """The requests and bytes of one scope."""

    def __init__(self, schedule: Schedule) -> None:
        """Begin with nothing taken; ``schedule`` holds for all who ask this one."""
        self._schedule = schedule
        self._requests = Bucket()
        self._bytes = Bucket()

    def delay_s(
        self, now_s: float, moment: time, *, requests: int = 0, size_bytes: int = 0
    ) -> float:
        """Take these; returns how long to wait before going on.

        Args:
            now_s: any clock that never goes back, the same one each time.
            moment: the local time of day.
            requests: about to be sent.
            size_bytes: just received.
        """
        pace = self._schedule.pace_at(moment)
        delay_s = 0.0
        if requests:
            delay_s = self._requests.delay_s(now_s, requests, pace.requests_per_s)
        if size_bytes:
            delay_s = max(delay_s, self._bytes.delay_s(now_s, size_bytes, pace.bytes_per_s))
        return delay_s


class Pacing:
    """The pacers of one process, shared by all its replicas."""

    def __init__(self, total: Schedule | None = None, source: Schedule | None = None) -> None:
        """Set the limits.

        Args:
            total: for everything fetched, in sum.
            source: for what is fetched from each server, however many repositories it has.
        """
        self._total = Pacer(total) if total and total.is_limited else None
        self._source = source if source and source.is_limited else None
        self._sources: dict[str, Pacer] = {}

    def towards(self, url: str) -> tuple[Pacer, ...]:
        """The pacers for requests to the server of this URL; none if nothing is limited."""
        total = (self._total,) if self._total else ()
        if self._source is None:
            return total
        server = urlsplit(url).netloc.rpartition("@")[2].lower()
        return (*total, self._sources.setdefault(server, Pacer(self._source)))
