from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.schedule import Pace, Schedule, Window, overlapping

NIGHT = Window(time(22), time(6), Pace(bytes_per_s=1000))
NOON = Window(time(12), time(13), Pace(requests_per_s=5, bytes_per_s=10))
USUAL = Pace(requests_per_s=50, bytes_per_s=100)

times = st.times()
rates = st.none() | st.floats(1, 1e12)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any hours but none at all."""
    begins, ends = draw(st.lists(times, min_size=2, max_size=2, unique=True))
    return Window(begins, ends, Pace())


@pytest.mark.parametrize(
    ("moment", "is_night"),
    [
        (time(21, 59, 59, 999_999), False),
        (time(22), True),
        (time(23, 59), True),
        (time(0), True),
        (time(5, 59), True),
        (time(6), False),
        (time(12), False),
    ],
)
def test_a_window_across_midnight(moment: time, *, is_night: bool) -> None:
    """It begins in the evening and ends in the morning; its end is not in it."""
    assert NIGHT.holds(moment) == is_night


def test_a_window_replaces_what_it_states() -> None:
    """What it does not mention stays as at other times."""
    schedule = Schedule(USUAL, (NIGHT, NOON))
    assert schedule.pace_at(time(9)) == USUAL
    assert schedule.pace_at(time(12, 30)) == NOON.pace
    assert schedule.pace_at(time(1)) == Pace(requests_per_s=50, bytes_per_s=1000)


@given(windows(), windows())
def test_two_windows_overlap_when_a_moment_is_in_both(one: Window, two: Window) -> None:
    """If they do at all, they do where one of them begins."""
    both = [each for each in (one.begins, two.begins) if one.holds(each) and two.holds(each)]
    assert one.overlaps(two) == two.overlaps(one) == bool(both)


@given(windows(), windows(), times)
def test_no_moment_is_in_two_windows_that_do_not_overlap(
    one: Window, two: Window, moment: time
) -> None:
    """So it is always clear which pace counts."""
    if not one.overlaps(two):
        assert not (one.holds(moment) and two.holds(moment))


def test_overlapping_windows_are_named() -> None:
    """By their places, so that the operator can be told which."""
    late = Window(time(5), time(7), Pace())
    assert overlapping([NIGHT, NOON, late]) == [(0, 2)]
    assert overlapping([NIGHT, NOON]) == []


def test_whether_anything_is_limited() -> None:
    """A limit at one hour of the day is one."""
    assert not Schedule().is_limited
    assert Schedule(Pace(requests_per_s=1)).is_limited
    assert Schedule(windows=(NIGHT,)).is_limited
