from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import Corrupted, NotFound, UpstreamError
from mirror.events import Event, SourceLied, SourceSuspended
from mirror.replication.lanes import Lanes, NotByLane, Part, Wanted
from mirror.replication.spread import Spread
from tests.support.loops import run_timeless

WANTED = [Wanted(ContentHash.of(Algorithm.SHA1, b"%d" % number), 100) for number in range(40)]
URLS = ["http://stratum0", "http://one", "http://two"]
Errors = Mapping[int, UpstreamError]


class FakeLanes:
    """What a source does is a function of what it is asked for.

    Attributes:
        sources: by number: which positions fail, and why; an event makes it wait first.
        asked: sources, in the order in which they were asked.
        dropped: parts that nobody needs.
        cancelled: sources that nobody waits for any more.
    """

    def __init__(self, *sources: Callable[[Sequence[Wanted]], Errors]) -> None:
        self.sources = list(sources)
        self.waits: dict[int, asyncio.Event] = {}
        self.asked: list[int] = []
        self.dropped: list[int] = []
        self.cancelled: list[int] = []
        self.has_died = False

    async def fetch(self, wanted: Sequence[Wanted], source: int) -> Part:
        """As `Lanes.fetch`."""
        self.asked.append(source)
        if source in self.waits:
            try:
                await self.waits[source].wait()
            except asyncio.CancelledError:
                self.cancelled.append(source)
                raise
        await asyncio.sleep(0)
        failed = self.sources[source](wanted)
        errors = {wanted[position].content_hash: error for position, error in failed.items()}
        sizes = [None if position in failed else 10 for position in range(len(wanted))]
        return Part(wanted, sizes, errors, None if self.has_died else cast("Any", self), source)

    def drop(self, part: Part) -> None:
        """As `Lanes.drop`."""
        self.dropped.append(part.number)


def good(wanted: Sequence[Wanted]) -> Errors:
    """Everything is delivered."""
    return {}


def dead(wanted: Sequence[Wanted]) -> Errors:
    """Nothing is."""
    return {position: NotByLane("refused") for position in range(len(wanted))}


def lying(wanted: Sequence[Wanted]) -> Errors:
    """One has other bytes."""
    return {1: Corrupted("other bytes")}


def lacking(wanted: Sequence[Wanted]) -> Errors:
    """It has none of them yet."""
    return {position: NotFound("404") for position in range(len(wanted))}


class Spreading:
    """A spread over fake lanes, and what it tells."""

    def __init__(self, *sources: Callable[[Sequence[Wanted]], Errors]) -> None:
        self.lanes = FakeLanes(*sources)
        self.events: list[Event] = []
        self.urls = URLS[: len(sources)]

    def fetch(self, times: int = 1) -> list[list[Part]]:
        """Fetch everything, so many times."""

        async def main() -> list[list[Part]]:
            lanes = cast("Lanes", self.lanes)
            spread = Spread(lanes, self.urls, Fqrn("test.example.org"), self.events.append)
            try:
                return [await spread.fetch(WANTED) for _ in range(times)]
            finally:
                await spread.close()

        return run_timeless(main())


def brought(parts: Sequence[Part]) -> int:
    """How many objects."""
    return sum(part.count for part in parts)


def test_one_source() -> None:
    """There is no choice."""
    spreading = Spreading(good)
    (parts,) = spreading.fetch()
    assert brought(parts) == len(WANTED)
    assert spreading.lanes.asked == [0]


def test_stratum0_is_spared() -> None:
    """As long as mirrors are good."""
    spreading = Spreading(good, good, good)
    assert all(brought(parts) == len(WANTED) for parts in spreading.fetch(10))
    assert 0 not in spreading.lanes.asked


def test_a_dead_mirror_costs_a_detour() -> None:
    """What it did not bring, the next one does; soon it is not asked any more."""
    spreading = Spreading(good, dead)
    assert all(brought(parts) == len(WANTED) for parts in spreading.fetch(10))
    assert spreading.lanes.asked.count(1) < 6
    (suspended,) = [each for each in spreading.events if isinstance(each, SourceSuspended)]
    assert suspended.source == URLS[1]


def test_a_liar_is_named_and_not_asked_again() -> None:
    """As soon as another one has shown what it can do. The few that are left are not bulk."""
    spreading = Spreading(good, lying, good)
    fetched = spreading.fetch(10)
    assert all(brought(parts) >= len(WANTED) - 1 for parts in fetched)
    assert brought(fetched[-1]) == len(WANTED)
    assert spreading.lanes.asked.count(1) <= 2
    lies = {(each.source, each.reason) for each in spreading.events if isinstance(each, SourceLied)}
    assert lies == {(URLS[1], "other bytes")}


