from __future__ import annotations

from datetime import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.pacing import Bucket, Pacer, Pacing
from mirror.upstream.schedule import Pace, Schedule, Window

DAY, NIGHT = time(12), time(0)
BURST_S = 0.1

takes = st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1000)), min_size=2, max_size=40)


@given(takes, st.floats(0.01, 10_000))
def test_never_more_than_the_rate(takes: list[tuple[float, float]], rate: float) -> None:
    """Between any two moments at which somebody may go on, whoever came when."""
    bucket, now_s = Bucket(), 0.0
    released = []
    for gap_s, amount in takes:
        now_s += gap_s
        released.append((now_s + bucket.delay_s(now_s, amount, rate), amount))
    for first, last in combinations(range(len(released)), 2):
        let_go = sum(amount for _, amount in released[first + 1 : last + 1])
        allowed = rate * (released[last][0] - released[first][0] + BURST_S)
        assert let_go <= allowed * (1 + 1e-6) + 1e-6


@given(takes, st.floats(0.01, 10_000))
def test_first_come_first_served(takes: list[tuple[float, float]], rate: float) -> None:
    """Whoever took later does not go on earlier."""
    bucket, now_s = Bucket(), 0.0
    released = []
    for gap_s, amount in takes:
        now_s += gap_s
        released.append(now_s + bucket.delay_s(now_s, amount, rate))
    assert all(later >= earlier - 1e-6 for earlier, later in zip(released, released[1:]))  # noqa: B905, RUF007 - pairs


def test_the_rate_is_reached() -> None:
    """Asked without a pause, it gives what is allowed, and not less."""
    bucket, now_s = Bucket(), 0.0
    for _ in range(1000):
        now_s += bucket.delay_s(now_s, 1, 50)
    assert now_s == pytest.approx((1000 - 50 * BURST_S) / 50)


def test_idle_time_is_not_saved_up() -> None:
    """After a night without work the morning does not begin with a flood."""
    bucket = Bucket()
    bucket.delay_s(0, 1, 100)
    assert bucket.delay_s(10_000, 100 * BURST_S, 100) == 0
    assert bucket.delay_s(10_000, 1, 100) == pytest.approx(0.01)


def test_one_that_is_larger_than_the_rate() -> None:
    """It goes on after its own time, and the next one after that."""
    bucket = Bucket()
    assert bucket.delay_s(0, 1000, 100) == pytest.approx(9.9)
    assert bucket.delay_s(0, 100, 100) == pytest.approx(10.9)


def test_without_a_limit_nobody_waits() -> None:
    """And what was owed before is forgiven."""
    bucket = Bucket()
    bucket.delay_s(0, 1000, 1)
    assert bucket.delay_s(1, 10**12, None) == 0
    assert bucket.delay_s(1, 0.1, 1) == 0


def test_the_hour_counts() -> None:
    """What is owed is paid at the pace of the time in which it is waited for."""
    schedule = Schedule(Pace(bytes_per_s=10), (Window(time(22), time(6), Pace(bytes_per_s=1000)),))
    pacer = Pacer(schedule)
    assert pacer.delay_s(0, DAY, size_bytes=101) == pytest.approx(10)
    assert pacer.delay_s(0, NIGHT, size_bytes=0) == 0
    assert pacer.delay_s(0, NIGHT, size_bytes=900) == pytest.approx(1)


def test_requests_and_bytes_are_counted_apart() -> None:
    """Bytes do not use up requests."""
    pacer = Pacer(Schedule(Pace(requests_per_s=10, bytes_per_s=1000)))
    assert pacer.delay_s(0, DAY, requests=1) == 0
    assert pacer.delay_s(0, DAY, size_bytes=600) == pytest.approx(0.5)
    assert pacer.delay_s(0, DAY, requests=1) == pytest.approx(0.1)


def test_each_server_for_itself_and_all_in_sum() -> None:
    """Two repositories of one server share its limit; two servers share the sum."""
    total, source = Schedule(Pace(requests_per_s=30)), Schedule(Pace(requests_per_s=20))
    pacing = Pacing(total, source)
    sum_, one = pacing.towards("http://One.example.org:8000/cvmfs/a.example.org")
    assert pacing.towards("http://me:secret@one.example.org:8000/cvmfs/b") == (sum_, one)
    other = pacing.towards("http://two.example.org/cvmfs/a.example.org")
    assert other[0] is sum_
    assert other[1] is not one


@pytest.mark.parametrize(
    ("pacing", "count"),
    [
        (Pacing(), 0),
        (Pacing(Schedule(), Schedule()), 0),
        (Pacing(Schedule(Pace(1))), 1),
        (Pacing(None, Schedule(Pace(1))), 1),
    ],
)
def test_nothing_to_wait_for(pacing: Pacing, count: int) -> None:
    """Without limits there are no pacers, so nothing is spent on them."""
    assert len(pacing.towards("http://one.example.org/")) == count
