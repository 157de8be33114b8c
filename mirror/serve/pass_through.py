"""Repositories of which nothing is stored: every request goes to their Stratum 0.

Only what has the name of an object or a root file goes on, so that nobody reaches anything else
there; the geo API is ours to answer. Bytes stream through as they come. They are not verified,
which clients do, and neither kept: that is for the proxies in front. Headers are those of files of
our own (contract B.10), whatever the origin says.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from multidict import CIMultiDict

from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import REFLOG
from mirror.serve.content import Found, Outcome
from mirror.serve.gate import ACCOUNT
from mirror.serve.resources import NOT_FOUND_HEADERS, Kind, Resource, resource
from mirror.serve.shelf import Shelf, Tell

_CONNECTIONS: Final = 128
_TO_BEGIN_S: Final = 20.0
_PIECE_BYTES: Final = 128 * 1024
_GOOD: Final = frozenset({200, 206})
_FORWARDED: Final = ("Range", "Cache-Control", "Pragma")
_MULTIPART: Final = "multipart/byteranges"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a repository is.

    Attributes:
        urls: its Stratum 0, then other servers that have it, asked where the one before is dead.
        proxy: on the way there; None for none.
        ca_bundle: authorities for HTTPS; None for the system's.
        timeout_s: to connect, and between two pieces of an answer.
    """

    urls: Sequence[str]
    proxy: str | None = None
    ca_bundle: str | None = None
    timeout_s: float = 10.0


def origins(about: Mapping[str, Mapping[str, Any]]) -> dict[str, Origin]:
    """By repository, from what a worker is told: JSON with the attributes of each `Origin`."""
    return {name: Origin(**each) for name, each in about.items()}


class Elsewhere:
    """A `Shelf` that has nothing of some repositories, whatever old trees of them are there."""

    def __init__(self, shelf: Shelf, names: Mapping[str, Origin]) -> None:
        """Hide these of ``shelf``."""
        self._shelf = shelf
        self._names = tuple(b"GET /cvmfs/%s/" % each.encode("ascii") for each in names)

    def at_hand(self, line: bytes) -> Found | None:
        """As `Shelf.at_hand`."""
        return None if line.startswith(self._names) else self._shelf.at_hand(line)

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        return None if line.startswith(self._names) else self._shelf.named(line)

    def asked(self, path: str, origin: str) -> Resource | None:
        """As `Shelf.asked`."""
        return self._shelf.asked(path, origin)

    def seek(self, line: bytes, wanted: Resource, tell: Tell) -> Callable[[], None]:
        """As `Shelf.seek`."""
        return self._shelf.seek(line, wanted, tell)

    async def find(self, wanted: Resource, *, is_fresh: bool = False) -> Found | None:
        """As `Shelf.find`."""
        return await self._shelf.find(wanted, is_fresh=is_fresh)


