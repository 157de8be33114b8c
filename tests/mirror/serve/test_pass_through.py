"""Repositories of which nothing is stored: streamed, under our headers, and nothing else there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web

from mirror.serve.app import create_app
from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.listening import listening, url_of
from mirror.serve.pass_through import Elsewhere, Origin, PassThrough, origins
from mirror.serve.running import Worker
from mirror.serve.tree import Tree
from tests.support.servers import RawAnswer, raw_server, sending, web_server

NAME = "test.example.org"
OBJECT = f"data/ab/{'c' * 38}"
CONTENT = bytes(range(256)) * 4000
FILES = {OBJECT: CONTENT, ".cvmfspublished": b"manifest", ".cvmfs_status.json": b"{}"}
Answered = tuple[int, dict[str, str], bytes]


class Stratum0:
    """Serves ``/x/…``, with headers of its own, and remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """As a web server that knows ranges."""
        self.seen.append((request.path, dict(request.headers)))
        content = FILES.get(request.path.removeprefix("/x/"))
        if content is None:
            return web.Response(
                status=404, headers={"Cache-Control": "max-age=9999"}, text="secret"
            )
        headers = {"ETag": '"1"', "Cache-Control": "max-age=1", "Set-Cookie": "a=b"}
        wanted = request.http_range
        if "Range" not in request.headers:
            return web.Response(body=content, headers=headers)
        if (wanted.start or 0) >= len(content):
            return web.Response(status=416)
        part = content[wanted]
        first = wanted.indices(len(content))[0]
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        return web.Response(status=206, body=part, headers=headers)


@asynccontextmanager
async def passing(storage: Path, origin: Origin) -> AsyncIterator[str]:
    """Our server, which passes NAME through; gives the base URL of the repository."""
    names = {NAME: origin}
    ledger = Ledger(memoryview(bytearray(8 * COUNTERS)).cast("Q"))
    with listening([("127.0.0.1", 0)]) as sockets:
        gate = Gate(Elsewhere(Tree(storage), names), ledger)
        worker = Worker(gate, lambda gate: create_app(gate, PassThrough(names)))
        await worker.start([(each, None) for each in sockets])
        try:
            yield f"{url_of(sockets[0])}/cvmfs/{NAME}"
        finally:
            await worker.stop()


async def ask(url: str, method: str = "GET", **headers: str) -> Answered:
    """One request."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        ClientSession() as session,
        session.request(method, url, headers=sent, allow_redirects=False) as answer,
    ):
        return answer.status, dict(answer.headers), await answer.read()


def with_both(test: Callable[[str, Stratum0], Coroutine[None, None, None]], storage: Path) -> None:
    """Run a test between a Stratum 0 and a server that passes it through."""

    async def run() -> None:
        stratum0 = Stratum0()
        async with (
            web_server(stratum0.answer) as there,
            passing(storage, Origin([f"{there}/x"])) as url,
        ):
            await test(url, stratum0)

    asyncio.run(run())


def test_headers_are_those_of_our_own_files(tmp_path: Path) -> None:
    """Whatever the origin says (contract B.10)."""

    async def test(url: str, _stratum0: Stratum0) -> None:
        for path, content_type, freshness in (
            (OBJECT, "application/octet-stream", "public, max-age=259200, immutable"),
            (".cvmfspublished", "application/x-cvmfs", "public, max-age=61"),
            (".cvmfs_status.json", "application/json", "public, max-age=61"),
        ):
            status, headers, body = await ask(f"{url}/{path}")
            assert (status, body) == (200, FILES[path])
            assert headers["Content-Type"] == content_type
            assert headers["Cache-Control"] == freshness
            assert headers["Content-Length"] == str(len(body))
            assert not headers.keys() & {"ETag", "Last-Modified", "Set-Cookie"}

    with_both(test, tmp_path)


def test_head_and_ranges(tmp_path: Path) -> None:
    """Passed on, with what belongs to them."""

    async def test(url: str, stratum0: Stratum0) -> None:
        status, headers, body = await ask(f"{url}/{OBJECT}", "HEAD")
        assert (status, headers["Content-Length"], body) == (200, str(len(CONTENT)), b"")
        status, headers, body = await ask(f"{url}/{OBJECT}", Range="bytes=10-19")
        assert (status, body) == (206, CONTENT[10:20])
        assert headers["Content-Range"] == f"bytes 10-19/{len(CONTENT)}"
        assert headers["Content-Length"] == "10"
        assert headers["Cache-Control"] == "public, max-age=259200, immutable"
        status, headers, _ = await ask(f"{url}/{OBJECT}", Range="bytes=99999999-")
        assert (status, headers["Cache-Control"]) == (416, "no-store")
        assert [path for path, _ in stratum0.seen] == [f"/x/{OBJECT}"] * 3

    with_both(test, tmp_path)


def test_a_404_is_ours_and_kept_by_nobody(tmp_path: Path) -> None:
    """The origin's page is not passed on."""

    async def test(url: str, _stratum0: Stratum0) -> None:
        status, headers, body = await ask(f"{url}/data/ab/{'d' * 38}")
        assert (status, headers["Cache-Control"]) == (404, "no-store")
        assert b"secret" not in body

    with_both(test, tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "data/", "data/txn/x", "notes.txt", "api/v1.0/geo/x/a", "%2e%2e/secret", "a%2fb"),
        *(f"{OBJECT}/../../secret", ".cvmfspublished/x", "x?y"),
    ],
)
def test_nothing_else_of_the_origin_can_be_reached(tmp_path: Path, path: str) -> None:
    """Only names of objects and root files go on."""

    async def test(url: str, stratum0: Stratum0) -> None:
        status, headers, _ = await ask(f"{url}/{path}")
        assert (status, headers["Cache-Control"]) == (404, "no-store")
        assert stratum0.seen == []

    with_both(test, tmp_path)


