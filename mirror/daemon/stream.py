"""``GET /api/v1/notifications/subscribe``: the hub's messages as server-sent events (B.14).

Each message is one chunk: the reference client takes what it receives at once for one message. And
it takes a comment for a message that it cannot read, so heartbeats go only to those that ask.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from mirror.daemon.answers import Problem, peer_of, read_body
from mirror.daemon.hub import Hub, Seat, TooManySubscribers
from mirror.daemon.notifications import MAX_SUBSCRIPTION_BYTES, Wish, parse_wish
from mirror.daemon.replicas import Replicas
from mirror.errors import FormatError

_HEADERS: Final = {"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
_WANTS_HEARTBEATS: Final = web.RequestKey("wants_heartbeats", bool)
_HEARTBEAT: Final = b": heartbeat\n\n"


class Stream:
    """Feeds subscribers."""

    def __init__(self, hub: Hub, replicas: Replicas) -> None:
        """From this hub, about these replicas."""
        self._hub = hub
        self._replicas = replicas

    async def subscribe(self, request: web.Request) -> web.StreamResponse:
        """One subscriber, until it leaves or has heard nothing for too long."""
        wish = await self._wish(request)
        request[_WANTS_HEARTBEATS] = wish.wants_heartbeats
        response = web.StreamResponse(headers=_HEADERS)
        transport = request.transport

        def drop() -> None:
            if transport is not None:
                transport.abort()

        try:
            with self._hub.subscribe(wish.fqrn, peer_of(request), drop) as seat:
                await response.prepare(request)
                await self._feed(request, response, seat)
        except TooManySubscribers:
            raise Problem(
                503, "too many subscribers", "come back later; polling goes on working", 60
            ) from None
        except (ConnectionError, TimeoutError):
            drop()  # it left, or takes nothing
        return response

    async def _wish(self, request: web.Request) -> Wish:
        raw = await read_body(request, MAX_SUBSCRIPTION_BYTES)
        try:
            wish = parse_wish(raw)
        except FormatError as error:
            example = 'send {"version": 1, "repository": "software.example.org"} as the body'
            raise Problem(400, str(error), example) from error
        self._replicas.require(wish.fqrn.name)
        return wish

    async def _feed(self, request: web.Request, response: web.StreamResponse, seat: Seat) -> None:
        limits = self._hub.limits
        quiet_s = 0.0
        while quiet_s < limits.longest_s:
            try:
                async with asyncio.timeout(limits.heartbeat_s):
                    text = await seat.next()
            except TimeoutError:
                quiet_s += limits.heartbeat_s
                if request.transport is None:
                    return  # it left
                message = _HEARTBEAT if request[_WANTS_HEARTBEATS] else b""
            else:
                if text is None:
                    return
                quiet_s, message = 0.0, f"data: {text}\n\n".encode()
            async with asyncio.timeout(limits.stalled_s):
                await response.write(message)
