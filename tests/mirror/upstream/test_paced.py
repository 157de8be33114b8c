from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import time

import pytest

from mirror.upstream.base import Request, Upstream, read_all
from mirror.upstream.http import HttpUpstream, http_session
from mirror.upstream.lean import lean_upstream
from mirror.upstream.options import HttpOptions
from mirror.upstream.paced import Paced, local_time
from mirror.upstream.pacing import Pacer
from mirror.upstream.schedule import Pace, Schedule
from tests.support.http_stratum0 import HttpStratum0
from tests.support.loops import run
from tests.support.simulated import SimulatedStratum0

FILES = {"small": b"hello", "large": bytes(100_000)}


class Desk:
    """Paced requests to a simulated Stratum 0; no time passes.

    Attributes:
        pauses_s: how long each pause would have been.
    """

    def __init__(self, *paces: Pace) -> None:
        self.stratum0 = SimulatedStratum0(FILES)
        self.pauses_s: list[float] = []
        pacers = [Pacer(Schedule(pace)) for pace in paces]
        self._paced = Paced(self.stratum0, pacers, lambda: 0.0, lambda: time(12), self._sleep)

    async def _sleep(self, pause_s: float) -> None:
        self.pauses_s.append(pause_s)

    def fetch(self, *paths: str) -> list[bytes]:
        """These, all at once."""

        async def main() -> list[bytes]:
            requests = [Request(path, 2**20) for path in paths]
            return await asyncio.gather(*(self._paced.fetch(each, read_all) for each in requests))

        return run(main())


def test_requests_wait_for_their_time() -> None:
    """Each a little longer than the one before, since they came together."""
    desk = Desk(Pace(requests_per_s=10))
    assert desk.fetch(*["small"] * 4) == [b"hello"] * 4
    assert desk.pauses_s == pytest.approx([0.1, 0.2, 0.3])


def test_bytes_are_waited_for_between_pieces() -> None:
    """As long as the whole body takes at that rate."""
    desk = Desk(Pace(bytes_per_s=50_000))
    assert desk.fetch("large") == [FILES["large"]]
    assert len(desk.pauses_s) > 2
    assert desk.pauses_s[-1] == pytest.approx(1.9)  # no time passes, so it adds up


def test_the_strictest_counts() -> None:
    """What the server could take is of no use when the sum is used up."""
    desk = Desk(Pace(requests_per_s=1000), Pace(requests_per_s=1))
    desk.fetch("small")
    assert desk.pauses_s == pytest.approx([0.9])


@pytest.mark.parametrize("paces", [(), (Pace(),), (Pace(1e9, 1e12),)])
def test_nobody_waits_without_need(paces: tuple[Pace, ...]) -> None:
    """Not even a turn of the loop."""
    desk = Desk(*paces)
    desk.fetch("small", "large")
    assert desk.pauses_s == []


@asynccontextmanager
async def aiohttps(url: str, options: HttpOptions) -> AsyncIterator[Upstream]:
    """The general client."""
    async with http_session(options) as session:
        yield HttpUpstream(session, url, options)


@pytest.mark.parametrize("client", [lean_upstream, aiohttps])
def test_a_pause_is_not_a_slow_server(
    client: Callable[[str, HttpOptions], AbstractAsyncContextManager[Upstream]],
) -> None:
    """Though it takes longer than a server may take, and holds up what the server would send."""
    options = HttpOptions(timeout_s=1, min_bytes_per_s=100_000)
    files = {"huge": bytes(2**24)}
    pauses_s: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses_s.append(pause_s)
        await asyncio.sleep(2 * options.timeout_s if len(pauses_s) == 1 else 0)

    async def main(url: str) -> bytes:
        async with client(url, options) as http:
            paced = Paced(http, [Pacer(Schedule(Pace(bytes_per_s=1)))], sleep=sleep)
            return await paced.fetch(Request("huge", 2**24), read_all)

    with HttpStratum0(files) as stratum0:
        assert run(main(stratum0.url)) == files["huge"]
    assert len(pauses_s) > 2


def test_it_says_where_the_inner_one_fetches_from() -> None:
    """A decorator is not a place."""
    assert Paced(SimulatedStratum0({}), []).source == "simulated://stratum0"


def test_the_time_of_day_is_local() -> None:
    """Operators think in it; it comes without a zone, as times in a configuration do."""
    assert local_time().tzinfo is None
