"""Orders against a server that does whatever a script says."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import MirrorError, NotFound, TooLarge, TooSlow, Unavailable
from mirror.upstream.bulk import BulkClient, Order, _Ordered
from mirror.upstream.concurrency import AdaptiveLimit, ConcurrencyRange
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from tests.support.loops import run, run_timeless
from tests.support.scripted import Deed, Door, Host
from tests.support.servers import raw_server, sending, web_server

MAX_BYTES = 1000
FEW = ConcurrencyRange(initial=16, lowest=1, highest=64)
Outcomes = dict[int, bytes | MirrorError]


class Desk:
    """Whoever orders: takes each outcome once.

    Attributes:
        client: where orders go.
        outcomes: what came, by number.
    """

    def __init__(
        self,
        server: Server,
        bounds: ConcurrencyRange = FEW,
    ) -> None:
        self.client = BulkClient(server, AdaptiveLimit(bounds), self._take)
        self.outcomes: Outcomes = {}
        self._ordered = 0
        self._all_here = asyncio.Event()

    def order(self, count: int) -> None:
        """So many more."""
        first, self._ordered = self._ordered, self._ordered + count
        self._all_here.clear()
        numbers = range(first, self._ordered)
        self.client.submit([Order(number, f"data/{number}", MAX_BYTES) for number in numbers])

    async def fetch(self, count: int) -> Outcomes:
        """So many more, and wait for all."""
        self.order(count)
        await self._all_here.wait()
        return self.outcomes

    def _take(self, number: int, outcome: bytes | MirrorError) -> None:
        assert number not in self.outcomes, "it ends once"
        self.outcomes[number] = outcome
        if isinstance(outcome, bytes) and outcome != Host.body(f"data/{number}"):
            self.client.suspect()
        if len(self.outcomes) == self._ordered:
            self._all_here.set()


def fetched(
    host: Host, count: int, bounds: ConcurrencyRange = FEW, pauses: Sequence[float] = ()
) -> Outcomes:
    """Order from a host, in one go or with pauses between equal parts, and close."""

    async def main() -> Outcomes:
        desk = Desk(host.server(), bounds)
        for pause_s in pauses:
            desk.order(count // (len(pauses) + 1))
            await asyncio.sleep(pause_s)
        outcomes = await desk.fetch(count - desk._ordered)
        desk.client.close()
        await asyncio.sleep(100)  # whatever is late would come now
        assert not host.wires
        assert len(outcomes) == count
        return outcomes

    return run_timeless(main())


def right(outcomes: Outcomes) -> int:
    """How many came as they are."""
    return sum(outcomes[number] == Host.body(f"data/{number}") for number in outcomes)


# --- servers that do as they should ---------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 100, 1000])
def test_everything_comes(count: int) -> None:
    """However many they are."""
    assert right(fetched(Host(), count)) == count


def test_orders_one_after_the_other() -> None:
    """Connections that have been idle are used again."""
    host = Host()
    assert right(fetched(host, 900, pauses=[0, 3000, 0])) == 900
    assert host.connections <= FEW.highest


def test_requests_are_pipelined_when_that_is_borne() -> None:
    """The first answers tell; from then on a few connections do."""
    host = Host()
    host.latency_s = 0.1
    fetched(host, 1000)
    assert host.connections <= FEW.initial
    assert host.most_under_way > host.connections


@pytest.mark.parametrize("highest", [1, 2, 3, 10, 64])
def test_the_limit_is_never_exceeded(highest: int) -> None:
    """As the server sees it."""
    host = Host([Deed.ANSWER, Deed.CHUNKS, Deed.MISSING, Deed.LAST, Deed.BUSY])
    host.latency_s = 0.1
    bounds = ConcurrencyRange(initial=highest, lowest=1, highest=highest)
    assert len(fetched(host, 500, bounds)) == 500
    assert host.most_under_way <= highest
    assert host.most_under_way >= min(highest, 5)


def test_more_brings_more() -> None:
    """Where the way is long the limit grows."""
    host = Host()
    host.latency_s = 1
    assert right(fetched(host, 3000)) == 3000
    assert host.most_under_way > 2 * FEW.initial


def twice(host: Host, between: Callable[[], None]) -> Outcomes:
    """Order a thousand, and a thousand more when those have come."""

    async def main() -> Outcomes:
        desk = Desk(host.server())
        await desk.fetch(1000)
        between()
        outcomes = await desk.fetch(1000)
        desk.client.close()
        return outcomes

    return run_timeless(main())


def test_one_that_is_long_at_work_is_asked_by_many_connections() -> None:
    """Where each answer takes its time, those behind it on its connection would add theirs."""
    host = Host()
    host.work_s = 0.1
    assert right(fetched(host, 1000)) == 1000
    assert host.most_on_one == 1
    assert host.most_under_way == FEW.highest


def test_prompt_answers_show_what_a_server_can_do() -> None:
    """When others take longer it is perhaps we who have other things to do."""
    host = Host()

    def dawdle() -> None:
        host.work_s = 0.1
        host.most_on_one = 0

    assert right(twice(host, dawdle)) == 2000
    assert host.most_on_one > 1


def test_a_liar_is_asked_as_quickly_as_others() -> None:
    """Wrong answers where nothing is pipelined are nobody else's answers."""
    host = Host([*[Deed.ANSWER] * 9, Deed.WRONG])
    host.latency_s = 0.1

    def look_away() -> None:
        host.most_on_one = 0

    assert right(twice(host, look_away)) >= 1790
    assert host.most_on_one > 1


