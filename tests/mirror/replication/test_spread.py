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
from mirror.upstream.scoring import Scoreboard
from mirror.upstream.track_record import Delivery, Fault
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


def spread_over(
    spreading: Spreading, singles: Scoreboard | None = None
) -> tuple[Spread, FakeLanes]:
    """One that goes on, and where it asks."""
    lanes = cast("Lanes", spreading.lanes)
    fqrn = Fqrn("test.example.org")
    return Spread(lanes, spreading.urls, fqrn, spreading.events.append, singles), spreading.lanes


def test_what_a_liar_spoiled_is_ordered_elsewhere() -> None:
    """Once, and not of the liar."""
    spreading = Spreading(dead, lying, good)
    spreading.lanes.sources[2] = dead

    async def main() -> None:
        spread, lanes = spread_over(spreading)
        while not lanes.asked or lanes.asked[-1] != 1:
            await spread.fetch(WANTED)
        spoiled = WANTED[1]
        assert 1 in spread.asked(spoiled.content_hash)
        assert not spread.asked(WANTED[0].content_hash)
        lanes.asked.clear()
        lanes.sources[2] = good
        (part,) = [each for each in await spread.fetch([spoiled]) if each.count]
        assert part.number == 2
        assert 1 not in lanes.asked
        assert not spread.asked(spoiled.content_hash)
        await spread.close()

    run_timeless(main())


def test_what_nobody_has_is_not_ordered_again() -> None:
    """All were asked; the careful way finds out what that means."""
    spreading = Spreading(lacking, lacking)

    async def main() -> None:
        spread, _ = spread_over(spreading)
        await spread.fetch(WANTED)
        assert not any(spread.asked(each.content_hash) for each in WANTED)
        await spread.close()

    run_timeless(main())


def surveyed(*latencies_s: float | None) -> Scoreboard:
    """What is known when the manifest is: None for the dead."""
    board = Scoreboard(len(latencies_s), reserve=0)
    for index, latency_s in enumerate(latencies_s):
        board.begin(index)
        if latency_s is None:
            board.record_failure(index, 0.0, Fault.FAILED)
        else:
            board.record_success(index, 0.0, Delivery(latency_s, 0.0, 100))
    return board


def test_who_was_slow_before_gets_nothing_at_first() -> None:
    """The first part that it is given may be a thousand objects late."""
    spreading = Spreading(good, good, good)
    lanes = spreading.lanes
    lanes.waits = {1: asyncio.Event(), 2: asyncio.Event()}

    async def main() -> None:
        spread, _ = spread_over(spreading, surveyed(0.001, 0.1, 0.001))
        parts = [asyncio.create_task(spread.fetch(WANTED)) for _ in range(10)]
        await asyncio.sleep(0.1)
        assert lanes.asked == [2] * 10
        for each in lanes.waits.values():
            each.set()
        await asyncio.gather(*parts)
        await spread.close()

    run_timeless(main())


def test_who_was_dead_before_is_not_asked() -> None:
    """As long as others deliver; and it is told."""
    spreading = Spreading(good, dead, good)

    async def main() -> None:
        spread, lanes = spread_over(spreading, surveyed(0.001, None, 0.001))
        for _ in range(10):
            assert len(await spread.fetch(WANTED)) == 1
        assert 1 not in lanes.asked
        await spread.close()

    run_timeless(main())
    (suspended,) = [each for each in spreading.events if isinstance(each, SourceSuspended)]
    assert suspended.source == URLS[1]


def test_who_lies_is_not_asked_for_single_objects_either() -> None:
    """What is left to the careful way is what it lied about."""
    spreading = Spreading(good, lying)
    singles = surveyed(0.001, 0.001)

    async def main() -> None:
        spread, _ = spread_over(spreading, singles)
        await spread.fetch(WANTED)
        await spread.close()

    run_timeless(main())
    assert singles.is_suspended(1)


def test_overtaken_by_nobody() -> None:
    """Who is late, and still the only one to deliver, is no straggler."""
    spreading = Spreading(dead, good)
    lanes = spreading.lanes

    async def main() -> None:
        spread, _ = spread_over(spreading)
        for _ in range(10):
            lanes.waits = {1: asyncio.Event()}
            fetching = asyncio.create_task(spread.fetch(WANTED))
            await asyncio.sleep(6)
            lanes.waits[1].set()
            assert brought(await fetching) == len(WANTED)
        await spread.close()

    run_timeless(main())
    late = [each for each in spreading.events if isinstance(each, SourceSuspended)]
    assert URLS[1] not in {each.source for each in late}


def test_a_busy_liar_is_better_than_an_idle_slow_one() -> None:
    """What counts is what it does in all, be it much at the same time."""
    spreading = Spreading(good, lying)
    lanes = spreading.lanes
    under_way = [0, 0]

    async def together(wanted: Sequence[Wanted], source: int) -> Part:
        under_way[source] += 1
        await asyncio.sleep(0.3 if source == 0 else 0.01 * under_way[source])
        under_way[source] -= 1
        return await FakeLanes.fetch(lanes, wanted, source)

    lanes.fetch = together  # type: ignore[method-assign]

    async def main() -> None:
        spread, _ = spread_over(spreading, surveyed(0.1, 0.001))
        for _ in range(10):
            await asyncio.gather(*(spread.fetch(WANTED) for _ in range(20)))
        await spread.close()

    run_timeless(main())
    assert lanes.asked.count(1) >= 180


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
