from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.upstream.concurrency import AdaptiveLimit, ConcurrencyRange

SIZE = 8 * 1024
"""A typical object."""


class Path:
    """A simulated way to a server: answers come as fast as round trip and bandwidth let them.

    Attributes:
        round_trip_s: how long an answer takes at least.
        most_per_s: how many answers the way lets through.
        failing_above: with more under way than this, every tenth fails.
    """

    def __init__(
        self, round_trip_s: float, most_per_s: float, failing_above: int | None = None
    ) -> None:
        self.round_trip_s = round_trip_s
        self.most_per_s = most_per_s
        self.failing_above = failing_above
        self.now_s = 0.0
        self.count = 0

    def answer(self, limit: AdaptiveLimit) -> None:
        """One answer, with as many under way as the limit allows."""
        self.now_s += max(self.round_trip_s / limit.value, 1 / self.most_per_s)
        self.count += 1
        is_too_much = self.failing_above is not None and limit.value > self.failing_above
        is_failure = is_too_much and self.count % 10 == 0
        limit.record(self.now_s, 0 if is_failure else SIZE, is_failure=is_failure)

    def settle(self, limit: AdaptiveLimit, answers: int = 20_000) -> list[int]:
        """Many answers; returns what the limit was after each of the last half."""
        values = []
        for _ in range(answers):
            self.answer(limit)
            values.append(limit.value)
        return values[answers // 2 :]


def test_what_did_not_need_the_limit_says_nothing_about_it() -> None:
    """A trickle brings no more with a higher limit; the flood behind it still finds it growing."""
    limit = AdaptiveLimit(ConcurrencyRange())
    path = Path(0.1, 1e6)
    path.settle(limit, 60)
    before = limit.value
    for number in range(1000):
        limit.record(path.now_s + number, SIZE, is_failure=False, is_tight=False)
    assert limit.value == before
    path.now_s += 1000
    path.settle(limit, 600)
    assert limit.value == 256


def test_failures_count_even_in_a_trickle() -> None:
    """A server that cannot take it is asked less."""
    limit = AdaptiveLimit(ConcurrencyRange())
    for number in range(40):
        limit.record(number, 0, is_failure=True, is_tight=False)
    assert limit.value < 16


@pytest.mark.parametrize("round_trip_s", [0.05, 0.15, 0.3])
def test_it_grows_on_a_long_way(round_trip_s: float) -> None:
    """Where waiting is all that is done, more under way bring more, up to the highest."""
    limit = AdaptiveLimit(ConcurrencyRange())
    assert min(Path(round_trip_s, 1e6).settle(limit)) == 256


def test_it_stays_on_a_full_way() -> None:
    """Where the bandwidth is used up, more under way bring nothing, and so there are no more."""
    limit = AdaptiveLimit(ConcurrencyRange())
    assert max(Path(0.001, 1000).settle(limit)) <= 16 * 1.5**2


def test_it_finds_the_knee() -> None:
    """Between the two it comes near the number that fills the way, and not far beyond."""
    limit = AdaptiveLimit(ConcurrencyRange())
    values = Path(0.1, 600).settle(limit)  # 60 under way fill it
    assert min(values) >= 50
    assert max(values) <= 60 * 1.5**2


def test_it_shrinks_when_it_hurts() -> None:
    """Where a server fails under load, the load becomes what it bears."""
    limit = AdaptiveLimit(ConcurrencyRange(initial=256))
    path = Path(0.1, 1e6, failing_above=40)
    values = path.settle(limit)
    assert min(values) <= 40
    assert sum(values) / len(values) <= 40 * 1.5


def test_failures_bring_it_down_at_once() -> None:
    """One window with a failure is enough."""
    limit = AdaptiveLimit(ConcurrencyRange(initial=100))
    limit.record(0.0, SIZE, is_failure=False)
    for number in range(100):
        limit.record(1.0 + number, 0, is_failure=number == 50)
    assert limit.value == 70


def test_it_recovers_after_a_bad_hour() -> None:
    """What once was reached is not demanded for ever: growth is tried again."""
    limit = AdaptiveLimit(ConcurrencyRange())
    path = Path(0.1, 1e6, failing_above=0)
    path.settle(limit, 2000)
    assert limit.value <= 4
    path.failing_above = None
    assert min(path.settle(limit)) == 256


def test_it_tries_again_when_the_way_gets_wider() -> None:
    """A best rate fades, and then more are tried, also where all went well."""
    limit = AdaptiveLimit(ConcurrencyRange())
    path = Path(0.1, 300)
    assert max(path.settle(limit)) < 100
    path.most_per_s = 1e6
    assert min(path.settle(limit)) > 150


def test_windows_are_not_judged_too_early() -> None:
    """Answers that all come in one instant say nothing about a rate."""
    limit = AdaptiveLimit(ConcurrencyRange(initial=16))
    for number in range(1000):
        limit.record(number * 1e-5, SIZE, is_failure=False)
    assert limit.value == 16


@pytest.mark.parametrize(
    ("bounds", "value"),
    [
        (ConcurrencyRange(), 16),
        (ConcurrencyRange(initial=1000, highest=100), 100),
        (ConcurrencyRange(initial=0, lowest=4), 4),
        (ConcurrencyRange(highest=8), 8),
    ],
)
def test_it_begins_within_bounds(bounds: ConcurrencyRange, value: int) -> None:
    """A beginning outside of the bounds is moved to the nearer one."""
    assert AdaptiveLimit(bounds).value == value


answers = st.lists(st.tuples(st.floats(0, 10), st.integers(0, 2**40), st.booleans()), max_size=400)


@given(st.integers(1, 50), st.integers(0, 50), st.integers(0, 100), answers)
def test_it_stays_within_bounds(
    lowest: int, width: int, initial: int, answers: list[tuple[float, int, bool]]
) -> None:
    """Whatever comes, and however fast: never less than the lowest or more than the highest."""
    limit = AdaptiveLimit(ConcurrencyRange(initial, lowest, lowest + width))
    now_s = 0.0
    for pause_s, received_bytes, is_failure in answers:
        now_s += pause_s
        limit.record(now_s, received_bytes, is_failure=is_failure)
        assert lowest <= limit.value <= lowest + width