# --- and those that do not ------------------------------------------------------------------------


def test_refusals_are_handed_back() -> None:
    """Not asked for again: whoever ordered knows what that means."""
    host = Host([Deed.ANSWER, Deed.MISSING, Deed.BUSY, Deed.WRONG])
    outcomes = fetched(host, 400)
    kinds = [type(outcome) for outcome in outcomes.values()]
    assert [kinds.count(kind) for kind in (bytes, NotFound, Unavailable)] == [200, 100, 100]
    assert right(outcomes) == 100
    assert len(host.seen) == 400


@pytest.mark.parametrize("deed", [Deed.TOO_LARGE, Deed.ENDLESS])
def test_too_large(deed: Deed) -> None:
    """Costs a connection, and nothing else."""
    outcomes = fetched(Host([*[Deed.ANSWER] * 30, deed]), 310)
    assert sum(isinstance(outcome, TooLarge) for outcome in outcomes.values()) == 10
    assert right(outcomes) == 300


def test_pieces_do_not_pile_up() -> None:
    """A body that comes two bytes at a time takes no more memory than its bytes."""

    async def main() -> None:
        ordered = _Ordered(Desk(Host().server()).client, Order(0, "data/0", MAX_BYTES))
        ordered.began()
        for _ in range(10_000):
            ordered.received(b"xy")
            assert len(ordered._pieces) < 500
        assert b"".join(ordered._pieces) == b"xy" * 10_000

    run_timeless(main())


@pytest.mark.parametrize("deed", [Deed.LAST, Deed.LAST_UNSAID])
def test_one_request_per_connection(deed: Deed) -> None:
    """Slow, but everything comes."""
    host = Host([deed])
    assert right(fetched(host, 300)) == 300
    assert host.connections >= 300


@pytest.mark.parametrize("takes", [1, 2, 3, 5, 7, 8, 9, 20, 100])
def test_so_many_requests_per_connection(takes: int) -> None:
    """As nginx closes after ``keepalive_requests``: what was dropped goes to the next."""
    host = Host()
    host.takes = takes
    host.latency_s = 0.1
    assert right(fetched(host, 1000)) == 1000
    assert len(host.seen) <= 2000


def test_what_comes_behind_a_request_is_forgotten() -> None:
    """Some servers cannot be asked for several at once; that is found out, and costs little."""
    host = Host()
    host.forgets, host.latency_s = True, 0.1
    outcomes = fetched(host, 1000)
    assert right(outcomes) >= 900
    assert host.seen[-1][1] <= 60  # seconds


def test_dropped_again_and_again() -> None:
    """After three connections it is the server that is at fault, and not the connection."""
    host = Host([Deed.CLOSE])
    outcomes = fetched(host, 50)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes.values())
    assert len(host.seen) <= 150


def test_nobody_listens() -> None:
    """All of many connections that fail in the same moment are one answer: not now."""
    outcomes = fetched(Host(doors=[Door.REFUSED]), 100)
    assert {str(outcome) for outcome in outcomes.values()} == {"connection refused"}


