from __future__ import annotations

import asyncio
import gzip
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from mirror.errors import (
    ConfigError,
    MirrorError,
    NotFound,
    Refused,
    TooLarge,
    TooSlow,
    Unavailable,
    UpstreamError,
)
from mirror.upstream.base import Body, Consume, Request, T, Upstream, read_all
from mirror.upstream.client import http_upstream
from mirror.upstream.http import HttpUpstream, http_session
from mirror.upstream.options import HttpOptions
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.servers import Answer, RawAnswer, raw_server, sending, tls_files, web_server

PATIENT = HttpOptions()
IMPATIENT = HttpOptions(timeout_s=0.3, min_bytes_per_s=1000)
CALM = HttpOptions(timeout_s=1.0, min_bytes_per_s=250)
REQUEST = Request("data/ab/cd", 1000)
HEAD = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def by_aiohttp(url: str, options: HttpOptions) -> AsyncIterator[Upstream]:
    """The client for what is rare."""
    async with http_session(options) as session:
        yield HttpUpstream(session, url, options)


opened: Callable[[str, HttpOptions], AbstractAsyncContextManager[Upstream]] = http_upstream


@pytest.fixture(autouse=True, params=[by_aiohttp, http_upstream])
def _client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is one of both clients."""
    monkeypatch.setattr(sys.modules[__name__], "opened", request.param)


async def fetch_from(
    url: str,
    options: HttpOptions = PATIENT,
    request: Request = REQUEST,
    consume: Consume[T] = read_all,  # type: ignore[assignment]  # what T is then
) -> T:
    """One attempt at a server."""
    async with opened(url, options) as upstream:
        return await upstream.fetch(request, consume)


def fetch(
    server: AbstractAsyncContextManager[str],
    options: HttpOptions = PATIENT,
    request: Request = REQUEST,
) -> bytes:
    """Start a server, and make one attempt."""

    async def main() -> bytes:
        async with server as url:
            return await fetch_from(url, options, request)

    return run(main())


def answering(
    status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """Answer every request so."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers=headers)

    return answer


# --- what a status means ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "statuses"),
    [
        (NotFound, [404, 410]),
        (Unavailable, [408, 425, 429, 500, 502, 503, 504, 599]),
        (Refused, [201, 204, 206, 301, 302, 304, 307, 308, 400, 401, 403, 407, 416, 418, 451]),
    ],
    ids=["not found", "unavailable", "refused"],
)
def test_statuses(error: type[MirrorError], statuses: list[int]) -> None:
    """Every status but 200 is an error, of the kind that says whether asking again helps."""

    async def main() -> None:
        for status in statuses:
            async with web_server(answering(status)) as url:
                with pytest.raises(error, match=f"/data/ab/cd: the server answered {status}"):
                    await fetch_from(url)

    run(main())


def test_redirects_are_refused() -> None:
    """The URL is part of what the operator trusts; the error tells where to, and the setting."""
    server = web_server(answering(302, headers={"Location": "http://elsewhere.example.org/"}))
    with pytest.raises(Refused, match=r"302 Found to http://elsewhere\S+; set follow_redirects"):
        fetch(server)


def test_redirects_are_followed_if_wanted() -> None:
    """With the setting they are obeyed."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/there":
            return web.Response(body=b"hello")
        raise web.HTTPFound("/there")

    assert fetch(web_server(answer), replace(PATIENT, follow_redirects=True)) == b"hello"


def test_redirects_in_circles_end() -> None:
    """Following has an end."""

    async def answer(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(request.path)

    with pytest.raises(UpstreamError):
        fetch(web_server(answer), replace(PATIENT, follow_redirects=True))


# --- too much -----------------------------------------------------------------------------------


def test_declared_too_large() -> None:
    """A length that cannot be right is believed before a byte of it is read."""
    with pytest.raises(TooLarge, match="1001 bytes, but at most 1000 can be right"):
        fetch(raw_server(sending(HEAD, b"Content-Length: 1001\r\n\r\n")))


def test_undeclared_too_large() -> None:
    """A body of no declared length is read up to the limit."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 100)

    with pytest.raises(TooLarge, match="more than 1000 bytes came"):
        fetch(web_server(answer))


