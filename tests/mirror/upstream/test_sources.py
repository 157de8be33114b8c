from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import (
    Corrupted,
    NotFound,
    Refused,
    StoreFull,
    TooLarge,
    TooSlow,
    Unavailable,
    UpstreamError,
)
from mirror.events import (
    Event,
    FetchRetried,
    SourceFailed,
    SourceLied,
    SourceRecovered,
    SourceSuspended,
)
from mirror.upstream.base import Body, Consume, Request, T, Upstream, read_all
from mirror.upstream.retrying import RetryPolicy
from mirror.upstream.sources import Sources, sources
from tests.support.loops import is_cancelled_at, run_timeless
from tests.support.simulated import SimulatedStratum0

FQRN = Fqrn("test.example.org")
FILES = {f"data/{number:02}": b"%d" % number * 1000 for number in range(100)}


@dataclass(eq=False)
class Server:
    """A server that can be as bad as need be.

    Attributes:
        source: its URL.
        answers_s: how long it takes to answer.
        error: what it answers with instead.
        lies: whether it answers with other bytes.
        lacks: what it does not have.
        asked: for which paths it was asked, in order.
    """

    source: str
    answers_s: float = 0.02
    error: UpstreamError | None = None
    lies: bool = False
    lacks: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    fresh: list[bool] = field(default_factory=list)

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """As `Upstream.fetch`."""
        self.asked.append(request.path)
        self.fresh.append(request.is_fresh)
        await asyncio.sleep(self.answers_s)
        if self.error is not None:
            raise self.error
        if request.path in self.lacks or request.path not in FILES:
            raise NotFound(f"{self.source}/{request.path}: the server answered 404")
        return await consume(self._body(FILES[request.path]))

    async def _body(self, content: bytes) -> Body:
        await asyncio.sleep(0.01)
        yield b"lies" if self.lies else content


class Pauses:
    """Sleeps, and remembers for how long."""

    def __init__(self) -> None:
        self.pauses_s: list[float] = []

    async def __call__(self, pause_s: float) -> None:
        """Sleep."""
        self.pauses_s.append(pause_s)
        await asyncio.sleep(pause_s)


class Site:
    """Several servers, and what happened."""

    def __init__(self, *servers: Upstream, retries: int = 2) -> None:
        self.events: list[Event] = []
        self.pauses = Pauses()
        self._servers = servers
        self._policy = RetryPolicy(retries)

    def sources(self) -> Sources:
        """As `mirror.wiring` makes them."""
        return sources(self._servers, self._policy, FQRN, self.events.append, self.pauses)

    async def fetch_all(
        self, paths: Sequence[str] = tuple(FILES), *, apart_s: float = 0.0
    ) -> list[bytes | UpstreamError]:
        """All at once, or one after the other with a pause in between."""
        together = self.sources()
        if not apart_s:
            return await asyncio.gather(*(fetch(together, path) for path in paths))
        results = []
        for path in paths:
            results.append(await fetch(together, path))
            await asyncio.sleep(apart_s)
        return results

    def heard(self, kind: type[Event]) -> list[str]:
        """Whom the events of a kind are about."""
        return [getattr(event, "source", "") for event in self.events if isinstance(event, kind)]


async def fetch(upstream: Upstream, path: str) -> bytes | UpstreamError:
    """One file, verified; or why not."""

    async def verified(body: Body) -> bytes:
        content = await read_all(body)
        if content != FILES[path]:
            raise Corrupted(f"{path} came with another hash")
        return content

    try:
        return await upstream.fetch(Request(path, 10_000), verified)
    except UpstreamError as error:
        return error


STRATUM0, ONE, TWO = "http://stratum0", "http://one", "http://two"


# --- whom to ask ----------------------------------------------------------------------------------


def test_stratum_0_is_spared() -> None:
    """Good mirrors share the work."""
    stratum0, one, two = Server(STRATUM0), Server(ONE), Server(TWO)
    assert run_timeless(Site(stratum0, one, two).fetch_all()) == list(FILES.values())
    assert stratum0.asked == []
    assert len(one.asked) == len(two.asked) == 50


