"""The Geo API's way to clients (contract B.11).

Its answers depend on who asks, so they are remembered by the whole request, headers included, and
the address it came from: a proxy asks the same for all its clients, over and over. As with objects,
no HTTP is parsed for that; the first request of a kind goes through aiohttp.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web
from multidict import CIMultiDict

from mirror.geo.answering import Basis, Reply
from mirror.geo.limits import GeoLimits
from mirror.geo.options import GeoOptions
from mirror.geo.setting_up import Geo
from mirror.serve.app import AddRoutes, create_app
from mirror.serve.clock import SERVER
from mirror.serve.connection import Connection
from mirror.serve.content import Found, MemoryBody, Outcome
from mirror.serve.gate import ACCOUNT, Gate
from mirror.serve.ledger import Ledger
from mirror.serve.limits import ServeLimits
from mirror.serve.plain import Headers, headers_of, is_plain
from mirror.serve.resources import Kind, Resource
from mirror.serve.shelf import Shelf

PATTERN: Final = r"/cvmfs/{fqrn:[^/]+}/api/{call:[\s\S]*}"
_API: Final = b"/api/"
_TYPE: Final = "text/plain"
_OUTCOMES: Final[Mapping[Basis, Outcome]] = {
    Basis.DISTANCE: Outcome.HIT_MEMORY,
    Basis.NO_DATABASE: Outcome.BYPASS,
    Basis.LATE: Outcome.STALE,
    Basis.REFUSED: Outcome.ERROR,
}
"""So that metrics tell how many answers were made without a database, or without waiting longer."""


def with_geo(
    shelf: Shelf, ledger: Ledger, limits: ServeLimits, options: GeoOptions, *parts: AddRoutes
) -> tuple[Gate, Callable[[Gate], web.Application]]:
    """A gate, and what makes its application, that answer requests of the Geo API, too.

    And those of other ``parts``, as `create_app` takes them.
    """
    gate, geo = GeoGate(shelf, ledger, limits), Geo(options)
    gate.answers = Answers(geo, geo.limits)
    return gate, lambda it: create_app(it, *parts, GeoRoute(geo, it).add_to)


class GeoRoute:
    """Answers requests in an aiohttp application."""

    def __init__(self, geo: Geo, gate: Gate) -> None:
        """Answer from ``geo``; what is answered again soon is left at the gate, if it takes it."""
        self._geo = geo
        self._gate = gate

    def add_to(self, app: web.Application) -> None:
        """Take the requests that are ours."""
        app.cleanup_ctx.append(self._ready)
        app.router.add_get(PATTERN, self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """GET or HEAD."""
        connection = self._gate.connection_of(request)
        peer = (connection.peer if connection else request.remote) or ""
        asker = self._geo.asker(
            peer, _joined(request, "X-Forwarded-For"), _joined(request, "CF-Connecting-IP")
        )
        generation = self._geo.atlas.generation
        reply = await self._geo.answer(_path(request), asker)
        if isinstance(connection, GeoConnection):
            connection.remember(request, reply, generation)
        return self._response(request, reply)

    def _response(self, request: web.Request, reply: Reply) -> web.Response:
        body = reply.text.encode()
        is_sent = request.method != "HEAD"
        request[ACCOUNT] = Kind.GEO, _OUTCOMES[reply.basis], len(body) if is_sent else 0
        headers = CIMultiDict([("Date", self._gate.clock.date), ("Server", SERVER)])
        headers.extend(_headers(reply, len(body)))
        return web.Response(status=reply.status, body=body, headers=headers)

    async def _ready(self, _app: web.Application) -> AsyncIterator[None]:
        async with self._geo.ready():
            yield


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An answer, and how long it holds."""

    found: Found
    headers: Headers
    until: float
    generation: int


class Answers:
    """What was answered lately, by peer and whole request; the oldest make room."""

    def __init__(self, geo: Geo, limits: GeoLimits) -> None:
        self._geo = geo
        self._limits = limits
        self._entries: OrderedDict[tuple[str, bytes], _Remembered] = OrderedDict()

    def at_hand(self, peer: str, request: bytes, now: float) -> _Remembered | None:
        """The answer to the same request of the same peer, if it still holds."""
        entry = self._entries.get((peer, request))
        if entry is None:
            return None
        if now > entry.until or entry.generation != self._geo.atlas.generation:
            del self._entries[peer, request]
            return None
        return entry

    def remember(self, peer: str, request: bytes, entry: _Remembered) -> None:
        """Keep an answer, unless it is too large, or holds no longer."""
        if entry.until <= self._geo.clock() or len(request) > self._limits.answer_bytes:
            return
        if len(self._entries) >= self._limits.answers:
            self._entries.popitem(last=False)
        self._entries[peer, request] = entry


class GeoGate(Gate):
    """A gate whose connections know answers of the Geo API."""

    answers: Answers | None = None

    def new_connection(self) -> Connection:
        """As `Gate.new_connection`."""
        return GeoConnection(self)


class GeoConnection(Connection):
    """Answers what was asked before."""

    __slots__ = ()
    _gate: GeoGate

    def _answer(self, request: bytes) -> bool:
        return (_API in request and self._answer_again(request)) or super()._answer(request)

    def _answer_again(self, request: bytes) -> bool:
        gate = self._gate
        if gate.answers is None or self.requests_left <= 1:
            return False
        entry = gate.answers.at_hand(self.peer, request, gate.clock.now)
        if entry is None:
            return False
        self._give(request.partition(b"\r\n")[0], entry.headers, entry.found)
        return True

    def remember(self, request: web.Request, reply: Reply, generation: int) -> None:
        """Keep the reply to a request that aiohttp parsed, if it was plain.

        Then the same bytes mean the same; what they do not say, such as a body, cannot follow.
        """
        answers, raw = self._gate.answers, self._raw
        if answers is not None and raw and reply.status == 200 and is_plain(request):
            entry = _Remembered(_found(reply), headers_of(request), reply.until, generation)
            answers.remember(self.peer, raw, entry)


def _headers(reply: Reply, length: int) -> tuple[tuple[str, str], ...]:
    return (
        ("Content-Type", _TYPE),
        ("Cache-Control", f"max-age={reply.max_age_s}"),
        ("Content-Length", str(length)),
    )


def _found(reply: Reply) -> Found:
    content = reply.text.encode()
    headers = _headers(reply, len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii")
    resource = Resource("", _TYPE, f"max-age={reply.max_age_s}", Kind.GEO)
    outcome = _OUTCOMES[reply.basis]
    return Found(resource, head + b"\r\n", content, MemoryBody(content), outcome, 1)


def _path(request: web.Request) -> str:
    """Repository and what follows ``api``, each byte one character, as WSGI has it."""
    raw = unquote_to_bytes(request.rel_url.raw_path).decode("latin-1")
    fqrn, _, call = raw.removeprefix("/cvmfs/").partition("/api/")
    return f"/{fqrn}/{call}"


def _joined(request: web.Request, name: str) -> str | None:
    """All headers of this name as one, as web servers hand them to the reference."""
    found = request.headers.getall(name, None)
    return None if found is None else ", ".join(found)