class PassThrough:
    """`AddRoutes` for repositories that are passed through."""

    def __init__(self, repositories: Mapping[str, Origin]) -> None:
        """By their names; nothing is asked yet."""
        self._origins = dict(repositories)
        self._session: ClientSession | None = None
        self._tls: dict[str, ssl.SSLContext | bool] = {}

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.cleanup_ctx.append(self._connected)
        for name in self._origins:
            app.router.add_get(f"/cvmfs/{name}/{{rest:(?!api/).*}}", self._pass)

    async def _connected(self, _app: web.Application) -> AsyncIterator[None]:
        connector = TCPConnector(limit=_CONNECTIONS)
        async with ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            yield

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        wanted = resource(request.path)
        if wanted is None:
            return _refused(request, Kind.OTHER, 404)
        request[ACCOUNT] = wanted.kind, Outcome.BYPASS, 0
        name, _, path = wanted.path.partition("/")
        origin = self._origins[name]
        status = 502
        for url in origin.urls:
            passing = _Passing(request, wanted)
            try:
                async with self._asked(request, origin, f"{url}/{path}") as answer:
                    if (status := _verdict(answer)) in _GOOD:
                        return await passing.stream(answer)
            except TimeoutError:
                status = 504
            except (ClientError, OSError, ssl.SSLError):
                status = 502
            if status == 416:
                break
            if passing.response is not None:
                request.protocol.force_close()  # it cannot be completed, and the client shall know
                return passing.response
        return _refused(request, wanted.kind, status)

    @asynccontextmanager
    async def _asked(
        self, request: web.Request, origin: Origin, url: str
    ) -> AsyncIterator[ClientResponse]:
        if self._session is None:
            raise RuntimeError("the application has not started")
        timeout = ClientTimeout(
            total=None,
            connect=_TO_BEGIN_S,
            sock_connect=origin.timeout_s,
            sock_read=origin.timeout_s,
        )
        async with self._session.request(
            request.method,
            url,
            headers=_headers(request),
            proxy=origin.proxy,
            ssl=self._context(origin),
            timeout=timeout,
            allow_redirects=False,
        ) as answer:
            yield answer

    def _context(self, origin: Origin) -> ssl.SSLContext | bool:
        bundle = origin.ca_bundle
        if bundle is None:
            return True
        if bundle not in self._tls:
            self._tls[bundle] = ssl.create_default_context(cafile=bundle)
        return self._tls[bundle]


class _Passing:
    """One answer on its way."""

    def __init__(self, request: web.Request, wanted: Resource) -> None:
        self._request = request
        self._wanted = wanted
        self.response: web.StreamResponse | None = None

    async def stream(self, answer: ClientResponse) -> web.StreamResponse:
        """All of it, as fast as the client takes it.

        Raises:
            ClientError, TimeoutError: the origin failed; `response` tells whether it had begun.
        """
        response = web.StreamResponse(status=answer.status, headers=_answered(answer, self._wanted))
        if answer.content_length is not None:
            response.content_length = answer.content_length
        limit, sent = _limit(self._wanted), 0
        self.response = response
        try:
            await response.prepare(self._request)
        except ConnectionError:
            return response
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            sent += len(piece)
            if sent > limit:
                raise ClientError
            try:
                await response.write(piece)
            except ConnectionError:
                break  # the client left
            self._request[ACCOUNT] = self._wanted.kind, Outcome.BYPASS, sent
        return response


def _headers(request: web.Request) -> CIMultiDict[str]:
    """What the client says of the answer it wants; its bytes are always those that were stored."""
    headers = CIMultiDict({"Accept-Encoding": "identity"})
    for name in _FORWARDED:
        for value in request.headers.getall(name, ()):
            headers.add(name, value)
    return headers


def _verdict(answer: ClientResponse) -> int:
    """The status for the client: a success, or whose fault it is that there is none."""
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        return 502
    if answer.status in _GOOD or answer.status == 416:
        return answer.status
    return 404 if answer.status in {404, 410} else 502


def _answered(answer: ClientResponse, wanted: Resource) -> CIMultiDict[str]:
    headers = CIMultiDict([each for each in wanted.headers(0) if each[0] != "Content-Length"])
    if answer.status == 206:
        if "Content-Range" in answer.headers:
            headers["Content-Range"] = answer.headers["Content-Range"]
        elif answer.content_type == _MULTIPART:
            headers["Content-Type"] = answer.headers["Content-Type"]
    return headers


def _limit(wanted: Resource) -> int:
    limits = Limits()
    if wanted.is_immutable:
        return limits.object_bytes
    return limits.reflog_bytes if wanted.path.endswith(f"/{REFLOG}") else limits.letter_bytes


def _refused(request: web.Request, kind: Kind, status: int) -> web.Response:
    """Nothing of it may be kept: it may be there in a second."""
    request[ACCOUNT] = kind, Outcome.ERROR, 0
    reason = {404: "Not Found", 416: "Range Not Satisfiable", 504: "Gateway Timeout"}
    text = f"{status}: {reason.get(status, 'Bad Gateway')}\n"
    return web.Response(status=status, text=text, headers=NOT_FOUND_HEADERS)