def test_a_dead_source_costs_a_few_requests() -> None:
    """Not one for every object, and no pause for any."""
    dead, good = Server(ONE, error=Unavailable("refused")), Server(TWO)
    site = Site(Server(STRATUM0), dead, good)
    assert run_timeless(site.fetch_all(apart_s=0.01)) == list(FILES.values())
    assert 1 <= len(dead.asked) <= 3
    assert site.pauses.pauses_s == []


def test_a_liar_is_named_and_avoided() -> None:
    """Its bytes count for nothing, and somebody else is asked."""
    liar, good = Server(ONE, lies=True), Server(TWO)
    site = Site(Server(STRATUM0), liar, good)
    assert run_timeless(site.fetch_all(apart_s=0.01)) == list(FILES.values())
    assert len(liar.asked) == 1
    assert site.heard(SourceLied) == [ONE]
    assert site.heard(SourceFailed) == []


def test_all_at_once_a_liar_is_named_too() -> None:
    """Though many requests are under way when it is found out."""
    site = Site(Server(STRATUM0), Server(ONE, lies=True), Server(TWO))
    assert run_timeless(site.fetch_all()) == list(FILES.values())
    assert set(site.heard(SourceLied)) == {ONE}


@pytest.mark.parametrize("error", [Refused("403"), TooSlow("slow"), TooLarge("more and more")])
def test_whatever_goes_wrong_another_one_is_asked(error: UpstreamError) -> None:
    """At once."""
    site = Site(Server(STRATUM0), Server(ONE, error=error))
    assert run_timeless(site.fetch_all()) == list(FILES.values())
    assert set(site.heard(SourceFailed)) == {ONE}
    assert site.heard(FetchRetried) == []


def test_with_stratum_0_dead_a_mirror_does() -> None:
    """Nothing is ever asked of Stratum 0."""
    stratum0 = Server(STRATUM0, error=Unavailable("no route"))
    assert run_timeless(Site(stratum0, Server(ONE)).fetch_all()) == list(FILES.values())
    assert stratum0.asked == []


def test_one_that_recovers_is_used_again() -> None:
    """After a pause, a probe, and good news."""
    one = Server(ONE, error=Unavailable("restarting"))
    site = Site(Server(STRATUM0), one)

    async def main() -> None:
        together = site.sources()
        for path in list(FILES)[:10]:
            await fetch(together, path)
        one.error = None
        await asyncio.sleep(5)
        for path in list(FILES)[:10]:
            await fetch(together, path)

    run_timeless(main())
    assert len(one.asked) == 3 + 10
    assert site.heard(SourceRecovered) == [ONE]


def test_a_server_that_asks_for_a_pause_gets_one() -> None:
    """It is not asked before, and nobody waits for it."""
    one = Server(ONE, error=Unavailable("503", retry_after_s=30.0))
    site = Site(Server(STRATUM0), one)
    assert run_timeless(site.fetch_all(apart_s=0.01)) == list(FILES.values())
    assert len(one.asked) == 1


# --- what is not there ----------------------------------------------------------------------------


def test_what_one_lacks_another_may_have() -> None:
    """A mirror that lags behind is no trouble, and no news."""
    mirror = Server(ONE, lacks=frozenset(FILES))
    site = Site(Server(STRATUM0), mirror)
    assert run_timeless(site.fetch_all()) == list(FILES.values())
    assert site.events == []


def test_what_nobody_has_is_not_found() -> None:
    """All were asked once, and nobody is asked again."""
    servers = Server(STRATUM0), Server(ONE), Server(TWO)
    (error,) = run_timeless(Site(*servers).fetch_all(["data/none"]))
    assert isinstance(error, NotFound)
    assert all(server.source in str(error) for server in servers)
    assert [server.asked for server in servers] == [["data/none"]] * 3


