"""aiohttp's side: every request that is not plain, or not ours.

Answers here and on the fast path are the same, header by header; the differential test sees to it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from multidict import CIMultiDict
from yarl import URL

from mirror.serve.clock import SERVER
from mirror.serve.content import Found, Outcome
from mirror.serve.gate import ACCOUNT, Gate
from mirror.serve.offences import offence
from mirror.serve.ranges import Part, Unsatisfiable, parts
from mirror.serve.resources import NOT_FOUND_HEADERS, Kind, Resource
from mirror.serve.root_files import Withheld
from mirror.serve.shelf import Refusal

_AGE: Final = b"Age: "
_SLICE_BYTES: Final = 128 * 1024
_ROBOTS: Final = "User-agent: *\nDisallow: /\n"
IS_LAST: Final = web.RequestKey("is_last", bool)
_ALLOWED: Final = {"Allow": "GET, HEAD"}


AddRoutes = Callable[[web.Application], None]


def create_app(gate: Gate, *parts: AddRoutes) -> web.Application:
    """Serve what is on the gate's shelf, and what else there is.

    Args:
        gate: where requests come in.
        parts: each adds routes of its own, which go before those of files.
    """
    app = web.Application(middlewares=[_bookkeeping(gate)])
    app.on_response_prepare.append(_say_good_bye)
    app.router.add_get("/robots.txt", _robots)
    for add_routes in parts:
        add_routes(app)
    app.router.add_get("/{path:.*}", _Objects(gate).answer)
    return app


def _bookkeeping(gate: Gate) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = gate.connection_of(request)
        refused = offence(request)
        may_go_on = connection is not None and connection.begin(request)
        request[IS_LAST] = refused is not None or not may_go_on
        try:
            response = await handler(request) if refused is None else refused
        except web.HTTPException as refusal:
            response = _refused(refusal)
        if not response.prepared:
            response.headers.setdefault("Server", SERVER)
        return response

    return middleware


async def _say_good_bye(request: web.Request, response: web.StreamResponse) -> None:
    if request.get(IS_LAST, False):
        response.force_close()
        response.headers["Connection"] = "close"


def _refused(refusal: web.HTTPException) -> web.Response:
    """An error of the router's, in our words: nothing of it may be kept."""
    headers = dict(NOT_FOUND_HEADERS)
    if refusal.status == 405:
        headers |= _ALLOWED
    text = f"{refusal.status}: {refusal.reason}\n"
    return web.Response(status=refusal.status, text=text, headers=headers)


async def _robots(request: web.Request) -> web.StreamResponse:
    request[ACCOUNT] = Kind.OTHER, Outcome.HIT_MEMORY, len(_ROBOTS)
    return web.Response(text=_ROBOTS, headers={"Cache-Control": "public, max-age=86400"})


