"""What the daemon answers, not the worker: status, push, notifications, health.

A worker knows nothing of replication. Requests for these paths go to the daemon over a socket in
the file system, and its answers come back as they are, also those that never end. Where no daemon
runs there is nothing at these paths.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, UnixConnector, web

from mirror.serve.content import Outcome
from mirror.serve.gate import ACCOUNT
from mirror.serve.resources import NOT_FOUND_HEADERS, Kind

_PATHS: Final = ("/api/v1/{rest:.*}", "/cvmfsmon/{rest:.*}", "/healthz", "/readyz")
_MAX_BODY_BYTES: Final = 1024 * 1024
_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "proxy-connection",
        "server",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that concern one connection (RFC 9110, 7.6.1), or that whoever answers sets anew."""
_FORWARDED: Final = frozenset({"accept", "authorization", "content-type", "user-agent"})
_PIECE_BYTES: Final = 64 * 1024


class Forwarding:
    """`AddRoutes` for a worker beside a daemon."""

    def __init__(self, daemon: Path) -> None:
        """Ask at the socket ``daemon``."""
        self._path = str(daemon)
        self._session: ClientSession | None = None

    def __call__(self, app: web.Application) -> None:
        """Add the routes."""
        app.cleanup_ctx.append(self._connected)
        for path in _PATHS:
            app.router.add_route("*", path, self._forward)

    async def _connected(self, _app: web.Application) -> AsyncIterator[None]:
        timeout = ClientTimeout(total=None, sock_connect=5.0)
        connector = UnixConnector(self._path, limit=0)
        async with ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False
        ) as session:
            self._session = session
            yield

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        request[ACCOUNT] = Kind.INFO, Outcome.BYPASS, 0
        body = await request.content.read(_MAX_BODY_BYTES + 1)
        if len(body) > _MAX_BODY_BYTES:
            raise web.HTTPRequestEntityTooLarge(_MAX_BODY_BYTES, len(body))
        response: web.StreamResponse | None = None
        try:
            async with self._asked(request, body) as answer:
                response = web.StreamResponse(
                    status=answer.status,
                    reason=answer.reason,
                    headers=[
                        each
                        for each in answer.headers.items()
                        if each[0].lower() not in _HOP_BY_HOP
                    ],
                )
                if "Content-Length" in answer.headers:
                    response.content_length = int(answer.headers["Content-Length"])
                return await _copy(request, response, answer.content.iter_chunked(_PIECE_BYTES))
        except ClientError:
            if response is not None and response.prepared:
                request.protocol.force_close()  # it cannot be completed, and the client shall know
                return response
            return _nobody_there()

    def _asked(
        self, request: web.Request, body: bytes
    ) -> AbstractAsyncContextManager[ClientResponse]:
        if self._session is None:
            raise RuntimeError("the application has not started")
        headers = [each for each in request.headers.items() if each[0].lower() in _FORWARDED]
        if request.remote:
            headers.append(("X-Forwarded-For", request.remote))
        return self._session.request(
            request.method,
            f"http://daemon{request.raw_path}",
            headers=headers,
            data=body or None,
            allow_redirects=False,
        )


async def _copy(
    request: web.Request, response: web.StreamResponse, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    sent = 0
    try:
        await response.prepare(request)
        async for piece in pieces:
            await response.write(piece)
            sent += len(piece)
    except ConnectionError:
        pass  # the client left
    request[ACCOUNT] = Kind.INFO, Outcome.BYPASS, sent
    return response


def _nobody_there() -> web.Response:
    text = '{"error": "the daemon does not answer; is cvmfs-mirror run still running?"}\n'
    return web.Response(
        status=503, text=text, content_type="application/json", headers=NOT_FOUND_HEADERS
    )
