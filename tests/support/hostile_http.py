"""Ways in which a server, or somebody on the way to it, misbehaves: faults for `HttpStratum0`.

    stratum0.faults["data/ab/…"] = status(500)

What an honest HTTP library would never send is written on the connection itself by `raw`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Final

from aiohttp import ClientError, web

from tests.support.http_stratum0 import Fault

_BLOCK: Final = b"\0" * 64 * 1024
_NO_LINGER: Final = struct.pack("ii", 1, 0)


def status(code: int, reason: str | None = None) -> Fault:
    """Answer with a status and an error page."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, reason=reason, body=b"<html>no</html>")

    return answer


def redirect(location: str) -> Fault:
    """Send the client elsewhere."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": location})

    return answer


def content(body: bytes, encoding: str | None = None) -> Fault:
    """Answer with these bytes, and with whatever ``Content-Encoding`` they are said to have."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Encoding": encoding} if encoding else {})

    return answer


def poisoned_cache(wrong: bytes, right: bytes) -> Fault:
    """A cache that holds wrong bytes, and fetches the right ones when told to stand aside."""

    async def answer(request: web.Request) -> web.StreamResponse:
        is_past_caches = request.headers.get("Cache-Control") == "no-cache"
        return web.Response(body=right if is_past_caches else wrong)

    return answer


def raw(sent: bytes, *, resets: bool = False) -> Fault:
    """Write these bytes on the connection and end it, if need be by a reset."""

    async def answer(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        transport.write(sent)
        if resets:
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            transport.abort()
        else:
            transport.close()
        return web.Response()  # goes nowhere

    return answer


def truncated(whole: bytes) -> Fault:
    """Announce all of it, send half, and hang up."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole)
    return raw(head + whole[: len(whole) // 2])


async def silent(request: web.Request) -> web.StreamResponse:
    """Take the request, and never answer it."""
    await asyncio.Event().wait()
    raise AssertionError


async def dripping_head(request: web.Request) -> web.StreamResponse:
    """A header that grows by one byte at a time and never ends."""
    assert request.transport is not None
    request.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while _is_connected(request):
        request.transport.write(b"x")
        await asyncio.sleep(0.02)
    return web.Response()


@dataclass(slots=True)
class Endless:
    """A body that never ends.

    Attributes:
        block: is sent again and again.
        pause_s: between one and the next.
        sent_bytes: over all requests.
    """

    block: bytes = _BLOCK
    pause_s: float = 0.0
    sent_bytes: int = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer as a `Fault`."""
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while _is_connected(request):
                await response.write(self.block)
                self.sent_bytes += len(self.block)
                await asyncio.sleep(self.pause_s)
        except (ClientError, ConnectionError):
            pass  # the client has had enough
        return response


def _is_connected(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()