class _Objects:
    """Objects, root files, and the list of repositories."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """GET or HEAD, in whole or in parts."""
        kind = Kind.OTHER
        try:
            wanted = self._gate.shelf.asked(request.path, origin_of(request))
            if wanted is None:
                raise Refusal(404, "Not Found")
            kind = wanted.kind
            found = await self._find(request, wanted)
            return await _Answer(self._gate, request, found).send(_parts(request, found))
        except Refusal as refusal:
            return _told(request, kind, refusal)

    async def _find(self, request: web.Request, wanted: Resource) -> Found:
        """It, or the refusal that the fast path has met already."""
        connection = self._gate.connection_of(request)
        refusal = connection.take_refusal() if connection is not None else None
        if refusal is not None:
            raise refusal
        try:
            found = await self._gate.shelf.find(wanted, is_fresh=_is_fresh(request))
        except Withheld as error:
            raise Refusal(503, str(error)) from error
        except OSError as error:
            self._gate.complain(request.raw_path.encode(), error)
            raise Refusal(503, "Service Unavailable") from error
        if found is None:
            raise Refusal(404, "Not Found")
        return found


class _Answer:
    """One answer with a body of ours."""

    def __init__(self, gate: Gate, request: web.Request, found: Found) -> None:
        self._gate = gate
        self._request = request
        self._found = found
        self._sent_bytes = 0
        self._note()

    async def send(self, wanted: list[Part]) -> web.StreamResponse:
        """All of it, one part, or several."""
        size = self._found.body.size_bytes
        if not wanted:
            response = self._response(200, size)
            pieces = [(b"", (0, size))]
        elif len(wanted) == 1:
            first, end = wanted[0]
            response = self._response(206, end - first)
            response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
            pieces = [(b"", wanted[0])]
        else:
            response, pieces = self._several(wanted)
        try:
            await response.prepare(self._request)
            if self._request.method != "HEAD":
                for before, part in pieces:
                    await self._write(response, before, part)
        except ConnectionError:
            pass  # the client left; what it got is noted
        self._note()
        return response

    def _response(self, status: int, length: int) -> web.StreamResponse:
        headers = CIMultiDict([("Date", self._gate.clock.date), ("Server", SERVER)])
        first, _, _ = self._found.head.partition(b"\r\n")
        if first.startswith(_AGE):
            headers["Age"] = first.removeprefix(_AGE).decode("ascii")
        headers.extend(self._found.resource.headers(length))
        return web.StreamResponse(status=status, headers=headers)

    def _several(self, wanted: list[Part]) -> tuple[web.StreamResponse, list[tuple[bytes, Part]]]:
        """A multipart answer (RFC 9110, 14.6)."""
        boundary = secrets.token_hex(16)
        size, content_type = self._found.body.size_bytes, self._found.resource.content_type
        pieces: list[tuple[bytes, Part]] = [
            (
                (
                    f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
                    f"Content-Range: bytes {first}-{end - 1}/{size}\r\n\r\n"
                ).encode(),
                (first, end),
            )
            for first, end in wanted
        ]
        pieces.append((f"\r\n--{boundary}--\r\n".encode(), (0, 0)))
        length = sum(len(before) + end - first for before, (first, end) in pieces)
        response = self._response(206, length)
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        return response, pieces

    async def _write(self, response: web.StreamResponse, before: bytes, part: Part) -> None:
        if before:
            await response.write(before)
            self._sent_bytes += len(before)
        first, end = part
        while first < end:
            piece = await self._piece(first, min(first + _SLICE_BYTES, end))
            if not piece:
                # closing early tells the client, a padded body would not
                self._request.protocol.force_close()
                raise ConnectionResetError
            await response.write(piece)
            first += len(piece)
            self._sent_bytes += len(piece)

    async def _piece(self, first: int, end: int) -> bytes | bytearray | memoryview:
        piece = self._found.body.at_hand(first, end)
        try:
            return piece if piece is not None else await self._found.body.read(first, end)
        except OSError as error:
            self._gate.complain(self._request.raw_path.encode(), error)
            return b""

    def _note(self) -> None:
        found = self._found
        self._request[ACCOUNT] = found.resource.kind, found.outcome, self._sent_bytes


def _range(request: web.Request) -> str:
    """The parts asked for: none of HEAD (RFC 9110, 14.2), and no validator fits (13.1.5)."""
    if request.method != "GET" or "If-Range" in request.headers:
        return ""
    return ",".join(request.headers.getall("Range", ()))  # two of them mean nothing


def _is_fresh(request: web.Request) -> bool:
    """Whether the client asks for the origin's bytes, as it does after wrong ones (C.1)."""
    asked = request.headers.get("Cache-Control", "") + request.headers.get("Pragma", "")
    return "no-cache" in asked.lower()


def origin_of(request: web.Request) -> str:
    """The server that a client of a forward proxy names; empty for anybody else."""
    if request.raw_path.startswith("/"):
        return ""
    url = URL(request.raw_path, encoded=True)  # aiohttp's own has the scheme of the connection
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{url.scheme}://{host}:{url.port}"


def _parts(request: web.Request, found: Found) -> list[Part]:
    size = found.body.size_bytes
    try:
        return parts(_range(request), size)
    except Unsatisfiable as error:
        headers = {"Content-Range": f"bytes */{size}"}
        raise Refusal(416, "Range Not Satisfiable", headers) from error


def _told(request: web.Request, kind: Kind, refusal: Refusal) -> web.Response:
    """A refusal in words; nothing of it may be kept."""
    request[ACCOUNT] = kind, Outcome.ERROR, 0
    headers = {**NOT_FOUND_HEADERS, **refusal.headers}
    return web.Response(
        status=refusal.status, text=f"{refusal.status}: {refusal}\n", headers=headers
    )
