"""Names: asked once, kept for a while, never waited for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import pytest

from mirror.geo.answering import Answerer, Basis, Reply
from mirror.geo.atlas import Atlas
from mirror.geo.databases import Databases
from mirror.geo.limits import GeoLimits
from mirror.geo.location import Location
from mirror.geo.names import Names
from mirror.geo.request import Asker
from mirror.geo.resolver import Busy, SystemResolver
from mirror.geo.table import Table
from tests.support.names import needs_localhost

TABLE = {
    "192.0.2.0/24": Location(46.0, 6.0),
    "198.51.100.0/24": Location(41.0, -88.0),
    "2001:db8::/32": Location(25.0, 121.0),
}
FAST = GeoLimits(answer_s=0.05, look_up_s=0.5, names=3, look_ups=4, look_ups_per_request=3)


class Resolver:
    """Answers from a table, and remembers what it was asked; what it lacks it never answers."""

    def __init__(self, **hosts: Sequence[str] | OSError) -> None:
        self.hosts = {name.replace("_", "."): each for name, each in hosts.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[str]:
        """As `Resolve`."""
        self.asked.append(name)
        if name not in self.hosts:
            await asyncio.Event().wait()
        found = self.hosts[name]
        if isinstance(found, OSError):
            raise found
        await asyncio.sleep(0)
        return found


class Desk:
    """Answers questions about a fixed client, at a time of the test's choice."""

    def __init__(self, resolver: Callable[[str], Awaitable[Sequence[str]]]) -> None:
        self.now = 1000.0
        atlas = Atlas(Table(TABLE), Databases())
        self.names = Names(atlas, resolver, lambda: self.now, FAST)
        self._answerer = Answerer(atlas, self.names, FAST)

    async def ask(self, *servers: str, caching: str = "x") -> Reply:
        """The reply to a client in Europe."""
        path = f"/r/v1.0/geo/{caching}/{','.join(servers)}"
        return await self._answerer.answer(path, Asker("192.0.2.1"))


def run(resolver: Resolver, work: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
    """Something at a desk."""

    async def all_of_it() -> None:
        desk = Desk(resolver)
        try:
            await work(desk)
        finally:
            await desk.names.close()

    asyncio.run(all_of_it())


def test_nobody_is_asked_for_what_is_no_name() -> None:
    """UUIDs, short names, the separator, addresses, and what no host can be called."""
    resolver = Resolver()

    async def work(desk: Desk) -> None:
        odd = "+PXYSEP+", "short", "a..b", "-a.org", "a_b.org", "1.2.3.4", "::1", "", ".", "x" * 300
        await desk.ask(*odd, caching="7d444840-9dc0-11d1-b245-5ffdce74fad2")

    run(resolver, work)
    assert resolver.asked == []


def test_a_name_is_asked_once_in_300_seconds() -> None:
    """However many want it at the same time; failures are remembered, too."""
    resolver = Resolver(a_org=("198.51.100.1",), b_org=OSError())

    async def work(desk: Desk) -> None:
        replies = await asyncio.gather(*(desk.ask("b.org", "a.org") for _ in range(50)))
        assert {each.text for each in replies} == {"2,1\n"}
        desk.now += 300
        await desk.ask("b.org", "a.org")
        assert resolver.asked == ["b.org", "a.org"]
        desk.now += 0.1
        await desk.ask("b.org", "a.org")
        assert len(resolver.asked) == 4

    run(resolver, work)


def test_an_old_location_is_better_than_none() -> None:
    """Where a look-up fails, or leads to where nobody knows."""
    resolver = Resolver(a_org=("192.0.2.9",), b_org=("198.51.100.1",))

    async def work(desk: Desk) -> None:
        assert (await desk.ask("b.org", "a.org")).text == "2,1\n"
        for worse in (OSError(), ("203.0.113.1",)):
            resolver.hosts["a.org"] = worse
            desk.now += 301
            reply = await desk.ask("b.org", "a.org")
            assert (reply.text, reply.basis) == ("2,1\n", Basis.DISTANCE)

    run(resolver, work)


def test_a_resolver_that_never_answers() -> None:
    """The first waits as long as it is told, the others not at all; caches ask again soon."""
    resolver = Resolver(a_org=("198.51.100.1",))

    async def work(desk: Desk) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        reply = await desk.ask("never.org", "a.org", caching="proxy.never.org")
        assert FAST.answer_s <= loop.time() - began < FAST.answer_s + 1
        assert reply[:4] == (200, "2,1\n", 300, Basis.LATE)
        desk.now += 1
        began = loop.time()
        for _ in range(20):
            await desk.ask("never.org", "a.org", caching="proxy.never.org")
        assert loop.time() - began < FAST.answer_s * 10
        assert resolver.asked.count("never.org") == 1

    run(resolver, work)


def test_a_late_answer_is_there_for_the_next() -> None:
    """A look-up goes on behind the back of whoever waited for it."""
    came = asyncio.Event()

    async def slow(_name: str) -> Sequence[str]:
        await came.wait()
        return ("192.0.2.9",)

    async def work() -> None:
        desk = Desk(slow)
        assert (await desk.ask("a.org", "198.51.100.1")).text == "2,1\n"
        came.set()
        await asyncio.sleep(0.01)
        assert (await desk.ask("a.org", "198.51.100.1")).text == "1,2\n"

    asyncio.run(work())


def test_limits() -> None:
    """So many names are remembered, so many look-ups begun for a request, and at once."""
    hosts = {f"h{number}_org": ("192.0.2.1",) for number in range(20)}
    resolver = Resolver(**hosts)

    async def work(desk: Desk) -> None:
        await desk.ask(*(f"h{number}.org" for number in range(20)))
        assert len(resolver.asked) == FAST.look_ups_per_request
        for number in range(20):
            await desk.ask(f"h{number}.org")
        assert len(desk.names._entries) == FAST.names
        before = len(resolver.asked)
        for number in range(20):
            await desk.ask(f"never{number}.org", "192.0.2.1")
        assert len(resolver.asked) - before == FAST.look_ups

    run(resolver, work)


def test_a_busy_resolver_says_nothing_of_a_name() -> None:
    """It is asked again by the next request."""
    resolver = Resolver(a_org=Busy())

    async def work(desk: Desk) -> None:
        assert (await desk.ask("a.org", "192.0.2.1")).basis is Basis.LATE
        resolver.hosts["a.org"] = ("192.0.2.1",)
        assert (await desk.ask("a.org", "198.51.100.1")).text == "1,2\n"

    run(resolver, work)


def test_a_look_up_ends() -> None:
    """After that the name counts as one that has no address."""
    resolver = Resolver()

    async def work(desk: Desk) -> None:
        await desk.ask("never.org", "192.0.2.1")
        async with asyncio.timeout(10):
            while desk.names._flights:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert (await desk.ask("never.org", "192.0.2.1")).basis is Basis.DISTANCE

    run(resolver, work)


@needs_localhost
def test_the_system_resolver() -> None:
    """Knows this host, nothing of a name nobody may have, and when it has enough to do."""

    async def work() -> None:
        assert set(await SystemResolver(1)("localhost")) & {"127.0.0.1", "::1"}
        with pytest.raises(OSError):
            await SystemResolver(1)("a..b.invalid")
        with pytest.raises(Busy):
            await SystemResolver(0)("localhost")

    asyncio.run(work())
