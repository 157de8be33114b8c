from __future__ import annotations

import asyncio
import pickle
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import (
    Corrupted,
    MirrorError,
    NotFound,
    Refused,
    StoreFull,
    TooLarge,
    TooSlow,
    Unavailable,
)
from mirror.events import Event, FetchRetried
from mirror.upstream.base import Body, Consume, Request, T, read_all
from mirror.upstream.retrying import Retrying, RetryPolicy
from tests.support.clock import FakeClock
from tests.support.faults import once, reset_after
from tests.support.loops import run, turns
from tests.support.simulated import SimulatedStratum0

FQRN = Fqrn("test.example.org")
REQUEST = Request("data/ab/cd", 100)
POLICY = RetryPolicy(retries=3, initial_s=0.5, max_s=10.0)


class Failing:
    """An upstream whose attempts fail, one after the other, and then succeed.

    Attributes:
        requests: what it was asked for.
    """

    source = "failing://"

    def __init__(self, *errors: MirrorError) -> None:
        self.requests: list[Request] = []
        self._errors = list(errors)

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """As `Upstream.fetch`."""
        self.requests.append(request)
        if self._errors:
            raise self._errors.pop(0)
        return await consume(_hello())


async def _hello() -> Body:
    yield b"hello"


class Desk:
    """A `Retrying` with everything around it to look at."""

    def __init__(self, *errors: MirrorError) -> None:
        self.inner = Failing(*errors)
        self.clock = FakeClock()
        self.events: list[Event] = []
        self._retrying = Retrying(self.inner, POLICY, FQRN, self.events.append, self.clock.sleep)

    def fetch(self, request: Request = REQUEST) -> bytes:
        """Fetch with retries."""
        return run(self._retrying.fetch(request, read_all))

    @property
    def freshness(self) -> list[bool]:
        """Of each attempt, whether it went past caches."""
        return [request.is_fresh for request in self.inner.requests]


@pytest.mark.parametrize("error", [Unavailable("503"), TooSlow("slow")])
@pytest.mark.parametrize("failures", [0, 1, 3])
def test_a_server_in_trouble_is_asked_again(error: MirrorError, failures: int) -> None:
    """After a pause each, as often as the policy says, and in the same way."""
    desk = Desk(*[error] * failures)
    assert desk.fetch() == b"hello"
    assert desk.inner.requests == [REQUEST] * (failures + 1)
    assert len(desk.clock.pauses_s) == failures


@pytest.mark.parametrize("kind", [Unavailable, TooSlow])
def test_patience_ends(kind: type[MirrorError]) -> None:
    """The last error of all is the one told."""
    errors = [kind(f"attempt {number}") for number in range(1, 5)]
    desk = Desk(*errors)
    with pytest.raises(kind, match="attempt 4"):
        desk.fetch()
    assert len(desk.inner.requests) == 4


@pytest.mark.parametrize("error", [NotFound("404"), Refused("403"), StoreFull("full")])
def test_what_will_not_change_is_not_asked_again(error: MirrorError) -> None:
    """Nor is an error of ours a reason to trouble a server."""
    desk = Desk(error)
    with pytest.raises(type(error)):
        desk.fetch()
    assert len(desk.inner.requests) == 1
    assert not desk.events


@pytest.mark.parametrize("error", [Corrupted("wrong"), TooLarge("long")])
def test_wrong_bytes_are_asked_for_past_caches(error: MirrorError) -> None:
    """At once, since it is a cache that has them, and not the server that is in trouble."""
    desk = Desk(error)
    assert desk.fetch() == b"hello"
    assert desk.freshness == [False, True]
    assert desk.clock.pauses_s == []


@pytest.mark.parametrize("kind", [Corrupted, TooLarge])
def test_wrong_bytes_are_asked_for_once_more(kind: type[MirrorError]) -> None:
    """What comes past all caches is what the origin has."""
    desk = Desk(kind("first"), kind("second"))
    with pytest.raises(kind, match="second"):
        desk.fetch()
    assert desk.freshness == [False, True]


def test_fresh_requests_are_not_repeated_for_wrong_bytes() -> None:
    """What was past all caches already cannot go further."""
    desk = Desk(Corrupted("wrong"))
    with pytest.raises(Corrupted):
        desk.fetch(Request("data/ab/cd", 100, is_fresh=True))
    assert desk.freshness == [True]


def test_fresh_requests_stay_fresh() -> None:
    """Trouble on the way past the caches is no reason to believe them again."""
    desk = Desk(Corrupted("wrong"), Unavailable("503"))
    assert desk.fetch() == b"hello"
    assert desk.freshness == [False, True, True]


@given(st.lists(st.sampled_from([Unavailable, TooSlow, Corrupted, TooLarge]), max_size=12))
def test_attempts_are_bounded(kinds: list[type[MirrorError]]) -> None:
    """Whatever the order of errors, one beyond the retries is the end, and once past caches."""
    desk = Desk(*(kind("…") for kind in kinds))
    with suppress(*kinds):
        desk.fetch()
    assert len(desk.inner.requests) <= POLICY.retries + 2
    assert sorted(desk.freshness) == desk.freshness
    assert len(desk.events) == len(desk.inner.requests) - 1