def test_the_dead_have_no_say_in_what_is_there() -> None:
    """One that never answered does not make it doubtful that something is gone."""
    dead = Server(STRATUM0, error=Unavailable("no route"))
    site = Site(dead, Server(ONE))
    errors = run_timeless(site.fetch_all(["data/none"] * 5, apart_s=0.01))
    assert all(isinstance(error, NotFound) for error in errors)
    assert len(dead.asked) == 3  # until it was suspended


def test_one_that_answered_before_may_have_it() -> None:
    """It is in trouble now, so the object cannot be had, but nobody says that it is gone."""
    one = Server(ONE)
    site = Site(Server(STRATUM0, lacks=frozenset({"data/01"})), one, retries=0)

    async def main() -> bytes | UpstreamError:
        together = site.sources()
        await fetch(together, "data/00")
        one.error = Unavailable("in trouble")
        return await fetch(together, "data/01")

    assert isinstance(run_timeless(main()), Unavailable)


# --- when nobody delivers -------------------------------------------------------------------------


def test_when_all_fail_all_are_asked_again_after_a_pause() -> None:
    """And at the end every reason is told."""
    servers = Server(STRATUM0, error=TooSlow("slow")), Server(ONE, error=Unavailable("refused"))
    site = Site(*servers, retries=2)
    (error,) = run_timeless(site.fetch_all(["data/00"]))
    assert isinstance(error, Unavailable)
    assert "http://stratum0: slow" in str(error)
    assert "http://one: refused" in str(error)
    assert [len(server.asked) for server in servers] == [3, 3]
    assert len(site.pauses.pauses_s) == 2


def test_those_suspended_are_asked_when_nobody_else_is_left() -> None:
    """A doubtful source is better than none: its bytes are verified anyway."""
    one = Server(ONE, lies=True)
    site = Site(Server(STRATUM0, error=Unavailable("refused")), one, retries=0)

    async def main() -> bytes | UpstreamError:
        together = site.sources()
        await fetch(together, "data/00")
        one.lies = False
        return await fetch(together, "data/01")

    assert run_timeless(main()) == FILES["data/01"]


def test_wrong_bytes_everywhere_are_asked_for_past_caches() -> None:
    """It may be a cache before all of them."""
    servers = Server(STRATUM0, lies=True), Server(ONE, lies=True)
    (error,) = run_timeless(Site(*servers).fetch_all(["data/00"]))
    assert isinstance(error, Corrupted)
    assert [server.fresh for server in servers] == [[False, True]] * 2


def test_a_pause_that_all_ask_for_is_kept() -> None:
    """The shorter one: whoever asked for less can be asked before."""
    servers = [
        Server(url, error=Unavailable("503", asked_s))
        for url, asked_s in ((STRATUM0, 20.0), (ONE, 9.0))
    ]
    site = Site(*servers, retries=1)
    run_timeless(site.fetch_all(["data/00"]))
    assert 9.0 < site.pauses.pauses_s[0] < 10.0


def test_our_own_trouble_is_nobodys_fault() -> None:
    """It passes through at once, and is held against no source."""
    servers = Server(STRATUM0), Server(ONE)
    site = Site(*servers)

    async def full(_body: Body) -> bytes:
        raise StoreFull("no space left")

    async def main() -> None:
        together = site.sources()
        for _ in range(5):
            with pytest.raises(StoreFull):
                await together.fetch(Request("data/00", 10_000), full)

    run_timeless(main())
    assert site.events == []
    assert len(servers[1].asked) == 5


# --- stragglers -----------------------------------------------------------------------------------


def test_a_straggler_is_overtaken() -> None:
    """One request hangs for an hour, and nobody notices."""
    one = Server(ONE)
    site = Site(Server(STRATUM0), one)

    async def main() -> float:
        together = site.sources()
        for path in list(FILES)[:40]:
            await fetch(together, path)
        one.answers_s = 3600.0
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        assert await fetch(together, "data/99") == FILES["data/99"]
        return loop.time() - began_s

    assert run_timeless(main()) < 1.0
    assert site.heard(SourceFailed) == []