# --- too little ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        (HEAD, b"Content-Length: 10\r\n\r\nhello"),
        (HEAD, b"Content-Length: 10\r\n\r\n"),
        (HEAD, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        (HEAD, b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel"),
    ],
    ids=["half", "nothing", "chunked", "half a chunk"],
)
def test_cut_short(parts: tuple[bytes, ...]) -> None:
    """A body with an end missing is not taken for a whole one."""
    with pytest.raises(Unavailable, match="cut short"):
        fetch(raw_server(sending(*parts)))


@pytest.mark.parametrize(
    "parts",
    [(), (b"hello\r\n\r\n",), (b"HTTP/1.1 200 OK\r\n",), (HEAD, b"Content-Length: x\r\n\r\n")],
    ids=["closed", "not HTTP", "half a head", "bad length"],
)
def test_no_answer_at_all(parts: tuple[bytes, ...]) -> None:
    """Whatever else a server sends is no answer, and another may come next time."""
    with pytest.raises(Unavailable, match=r"/data/ab/cd: \S"):
        fetch(raw_server(sending(*parts)))


def test_connection_reset() -> None:
    """A connection that breaks is told as such."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    with pytest.raises(Unavailable):
        fetch(raw_server(answer))


def test_connection_refused() -> None:
    """Where nobody listens, nobody is available."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unavailable, match=r"[Cc]annot connect"):
            run(fetch_from(url))


# --- too slow -----------------------------------------------------------------------------------


def silent_after(*parts: bytes) -> RawAnswer:
    """Send this, and nothing more."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        await asyncio.Event().wait()

    return answer


def trickling(*parts: bytes) -> RawAnswer:
    """Send this, and then a byte from time to time."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "parts", [(), (HEAD,), (HEAD, b"Content-Length: 10\r\n\r\n")], ids=["", "head", "whole head"]
)
def test_stalled(parts: tuple[bytes, ...]) -> None:
    """A server that falls silent is given up after the time-out."""
    with pytest.raises(TooSlow, match=r"nothing for 0\.3 s"):
        fetch(raw_server(silent_after(*parts)), IMPATIENT)


def test_slower_than_the_minimum() -> None:
    """A byte now and then is no delivery, though it never pauses for long."""
    server = raw_server(trickling(HEAD, b"Content-Length: 900\r\n\r\n"))
    with pytest.raises(TooSlow, match=r"less than 1000 bytes a second for 0\.3 s"):
        fetch(server, IMPATIENT)


def test_headers_must_come_to_an_end() -> None:
    """A byte of a header now and then is no answer."""
    with pytest.raises(TooSlow):
        fetch(raw_server(trickling(HEAD, b"X-Endless: ")), IMPATIENT)


def slow_until(is_awake: asyncio.Event) -> RawAnswer:
    """Send a byte from time to time, and everything when somebody is awake."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 300\r\n\r\n")
        for sent in range(300):
            writer.write(b"x")
            if not is_awake.is_set():
                await asyncio.sleep(0.05 if sent else 0)

    return answer


def test_a_slow_consumer_is_not_a_slow_server() -> None:
    """The time that we take ourselves does not count."""
    is_awake = asyncio.Event()

    async def consume(body: Body) -> int:
        first = await anext(body)
        await asyncio.sleep(2 * CALM.timeout_s)
        asyncio.get_running_loop().call_later(0.05, is_awake.set)
        return len(first) + len(await read_all(body))

    async def main() -> int:
        async with raw_server(slow_until(is_awake)) as url:
            return await fetch_from(url, CALM, consume=consume)

    assert run(main()) == 300


def test_speed_is_demanded_of_each_window() -> None:
    """A body may take long, as long as it comes."""

    async def answer(_head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(10):
            writer.write(b"x" * 100)
            await asyncio.sleep(0.15)

    assert fetch(raw_server(answer), CALM) == b"x" * 1000


# --- TLS and proxies ----------------------------------------------------------------------------


def test_own_authorities(keys: Keys, tmp_path: Path) -> None:
    """With its authority in the bundle a server is believed, and without it is not."""
    bundle, context = tls_files(keys.publisher, tmp_path)
    server = answering(body=b"hello")
    options = HttpOptions(ca_bundle=bundle)
    assert fetch(web_server(server, context), options) == b"hello"
    with pytest.raises(Unavailable, match="certificate verify failed"):
        fetch(web_server(server, context))


@pytest.mark.parametrize("content", [None, b"", b"hello"], ids=["missing", "empty", "no PEM"])
def test_unreadable_authorities(tmp_path: Path, content: bytes | None) -> None:
    """A bundle that is none is a mistake in the configuration, told before anything is sent."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(ConfigError, match=f"ca_bundle {bundle}"):
        run(fetch_from("https://127.0.0.1:1", HttpOptions(ca_bundle=bundle)))