def test_a_quick_liar_is_better_than_the_slow() -> None:
    """Nine right objects of ten, all of them proved, in a hundredth of the time."""
    spreading = Spreading(good, lying)
    lanes = spreading.lanes

    async def slowly(wanted: Sequence[Wanted], source: int) -> Part:
        await asyncio.sleep(30.0 if source == 0 else 0.3)
        return await FakeLanes.fetch(lanes, wanted, source)

    lanes.fetch = slowly  # type: ignore[method-assign]

    async def main() -> float:
        spread = Spread(
            cast("Lanes", lanes), spreading.urls, Fqrn("test.example.org"), spreading.events.append
        )
        for _ in range(3):  # both become known
            assert brought(await spread.fetch(WANTED)) >= len(WANTED) - 1
        lanes.asked.clear()
        for _ in range(20):
            await spread.fetch(WANTED[:1] * 2 + WANTED[2:])
        await spread.close()
        return lanes.asked.count(1) / 20

    assert run_timeless(main()) >= 0.9


def test_a_mirror_that_lags_is_no_bad_one() -> None:
    """That something is not there yet is told to nobody."""
    spreading = Spreading(good, lacking)
    assert all(brought(parts) == len(WANTED) for parts in spreading.fetch(4))
    assert spreading.events == []


def test_nobody_has_it() -> None:
    """All were asked, once each; the rest is for the careful way."""
    spreading = Spreading(dead, dead, dead)
    (parts,) = spreading.fetch()
    assert brought(parts) == 0
    assert sorted(spreading.lanes.asked) == [0, 1, 2]


def test_a_lane_that_died_says_nothing_about_a_source() -> None:
    """It is not suspended for that."""
    spreading = Spreading(dead)
    spreading.lanes.has_died = True
    spreading.fetch(10)
    assert len(spreading.lanes.asked) == 10


def test_a_late_part_is_overtaken() -> None:
    """It is ordered elsewhere, and the late one is told to stop."""
    spreading = Spreading(good, good, good)
    lanes = spreading.lanes

    async def main() -> None:
        spread = Spread(
            cast("Lanes", lanes), spreading.urls, Fqrn("test.example.org"), spreading.events.append
        )
        lanes.waits = {1: asyncio.Event()}
        parts = await spread.fetch(WANTED)
        assert [part.number for part in parts] == [2]
        assert brought(parts) == len(WANTED)
        await spread.close()

    run_timeless(main())
    assert lanes.dropped == []
    assert lanes.cancelled == [1]


def test_a_late_part_is_overtaken_by_a_doubtful_source_too() -> None:
    """One that lied is better than waiting for one that is silent."""
    spreading = Spreading(lying, dead)
    lanes = spreading.lanes

    async def main() -> None:
        spread = Spread(
            cast("Lanes", lanes), spreading.urls, Fqrn("test.example.org"), spreading.events.append
        )
        await spread.fetch(WANTED)  # now Stratum 0 is suspended, since it lied
        lanes.asked.clear()
        lanes.sources[1] = good
        lanes.waits = {1: asyncio.Event()}
        parts = await spread.fetch(WANTED)
        assert lanes.asked == [1, 0]
        assert brought(parts) >= len(WANTED) - 1
        await spread.close()

    run_timeless(main())


def test_the_overtaker_may_fail() -> None:
    """Then the late one is waited for."""
    spreading = Spreading(good, good, dead)
    lanes = spreading.lanes

    async def main() -> None:
        spread = Spread(
            cast("Lanes", lanes), spreading.urls, Fqrn("test.example.org"), spreading.events.append
        )
        lanes.waits = {1: asyncio.Event()}
        fetching = asyncio.create_task(spread.fetch(WANTED))
        await asyncio.sleep(60)  # more than anybody's patience
        assert lanes.asked == [1, 2]
        lanes.waits[1].set()
        assert brought(await fetching) == len(WANTED)
        await spread.close()

    run_timeless(main())


def test_cancelled_nothing_goes_on() -> None:
    """`close` waits for what was under way to have stopped."""
    spreading = Spreading(good, good)
    lanes = spreading.lanes

    async def main() -> None:
        spread = Spread(
            cast("Lanes", lanes), spreading.urls, Fqrn("test.example.org"), spreading.events.append
        )
        lanes.waits = {0: asyncio.Event(), 1: asyncio.Event()}
        fetching = asyncio.create_task(spread.fetch(WANTED))
        await asyncio.sleep(60)  # both were asked by now
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        await spread.close()
        assert sorted(lanes.cancelled) == [0, 1]

    run_timeless(main())
