"""What the quick client does with connections; what both clients do is in `test_http`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from mirror.errors import ConfigError, NotFound, Unavailable
from mirror.upstream.base import Body, Request, T, read_all
from mirror.upstream.connection import Connection
from mirror.upstream.lean import LeanUpstream, Server, can_do, lean_upstream
from mirror.upstream.options import HttpOptions
from tests.support.loops import run, until
from tests.support.servers import Answer, raw_server, sending, web_server

OPTIONS = HttpOptions()


class Doors:
    """A server that tells which connection each request came by.

    Attributes:
        seen: the client's port, request by request.
        missing: paths that it does not have.
        body: of all others.
    """

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.missing: set[str] = set()
        self.body = b"hello"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As `Answer`."""
        assert request.transport is not None
        self.seen.append(request.transport.get_extra_info("peername")[1])
        if request.path in self.missing:
            return web.Response(status=404, body=b"<html>" * 1000)
        return web.Response(body=self.body)


def visiting(answer: Answer, visit: Callable[[LeanUpstream], Awaitable[T]]) -> T:
    """Start a server, and let somebody use the client."""

    async def main() -> T:
        async with web_server(answer) as url, lean_upstream(url, OPTIONS) as upstream:
            return await visit(upstream)

    return run(main())


def test_connections_are_used_again() -> None:
    """After an answer, and after an error page."""
    doors = Doors()
    doors.missing.add("/b")

    async def visit(upstream: LeanUpstream) -> None:
        for path in "abc":
            try:
                assert await upstream.fetch(Request(path, 10), read_all) == b"hello"
            except NotFound:
                assert path == "b"
            await until(lambda: not any(each.outstanding for each in upstream._all))

    visiting(doors.answer, visit)
    assert len(doors.seen) == 3
    assert len({*doors.seen}) == 1


def test_a_connection_is_nobody_elses_while_its_consumer_is_at_work() -> None:
    """Though all has come: it may have been paused, and its clock be stopped."""
    doors = Doors()

    async def visit(upstream: LeanUpstream) -> None:
        async def consume(body: Body) -> bytes:
            first = await anext(body)
            await until(lambda: not any(each.outstanding for each in upstream._all))
            return first + await upstream.fetch(Request("inner", 10), read_all)

        assert await upstream.fetch(Request("outer", 10), consume) == b"hellohello"
        await upstream.fetch(Request("later", 10), read_all)

    visiting(doors.answer, visit)
    outer, inner, later = doors.seen
    assert outer != inner
    assert later in (outer, inner)


def test_half_a_body_is_enough_for_some() -> None:
    """What is left of it is nobody's: the connection is closed."""
    doors = Doors()
    doors.body = b"x" * 1_000_000

    async def visit(upstream: LeanUpstream) -> None:
        async def consume(body: Body) -> int:
            return len(await anext(body))

        for _ in range(2):
            assert await upstream.fetch(Request("a", 10**6), consume) > 0
            assert not upstream._all

    visiting(doors.answer, visit)
    assert len({*doors.seen}) == 2


def test_cancelled_while_it_waits() -> None:
    """Likewise."""
    is_asked = asyncio.Event()

    async def answer(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await asyncio.Event().wait()

    async def main() -> None:
        async with raw_server(answer) as url, lean_upstream(url, OPTIONS) as upstream:
            task = asyncio.ensure_future(upstream.fetch(Request("a", 10), read_all))
            await is_asked.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert not upstream._all

    run(main())


def test_an_idle_connection_that_was_closed() -> None:
    """Is no reason to fail: another is opened, as often as the server likes to do that."""
    count = 0

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")  # and closes

    async def main() -> None:
        async with raw_server(answer) as url, lean_upstream(url, OPTIONS) as upstream:
            for _ in range(20):
                assert await upstream.fetch(Request("a", 10), read_all) == b"hello"

    run(main())
    assert count == 20


def test_a_server_that_never_answers() -> None:
    """But a new connection that brings nothing is a failure, and names what was wanted."""

    async def main() -> None:
        async with raw_server(sending()) as url, lean_upstream(url, OPTIONS) as upstream:
            with pytest.raises(Unavailable, match="/data/a: the server closed the connection"):
                await upstream.fetch(Request("data/a", 10), read_all)

    run(main())


def test_a_body_is_not_taken_faster_than_it_is_consumed() -> None:
    """What a slow consumer has not taken waits at the server."""
    doors = Doors()
    doors.body = b"x" * 50_000_000

    async def visit(upstream: LeanUpstream) -> None:
        async def consume(body: Body) -> int:
            count = len(await anext(body))
            (connection,) = upstream._all
            transport = connection._transport
            assert transport is not None
            await until(lambda: not transport.is_reading())
            return count + sum([len(piece) async for piece in body])

        assert await upstream.fetch(Request("a", 10**8), consume) == 50_000_000

    visiting(doors.answer, visit)


# --- connecting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example.org"])
def test_names_that_cannot_be_one(host: str) -> None:
    """Nobody is there, as far as we are concerned."""

    async def main() -> None:
        async with lean_upstream(f"http://{host}/r", OPTIONS) as upstream:
            with pytest.raises(Unavailable, match=f"cannot connect to {host}:80"):
                await upstream.fetch(Request("a", 10), read_all)

    run(main())


@pytest.mark.parametrize(
    ("url", "proxy"),
    [("http://host:99999", None), ("http://host:no", None), ("http://host", "http://proxy:99999")],
)
def test_ports_that_are_none(url: str, proxy: str | None) -> None:
    """A mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"http://(host|proxy):"):
        Server.at(url, replace(OPTIONS, proxy=proxy))


def test_closed_before_anybody_could_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS a connection can open and close within one turn of the loop."""

    async def open_and_close(
        _loop: object, factory: Callable[[], Connection], *_where: object, **_how: object
    ) -> None:
        connection = factory()
        connection.connection_made(asyncio.Transport())
        monkeypatch.setattr(connection, "_transport", None)
        connection.connection_lost(None)

    async def main() -> None:
        monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", open_and_close)
        async with lean_upstream("http://host/r", OPTIONS) as upstream:
            with pytest.raises(Unavailable, match="http://host/r: the server closed"):
                await upstream.fetch(Request("a", 10), read_all)

    run(main())


def test_tls_is_for_servers_that_have_it() -> None:
    """A server without is told as one that cannot be connected to."""

    async def main() -> None:
        async with (
            web_server(Doors().answer) as url,
            lean_upstream(url.replace("http:", "https:"), OPTIONS) as upstream,
        ):
            with pytest.raises(Unavailable, match="cannot connect"):
                await upstream.fetch(Request("a", 10), read_all)

    run(main())


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("http://user:secret@host/r", OPTIONS),
        ("http://höst/r", OPTIONS),
        ("http://host/a b", OPTIONS),
        ("http://host/r", replace(OPTIONS, follow_redirects=True)),
        ("http://host/r", replace(OPTIONS, proxy="http://user:secret@proxy:80")),
        ("https://host/r", replace(OPTIONS, proxy="http://proxy:80")),
    ],
)
def test_what_is_left_to_the_other_client(url: str, options: HttpOptions) -> None:
    """Everything rare."""
    assert not can_do(url, options)
    assert can_do("http://host/r", replace(OPTIONS, proxy="http://proxy:80"))
