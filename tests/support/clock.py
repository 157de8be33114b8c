"""Time that passes only when somebody sleeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

NOW: Final = datetime(2026, 1, 2, tzinfo=UTC)
"""A day after the publisher of the tests begins: its whitelists hold, nothing is old."""


class FakeClock:
    """Now, and a sleep that takes no time.

    Attributes:
        now: moved on by every sleep.
        pauses_s: how long each sleep was.
    """

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now
        self.pauses_s: list[float] = []

    async def sleep(self, pause_s: float) -> None:
        """Pass the time."""
        self.pauses_s.append(pause_s)
        self.now += timedelta(seconds=pause_s)