def test_one_that_hangs_is_suspended_though_it_never_fails() -> None:
    """Being overtaken again and again is a failure too."""
    one = Server(ONE, answers_s=3600.0)
    site = Site(Server(STRATUM0), one)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert await site.fetch_all() == list(FILES.values())
        return loop.time()

    assert run_timeless(main()) < 10.0
    assert set(site.heard(SourceSuspended)) == {ONE}


def test_hedges_are_rare() -> None:
    """A slow hour of everybody's does not double the load."""
    servers = Server(STRATUM0, 0.02), Server(ONE, 0.02), Server(TWO, 0.02)
    site = Site(*servers)

    async def main() -> None:
        together = site.sources()
        for path in FILES:
            await fetch(together, path)
        before = sum(len(server.asked) for server in servers)
        for server in servers:
            server.answers_s = 0.9
        await asyncio.gather(*(fetch(together, path) for path in FILES))
        assert sum(len(server.asked) for server in servers) - before <= 100 + 20

    run_timeless(main())


def test_the_last_stragglers_are_overtaken_however_many_there_were() -> None:
    """What was hedged before is not held against them."""
    one = Server(ONE)
    site = Site(Server(STRATUM0), one)

    async def main() -> float:
        together = site.sources()
        loop = asyncio.get_running_loop()
        for path in list(FILES)[:40]:
            one.answers_s = 0.02
            await fetch(together, path)
            one.answers_s = 3600.0
            await fetch(together, path)
        return loop.time()

    assert run_timeless(main()) < 120.0


def test_a_lie_of_the_one_that_overtook_is_its_own() -> None:
    """And the straggler, or somebody else, delivers after all."""
    slow, liar = Server(ONE, answers_s=3.0), Server(TWO, answers_s=0.1, lies=True)
    stratum0 = Server(STRATUM0)
    site = Site(stratum0, slow, liar)
    assert run_timeless(site.fetch_all(["data/00"])) == [FILES["data/00"]]
    assert site.heard(SourceLied) == [TWO]


def test_cancelled_at_any_turn_nothing_goes_on() -> None:
    """`run_timeless` sees to that."""

    async def main(turn: int) -> bool:
        simulated = [SimulatedStratum0(FILES, f"simulated://{name}") for name in range(3)]
        return await is_cancelled_at(turn, Site(*simulated).fetch_all(list(FILES)[:5]))

    turn = 0
    while run_timeless(main(turn)):
        turn += 1


# --- one by one -----------------------------------------------------------------------------------


def test_a_single_source_is_asked_as_ever() -> None:
    """With retries, and nothing else around it."""
    site = Site(Server(STRATUM0, error=Unavailable("refused")), retries=1)
    alone = site.sources()
    assert (alone.source, len(alone.once), len(alone.patiently)) == (STRATUM0, 1, 1)
    assert isinstance(run_timeless(fetch(alone, "data/00")), Unavailable)
    assert site.heard(FetchRetried) == [""]


def test_each_source_can_be_asked_alone() -> None:
    """Once, or patiently; what it does counts for the objects, too."""
    servers = Server(STRATUM0), Server(ONE, error=Unavailable("refused"))
    site = Site(*servers, retries=2)

    async def main() -> None:
        together = site.sources()
        assert together.source == f"{STRATUM0} and 1 mirror"
        assert [each.source for each in together.once] == [STRATUM0, ONE]
        assert await fetch(together.once[0], "data/00") == FILES["data/00"]
        assert isinstance(await fetch(together.patiently[1], "data/00"), Unavailable)
        assert len(servers[1].asked) == 3
        assert await fetch(together, "data/01") == FILES["data/01"]
        assert len(servers[1].asked) == 3

    run_timeless(main())


def test_an_upstream_is_its_own_only_source() -> None:
    """And what is `Sources` already stays what it is."""
    server = Server(STRATUM0)
    alone = Sources.of(server)
    assert list(alone.once) == list(alone.patiently) == [server]
    assert Sources.of(alone) is alone