def test_nobody_listens_any_more() -> None:
    """What could not be had yet is handed back; later there may be somebody again."""
    host = Host([Deed.LAST], doors=[Door.OPEN] * 20 + [Door.REFUSED] * 30 + [Door.OPEN] * 1000)
    assert 20 <= right(fetched(host, 400, pauses=[1000])) < 400


@pytest.mark.parametrize("door", [Door.REFUSED, Door.SLAMMED, Door.SILENT])
def test_some_connections_fail(door: Door) -> None:
    """Others do the work."""
    assert right(fetched(Host(doors=[door, Door.OPEN, door]), 500)) == 500


@pytest.mark.parametrize("door", [Door.SLAMMED, Door.SILENT])
def test_all_connections_fail(door: Door) -> None:
    """Everything comes back."""
    assert right(fetched(Host(doors=[door]), 100)) == 0


@pytest.mark.parametrize("deed", [Deed.NOTHING, Deed.STALL])
def test_silence(deed: Deed) -> None:
    """Costs the one who waits a time-out, and those behind another connection."""
    outcomes = fetched(Host([*[Deed.ANSWER] * 30, deed]), 310)
    assert right(outcomes) >= 290
    assert any(isinstance(outcome, TooSlow) for outcome in outcomes.values())


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """Any."""
    deeds = draw(st.lists(st.sampled_from(Deed), min_size=1, max_size=30))
    doors = draw(st.lists(st.sampled_from(Door), min_size=1, max_size=5))
    host = Host(deeds, doors)
    host.takes = draw(st.none() | st.integers(1, 12))
    host.forgets = draw(st.booleans())
    host.latency_s = 0.1
    return host


@given(
    host=hosts(),
    pauses=st.lists(st.sampled_from([0.0, 0.5, 15.0]), max_size=3),
    highest=st.integers(1, 40),
)
def test_every_order_ends_once(host: Host, pauses: list[float], highest: int) -> None:
    """Whatever the server does; and if it would not end, the loop without time would tell."""
    fetched(host, 60, ConcurrencyRange(initial=16, lowest=1, highest=highest), pauses)
    assert host.most_under_way <= highest


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("after_s", [0, 0.05, 0.1, 0.15, 0.25, 0.45])
def test_closing_hands_everything_back(after_s: float) -> None:
    """Wherever it was: in the queue, under way, or waiting for a connection."""
    host = Host()
    host.latency_s = 0.1

    async def main() -> None:
        desk = Desk(host.server())
        desk.order(500)
        await asyncio.sleep(after_s)
        desk.client.close()
        desk.client.close()
        assert len(desk.outcomes) == 500
        assert right(desk.outcomes) < 500
        await asyncio.sleep(1)
        assert not host.wires

    run_timeless(main())


def test_ordering_after_the_end() -> None:
    """Comes back at once."""

    async def main() -> None:
        desk = Desk(Host().server())
        desk.client.close()
        assert right(await desk.fetch(10)) == 0

    run_timeless(main())


# --- over real sockets ----------------------------------------------------------------------------


async def really_fetched(url: str, count: int) -> Outcomes:
    """Order from a server, and close."""
    desk = Desk(Server.at(url, HttpOptions()))
    try:
        return await desk.fetch(count)
    finally:
        desk.client.close()


async def answer(request: web.Request) -> web.StreamResponse:
    """As `Host.body`."""
    return web.Response(body=Host.body(request.path.removeprefix("/")))


def test_a_real_server() -> None:
    """One that bears pipelining."""

    async def main() -> None:
        async with web_server(answer) as url:
            assert right(await really_fetched(url, 2000)) == 2000

    run(main())


def test_a_real_server_that_closes() -> None:
    """Each connection after one answer, without a word."""

    async def main() -> None:
        sent = sending(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        async with raw_server(sent) as url:
            outcomes = await really_fetched(url, 200)
            assert {*outcomes.values()} == {b"hello"}

    run(main())


def test_a_real_port_where_nobody_listens() -> None:
    """Many connections are refused in the same turn of the loop."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        outcomes = run(really_fetched(url, 100))
        assert len(outcomes) == 100
