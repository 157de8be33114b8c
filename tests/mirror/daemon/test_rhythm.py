"""How long until the next look; and at which hours."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.daemon.rhythm import Hours, Rhythm, next_allowed, pause_s

RHYTHM = Rhythm(interval_s=60, slowest_s=600, backoff_s=1800, jitter=0.1)
NIGHT = Hours(time(22), time(6))
DAY = 86_400.0


def moment(*parts: int) -> datetime:
    """A moment of the host's time, which is UTC here."""
    year, month, day, *clock = parts
    hour, minute, second = (*clock, 0)[:3] if len(clock) == 2 else clock
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet_s", "failures", "is_told", "pause"),
    [
        (0.0, 0, False, 60.0),
        (3000.0, 0, False, 60.0),
        (6000.0, 0, False, 120.0),
        (DAY, 0, False, 600.0),
        (1000 * DAY, 0, False, 600.0),
        (0.0, 0, True, 600.0),
        (0.0, 1, False, 60.0),
        (0.0, 2, True, 120.0),
        (0.0, 5, False, 960.0),
        (DAY, 6, False, 1800.0),
        (0.0, 10_000, False, 1800.0),
    ],
)
def test_pauses(quiet_s: float, failures: int, pause: float, *, is_told: bool) -> None:
    """Quiet repositories and failing ones are left alone for longer, within bounds."""
    assert pause_s(RHYTHM, quiet_s, failures, lambda: 0.0, is_told=is_told) == pause


@given(random=st.floats(0, 1), quiet_s=st.floats(0, 1e9), failures=st.integers(0, 99))
def test_blurred(random: float, quiet_s: float, failures: int) -> None:
    """By a tenth at most, and never longer than was said."""
    exact = pause_s(RHYTHM, quiet_s, failures, lambda: 0.0)
    assert 0.899 * exact <= pause_s(RHYTHM, quiet_s, failures, lambda: random) <= exact


@pytest.mark.parametrize(
    ("now", "allowed"),
    [
        (moment(2026, 11, 21, 23, 30), moment(2026, 11, 21, 23, 30)),
        (moment(2026, 11, 22, 5, 59), moment(2026, 11, 22, 5, 59)),
        (moment(2026, 11, 22, 6, 0), moment(2026, 11, 22, 22, 0)),
        (moment(2026, 11, 22, 12, 0, 7), moment(2026, 11, 22, 22, 0)),
    ],
)
def test_hours(now: datetime, allowed: datetime) -> None:
    """Outside of them the next one is waited for."""
    assert next_allowed(now, [NIGHT]) == allowed


def test_hours_tomorrow() -> None:
    """It may be tomorrow's."""
    late = moment(2026, 11, 21, 12, 30)
    assert next_allowed(late, [Hours(time(1), time(2))]) == moment(2026, 11, 22, 1, 0)
    assert next_allowed(late, []) == late
