"""What a proxy for CernVM-FS does not do, said in words."""

from __future__ import annotations

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from mirror.serve.content import Outcome
from mirror.serve.gate import ACCOUNT
from mirror.serve.resources import NOT_FOUND_HEADERS, Kind
from proxy.fetching import NAME

_ANSWERED: Final = frozenset({"GET", "HEAD"})
_METHODS: Final = {"Allow": "GET, HEAD", "Proxy-Status": f"{NAME}; error=http_request_denied"}


def only_reads(app: web.Application) -> None:
    """`AddRoutes` for methods that change something or make a tunnel.

    No route of theirs: what ``CONNECT`` names is no path.
    """
    app.middlewares.append(_refuse)


@web.middleware
async def _refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.method in _ANSWERED:
        return await handler(request)
    request[ACCOUNT] = Kind.OTHER, Outcome.ERROR, 0
    what = "makes no tunnels" if request.method == "CONNECT" else "only reads"
    return web.Response(
        status=405,
        text=f"405: {request.method}: this proxy {what}; it answers GET and HEAD\n",
        headers={**NOT_FOUND_HEADERS, **_METHODS},
    )
