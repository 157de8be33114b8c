"""What all connections of a worker share, and the list of them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from aiohttp.abc import AbstractAccessLogger
from aiohttp.web import BaseRequest, RequestKey, StreamResponse

from mirror.serve.clock import SERVER, Clock
from mirror.serve.connection import Connection
from mirror.serve.content import Outcome
from mirror.serve.ledger import Ledger, Served
from mirror.serve.limits import ServeLimits
from mirror.serve.plain import Headers, PlainBlocks, headers_of
from mirror.serve.resources import Kind
from mirror.serve.shelf import Shelf

if TYPE_CHECKING:
    from aiohttp.web import RequestHandler, Server

_TICK_S: Final = 0.25
_SMALL_BYTES: Final = 64 * 1024
_LOOK_EVERY_TICKS: Final = 4
_log: Final = logging.getLogger(__name__)


class Gate:
    """Lets clients in, and looks after them.

    Attributes:
        shelf: where answers come from.
        ledger: where they are entered.
        limits: what clients may take.
        clock: of the worker.
        plain: headers known to be plain; empty where the fast path is off.
        idle_ends: when a connection that is idle from now on is closed.
        refusal: what a client is told that is one too many.
        scratch: to read an answer into that is written at once.
    """

    def __init__(
        self,
        shelf: Shelf,
        ledger: Ledger,
        limits: ServeLimits | None = None,
        *,
        is_fast: bool = True,
    ) -> None:
        """Open; ``is_fast`` off sends every request through aiohttp."""
        self.loop = asyncio.get_running_loop()
        self.shelf = shelf
        self.ledger = ledger
        self.limits = limits or ServeLimits()
        self.clock = Clock(self.loop)
        self._blocks = PlainBlocks()
        self._is_fast = is_fast
        self.plain: Final[dict[bytes, Headers]] = self._blocks.known
        self.idle_ends = self.clock.now + self.limits.idle_s
        self.refusal = _refusal()
        self.refused = 0
        self.scratch = memoryview(bytearray(_SMALL_BYTES))
        self._server: Server | None = None
        self._connections: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._by_handler: dict[object, Connection] = {}
        self._is_draining = False
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None

    def open(self, server: Server) -> None:
        """Begin; ``server`` makes aiohttp's side of connections."""
        self._server = server
        self._tick()

    def new_connection(self) -> Connection:
        """For a client that comes."""
        return Connection(self)

    # --- for connections --------------------------------------------------------------------------

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        limits, peer = self.limits, connection.peer
        is_too_many = (
            len(self._connections) >= limits.connections
            or self._addresses[peer] >= limits.connections_per_address
        )
        self._connections.add(connection)
        self._addresses[peer] += 1
        self.refused += is_too_many
        if self._is_draining:
            connection.drain()
        return not is_too_many

    def dismiss(self, connection: Connection, handler: RequestHandler | None) -> None:
        """A connection is over."""
        self._connections.discard(connection)
        self._addresses[connection.peer] -= 1
        if not self._addresses[connection.peer]:
            del self._addresses[connection.peer]
        self._by_handler.pop(handler, None)

    def new_handler(self, connection: Connection) -> RequestHandler:
        """Give a connection its aiohttp."""
        if self._server is None:
            raise RuntimeError("the gate is not open yet")
        handler: RequestHandler = self._server()
        self._by_handler[handler] = connection
        return handler

    def connection_of(self, request: BaseRequest) -> Connection | None:
        """Where aiohttp has a request from; None if it was lost meanwhile."""
        return self._by_handler.get(request.protocol)

    def learn(self, request: BaseRequest, raw: bytes) -> None:
        """Remember plain headers."""
        if self._is_fast and not self._is_draining:
            self._blocks.learn(request, raw)

    @staticmethod
    def complain(line: bytes, error: Exception) -> None:
        """Tell the operator of an answer that could not be completed, unless its client left."""
        if not isinstance(error, ConnectionError):
            _log.error("%s: %s", line.decode("latin-1"), error)

    # --- for aiohttp ------------------------------------------------------------------------------

    def access_logger(self) -> type[AbstractAccessLogger]:
        """What aiohttp calls when an answer is complete: our way to know that, and to count it."""
        gate = self

        class Completed(AbstractAccessLogger):
            def log(self, request: BaseRequest, response: StreamResponse, time: float) -> None:
                gate.completed(request, response, time)

        return Completed

    def completed(self, request: BaseRequest, response: StreamResponse, seconds: float) -> None:
        """An answer of aiohttp's is complete, or will never be."""
        connection = self._by_handler.get(request.protocol)
        if connection is None:
            return  # it was lost meanwhile
        self.ledger.add(_served(connection.peer, request, response, seconds))
        connection.finish(request, response)

    # --- the worker's life ------------------------------------------------------------------------

    def drain(self) -> None:
        """Let every client end well: each is told with its next answer to come back anew."""
        self._is_draining = True
        self.plain.clear()
        for connection in self._connections:
            connection.drain()

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    def close(self) -> None:
        """End what is still there."""
        if self._timer is not None:
            self._timer.cancel()
        for connection in list(self._connections):
            connection.close()
        self._hand_over()

    def _tick(self) -> None:
        self.clock.tick()
        self.idle_ends = self.clock.now + self.limits.idle_s
        self._ticks += 1
        if self._ticks % _LOOK_EVERY_TICKS == 0:
            for connection in list(self._connections):
                connection.look(self.clock.now)
        self._hand_over()
        self._timer = self.loop.call_later(_TICK_S, self._tick)

    def _hand_over(self) -> None:
        self.ledger.hand_over(self.clock.unix)


Account = tuple[Kind, Outcome, int]
"""What a handler notes of its answer: of what, how, and how many bytes of the body went out."""
ACCOUNT: Final = RequestKey("account", tuple[Kind, Outcome, int])


def _served(peer: str, request: BaseRequest, response: StreamResponse, seconds: float) -> Served:
    nobody: Account = (Kind.OTHER, Outcome.ERROR, response.body_length)
    kind, outcome, body_bytes = request.get(ACCOUNT, nobody)
    version = f"{request.version.major}.{request.version.minor}"
    line = f"{request.method} {request.raw_path} HTTP/{version}".encode("utf-8", "replace")
    return Served(
        peer,
        line,
        headers_of(request),
        response.status,
        body_bytes,
        outcome,
        kind,
        seconds,
        is_whole=True,
    )


def _refusal() -> bytes:
    text = b"503: too many connections\n"
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nServer: %s\r\nCache-Control: no-store\r\n"
        b"Retry-After: 5\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    ) % (SERVER.encode(), len(text), text)