def test_what_clients_say_of_themselves_stays_here(tmp_path: Path) -> None:
    """But that they got wrong bytes goes on (contract C.1)."""

    async def test(url: str, stratum0: Stratum0) -> None:
        await ask(f"{url}/{OBJECT}", Cache_Control="no-cache", Pragma="no-cache", Cookie="a=b",
                  Authorization="Bearer secret", Accept_Encoding="gzip")  # fmt: skip
        ((_, headers),) = stratum0.seen
        assert headers["Cache-Control"] == headers["Pragma"] == "no-cache"
        assert headers["Accept-Encoding"] == "identity"
        assert not headers.keys() & {"Cookie", "Authorization"}

    with_both(test, tmp_path)


def test_an_old_tree_is_not_served(tmp_path: Path) -> None:
    """What was replicated once must not hide what is new."""
    old = tmp_path / NAME
    old.mkdir()
    (old / ".cvmfspublished").write_bytes(b"old")

    async def test(url: str, _stratum0: Stratum0) -> None:
        for _ in range(3):  # the first request teaches the fast path
            assert (await ask(f"{url}/.cvmfspublished"))[2] == b"manifest"

    with_both(test, tmp_path)


def with_raw(storage: Path, answer: RawAnswer, timeout_s: float = 10.0) -> Answered:
    """What a client gets of an origin that answers like this."""

    async def run() -> Answered:
        async with (
            raw_server(answer) as there,
            passing(storage, Origin([there], timeout_s=timeout_s)) as url,
        ):
            return await ask(f"{url}/.cvmfspublished")

    return asyncio.run(run())


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"nonsense\r\n\r\n",
        b"",
    ],
    ids=["500", "redirect", "packed", "nonsense", "nothing"],
)
def test_an_origin_that_fails(tmp_path: Path, said: bytes) -> None:
    """That is not the client's fault, and nobody keeps it."""
    status, headers, _ = with_raw(tmp_path, sending(said))
    assert (status, headers["Cache-Control"]) == (502, "no-store")


def test_an_origin_that_says_nothing(tmp_path: Path) -> None:
    """It is waited for so long, and no longer."""

    async def silent(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    status, headers, _ = with_raw(tmp_path, silent, timeout_s=0.05)
    assert (status, headers["Cache-Control"]) == (504, "no-store")


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n"
        + bytes(0x200000)
        + b"\r\n0\r\n\r\n",
    ],
    ids=["short", "cut", "too large"],
)
def test_an_answer_that_cannot_be_completed(tmp_path: Path, said: bytes) -> None:
    """The client is told by the end of the connection."""
    with pytest.raises(ClientPayloadError):
        with_raw(tmp_path, sending(said))


def test_the_next_source_is_asked_where_one_is_dead(tmp_path: Path) -> None:
    """In their order."""

    async def run() -> None:
        stratum0 = Stratum0()
        async with web_server(stratum0.answer) as there:
            origin = Origin(["http://127.0.0.1:1/x", f"{there}/x"])
            async with passing(tmp_path, origin) as url:
                assert (await ask(f"{url}/{OBJECT}"))[2] == CONTENT

    asyncio.run(run())


def test_a_client_that_leaves_takes_nobody_with_it(tmp_path: Path) -> None:
    """The next one is served."""

    async def test(url: str, _stratum0: Stratum0) -> None:
        async with ClientSession() as session:
            answer = await session.get(f"{url}/{OBJECT}")
            answer.close()
        assert (await ask(f"{url}/{OBJECT}"))[2] == CONTENT

    with_both(test, tmp_path)


def test_what_a_worker_is_told() -> None:
    """Origins go to workers as JSON."""
    about = {NAME: {"urls": ["http://x"], "proxy": None, "ca_bundle": "/ca.pem", "timeout_s": 5.0}}
    assert origins(json.loads(json.dumps(about))) == {
        NAME: Origin(["http://x"], None, "/ca.pem", 5.0)
    }