def test_further_attempts_are_told() -> None:
    """Each with its path and why; the first attempt, and giving up, are not further ones."""
    desk = Desk(Unavailable("503"), Corrupted("wrong"), TooSlow("slow"), Unavailable("last"))
    with pytest.raises(Unavailable):
        desk.fetch()
    reasons = [FetchRetried(FQRN, REQUEST.path, why) for why in ("503", "wrong", "slow")]
    assert desk.events == reasons


def test_each_attempt_begins_with_the_first_byte() -> None:
    """A consumer never gets the rest of a body whose start another call got."""
    stratum0 = SimulatedStratum0({"file": b"hello"})
    stratum0.faults["file"] = once(reset_after(3))
    bodies: list[bytes] = []

    async def consume(body: Body) -> None:
        bodies.append(b"")
        async for piece in body:
            bodies[-1] += piece

    retrying = Retrying(stratum0, POLICY, FQRN, lambda _event: None, FakeClock().sleep)
    run(retrying.fetch(Request("file", 100), consume))
    assert bodies == [b"hel", b"hello"]


def test_pauses_double() -> None:
    """Up to the longest; and by chance up to half shorter, so that not all come back at once."""
    assert [POLICY.pause_s(attempt, 0.0) for attempt in (1, 2, 3)] == [0.25, 0.5, 1.0]
    assert POLICY.pause_s(1, 0.5) == 0.375
    assert POLICY.pause_s(100, 0.0) == 5.0


@given(
    st.builds(
        RetryPolicy,
        st.integers(0, 100),
        st.integers(1, 10),
        st.floats(0, 1000, allow_nan=False),
        st.floats(0, 1000, allow_nan=False),
    ),
    st.integers(1, 1000),
    st.floats(0, 1, exclude_max=True),
)
def test_pauses_are_bounded(policy: RetryPolicy, attempt: int, draw: float) -> None:
    """No pause is longer than the longest, or negative, however many attempts there were."""
    assert 0 <= policy.pause_s(attempt, draw) <= policy.max_s


@pytest.mark.parametrize(
    ("asked_s", "least_s"), [(None, 0.25), (0.0, 0.25), (7.0, 7.25), (3600.0, 60.25)]
)
def test_a_server_is_left_alone_as_long_as_it_asks(asked_s: float | None, least_s: float) -> None:
    """On top of our own pause, and within reason: nobody makes us wait for an hour."""
    desk = Desk(Unavailable("503", retry_after_s=asked_s))
    assert desk.fetch() == b"hello"
    (pause_s,) = desk.clock.pauses_s
    assert least_s <= pause_s <= least_s + 0.25


def test_what_a_server_asks_survives_the_way_between_processes() -> None:
    """Bytes are fetched in workers, and pauses are made where their errors arrive."""
    error = pickle.loads(pickle.dumps(Unavailable("503", 7.0)))
    assert (str(error), error.retry_after_s) == ("503", 7.0)


class EveryOther:
    """An upstream that fails for some paths as long as it is alive for others.

    Attributes:
        attempts: how often each path was asked for.
    """

    source = "every other://"

    def __init__(self, failing: str, times: int) -> None:
        self.attempts: Counter[str] = Counter()
        self._failing, self._times = failing, times

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """As `Upstream.fetch`."""
        self.attempts[request.path] += 1
        await turns(3)  # time for another one to be answered
        if request.path == self._failing and self.attempts[request.path] <= self._times:
            raise Unavailable("503")
        return await consume(_hello())


def fetch_beside_others(inner: EveryOther, others: int) -> bytes:
    """One file, while others are fetched all the time."""

    async def main() -> bytes:
        clock = FakeClock()
        retrying = Retrying(inner, POLICY, FQRN, lambda _event: None, clock.sleep)

        async def go_on() -> None:
            for number in range(others):
                await retrying.fetch(Request(f"other {number}", 100), read_all)

        busy = asyncio.ensure_future(go_on())
        try:
            return await retrying.fetch(Request("failing", 100), read_all)
        finally:
            busy.cancel()

    return run(main())


def test_a_server_that_answers_others_is_asked_more_often() -> None:
    """It is there, and has trouble now and then."""
    inner = EveryOther("failing", times=15)
    assert fetch_beside_others(inner, others=1000) == b"hello"
    assert inner.attempts["failing"] == 16


@pytest.mark.parametrize(("others", "attempts"), [(1000, 16), (0, 4)])
def test_but_not_for_ever(others: int, attempts: int) -> None:
    """And one that answers nobody is given up on soon."""
    inner = EveryOther("failing", times=1000)
    with pytest.raises(Unavailable):
        fetch_beside_others(inner, others)
    assert inner.attempts["failing"] == attempts


def test_it_says_where_the_inner_one_fetches_from() -> None:
    """A decorator is not a place."""
    retrying = Retrying(Failing(), POLICY, FQRN, lambda _event: None)
    assert retrying.source == "failing://"