def test_a_proxy_is_asked_with_the_whole_url() -> None:
    """A forward proxy hears where the request is meant to go; the server itself hears nothing."""
    heads: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(HEAD + b"Content-Length: 5\r\n\r\nhello")

    async def main() -> bytes:
        async with raw_server(answer) as proxy:
            url = "http://stratum0.invalid:8000/cvmfs/test.example.org"
            return await fetch_from(url, HttpOptions(proxy=proxy))

    assert run(main()) == b"hello"
    url = b"http://stratum0.invalid:8000/cvmfs/test.example.org/data/ab/cd"
    assert heads[0].startswith(b"GET %s HTTP/1.1\r\nHost: stratum0.invalid:8000\r\n" % url)


def test_a_proxy_may_be_away() -> None:
    """Then the way to the server is not available."""
    with pytest.raises(Unavailable):
        run(fetch_from("http://127.0.0.1:1", HttpOptions(proxy="http://127.0.0.1:1")))


# --- manners ------------------------------------------------------------------------------------


def headers_of(request: Request) -> dict[str, str]:
    """What a server is sent."""
    seen: dict[str, str] = {}

    async def answer(asked: web.Request) -> web.StreamResponse:
        seen.update(asked.headers)
        return web.Response()

    fetch(web_server(answer), request=request)
    return seen


def test_plain_headers() -> None:
    """It asks as plainly as the reference client: no Range, condition, encoding, cookie."""
    headers = headers_of(REQUEST)
    assert headers.pop("User-Agent").startswith("cvmfs-mirror/")
    assert headers.pop("Host").startswith("127.0.0.1")
    assert headers == {"Accept": "*/*", "Accept-Encoding": "identity"}


def test_past_caches_only_when_fresh() -> None:
    """Caches are asked to stand aside where that is wanted, and nowhere else."""
    plain, fresh = headers_of(REQUEST), headers_of(replace(REQUEST, is_fresh=True))
    assert {name: fresh[name] for name in fresh.keys() - plain.keys()} == {
        "Cache-Control": "no-cache",
        "Pragma": "no-cache",
    }


def test_bytes_are_taken_as_they_are_sent() -> None:
    """What is stored is what was signed, so nothing is unpacked on the way."""
    packed = gzip.compress(b"hello")
    server = web_server(answering(body=packed, headers={"Content-Encoding": "gzip"}))
    assert fetch(server) == packed


def test_cookies_are_not_kept() -> None:
    """A server cannot tell our requests from each other by what it gave us."""
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "id=1"})

    async def main() -> None:
        async with web_server(answer) as url, http_session(PATIENT) as session:
            for _ in range(2):
                await HttpUpstream(session, url, PATIENT).fetch(REQUEST, read_all)

    run(main())
    assert cookies == [None, None]


def test_slashes_at_the_end_of_the_url() -> None:
    """They do not matter."""
    with HttpStratum0({"data/ab/cd": b"hello"}) as stratum0:
        assert run(fetch_from(stratum0.url + "//")) == b"hello"
