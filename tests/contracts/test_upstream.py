"""What every upstream promises; see `mirror.upstream.base`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import Corrupted, NotFound, StoreFull, TooLarge
from mirror.events import ignore
from mirror.upstream.base import Body, Consume, Request, T, Upstream, read_all
from mirror.upstream.concurrency import AdaptiveLimit, ConcurrencyRange
from mirror.upstream.http import HttpUpstream, http_session
from mirror.upstream.lean import lean_upstream
from mirror.upstream.limited import Limited
from mirror.upstream.options import HttpOptions
from mirror.upstream.paced import Paced
from mirror.upstream.pacing import Pacer
from mirror.upstream.retrying import Retrying, RetryPolicy
from mirror.upstream.schedule import Pace, Schedule
from tests.support.clock import FakeClock
from tests.support.http_stratum0 import HttpStratum0
from tests.support.loops import run
from tests.support.simulated import SimulatedStratum0

FILES = {"small": b"hello", "empty": b"", "large": bytes(range(256)) * 4096}
Opened = Callable[[Mapping[str, bytes]], AbstractAsyncContextManager[Upstream]]


@asynccontextmanager
async def simulated(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """The one that most tests use."""
    yield SimulatedStratum0(files)


@asynccontextmanager
async def limited(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """A decorator keeps the contract of what it decorates."""
    yield Limited(SimulatedStratum0(files), AdaptiveLimit(ConcurrencyRange(1, 1, 1)))


@asynccontextmanager
async def retrying(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """So does this one."""
    inner, policy = SimulatedStratum0(files), RetryPolicy()
    yield Retrying(inner, policy, Fqrn("test.example.org"), ignore, FakeClock().sleep)


@asynccontextmanager
async def paced(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """And this one, be its limits ever so low."""
    pacers = [Pacer(Schedule(Pace(requests_per_s=0.01, bytes_per_s=1)))]
    yield Paced(SimulatedStratum0(files), pacers, sleep=FakeClock().sleep)


@asynccontextmanager
async def http(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """The real one, against a real server."""
    with HttpStratum0(files) as stratum0:
        options = HttpOptions()
        async with http_session(options) as session:
            yield HttpUpstream(session, stratum0.url, options)


@asynccontextmanager
async def lean(files: Mapping[str, bytes]) -> AsyncIterator[Upstream]:
    """The quick one, likewise."""
    with HttpStratum0(files) as stratum0:
        async with lean_upstream(stratum0.url, HttpOptions()) as upstream:
            yield upstream


@pytest.fixture(params=[simulated, limited, retrying, paced, http, lean])
def opened(request: pytest.FixtureRequest) -> Opened:
    """A way to open an upstream that has these files."""
    found: Opened = request.param
    return found


class Attempts:
    """A consumer that remembers how often it was called and what it got each time."""

    def __init__(self, error: Exception | None = None) -> None:
        self.bodies: list[bytes] = []
        self._error = error

    async def __call__(self, body: Body) -> int:
        """Read everything; then fail if that was asked for."""
        self.bodies.append(await read_all(body))
        if self._error is not None:
            raise self._error
        return len(self.bodies)


def fetch(opened: Opened, path: str, consume: Consume[T], max_bytes: int = 2**20) -> T:
    """Fetch one file."""

    async def main() -> T:
        async with opened(FILES) as upstream:
            return await upstream.fetch(Request(path, max_bytes), consume)

    return run(main())


@pytest.mark.parametrize("path", FILES)
def test_the_body_is_consumed_from_its_first_byte(opened: Opened, path: str) -> None:
    """One attempt that goes well is one call, and what it returns is returned."""
    attempts = Attempts()
    assert fetch(opened, path, attempts) == 1
    assert attempts.bodies == [FILES[path]]


def test_a_body_need_not_be_read(opened: Opened) -> None:
    """A consumer may be content with the fact that something is there."""

    async def look(body: Body) -> str:
        return "there"

    assert fetch(opened, "large", look) == "there"


def test_what_is_not_there_is_not_found(opened: Opened) -> None:
    """The consumer does not hear of it."""
    attempts = Attempts()
    with pytest.raises(NotFound, match="absent"):
        fetch(opened, "absent", attempts)
    assert attempts.bodies == []


@pytest.mark.parametrize("path", FILES)
def test_the_limit_may_be_reached(opened: Opened, path: str) -> None:
    """As many bytes as are allowed are allowed."""
    assert fetch(opened, path, read_all, len(FILES[path])) == FILES[path]


@pytest.mark.parametrize("path", ["small", "large"])
def test_one_byte_more_than_the_limit_is_too_large(opened: Opened, path: str) -> None:
    """Nobody is made to read more than can be right."""
    with pytest.raises(TooLarge, match=path):
        fetch(opened, path, read_all, len(FILES[path]) - 1)


@pytest.mark.parametrize(
    "error",
    [StoreFull("full"), LookupError(), TimeoutError(), ConnectionResetError(), OSError(28, "full")],
    ids=lambda error: type(error).__name__,
)
def test_what_the_consumer_raises_passes_through(opened: Opened, error: Exception) -> None:
    """It is not the server's fault, whatever it looks like, and not a reason to ask again."""
    attempts = Attempts(error)
    with pytest.raises(type(error)) as caught:
        fetch(opened, "small", attempts)
    assert caught.value is error
    assert attempts.bodies == [FILES["small"]]


def test_wrong_bytes_may_be_asked_for_again(opened: Opened) -> None:
    """Each attempt brings the body from its first byte, and the last error is the one raised."""
    attempts = Attempts(Corrupted("wrong"))
    with pytest.raises(Corrupted):
        fetch(opened, "large", attempts)
    assert set(attempts.bodies) == {FILES["large"]}


def test_a_consumer_may_stop_half_way(opened: Opened) -> None:
    """Half a body leaves nothing behind, and the next request works."""

    async def first_piece(body: Body) -> bytes:
        return await anext(body)

    async def main() -> None:
        async with opened(FILES) as upstream:
            for _ in range(3):
                start = await upstream.fetch(Request("large", 2**20), first_piece)
                assert FILES["large"].startswith(start)
            assert await upstream.fetch(Request("small", 5), read_all) == b"hello"

    run(main())


def test_it_says_where_it_fetches_from(opened: Opened) -> None:
    """People are told the base URL."""

    async def main() -> str:
        async with opened(FILES) as upstream:
            return upstream.source

    assert "://" in run(main())
