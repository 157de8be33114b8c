"""Bytes for our own server as they are, in the pieces in which they are to arrive; and its answer.

No network and no waiting: client and server are two ends of a socket pair in one event loop, where
a piece that was written is there for the reader in the loop's next round.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from aiohttp.web import BaseRequest, StreamResponse

from mirror.serve.app import create_app
from mirror.serve.connection import Connection
from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger, Served
from mirror.serve.limits import ServeLimits
from mirror.serve.running import Worker
from mirror.serve.shelf import Shelf
from mirror.serve.tree import Tree

_PATIENCE_S: Final = 0.1
_LIMIT_S: Final = 3.0
_DATE: Final = re.compile(rb"\r\nDate: [^\r]{29}\r\n")
_BOUNDARY: Final = re.compile(rb"boundary=([0-9a-f]{32})\r\n")


@dataclass
class Told:
    """All that one connection brought.

    Attributes:
        answer: what the client received, without what differs each time.
        served: request line, status and bytes of each answer, as they were entered.
        by_aiohttp: how many of the answers were aiohttp's.
        is_reset: whether the connection ended in the middle.
    """

    answer: bytes = field(default=b"", repr=False)
    served: list[tuple[bytes, int, int]] = field(default_factory=list)
    by_aiohttp: int = 0
    is_reset: bool = False


class Server:
    """A gate without a network."""

    def __init__(self, shelf: Shelf, limits: ServeLimits | None, *, is_fast: bool) -> None:
        self._records: list[Served] = []
        counters = memoryview(bytearray(8 * COUNTERS)).cast("Q")
        ledger = Ledger(counters, lambda _, records: self._records.extend(records))
        self.gate = Gate(shelf, ledger, limits, is_fast=is_fast)
        self._worker = Worker(self.gate, create_app)
        self._requests_by_aiohttp = 0

    async def start(self) -> None:
        """Let clients come."""
        await self._worker.start([])
        completed = self.gate.completed

        def count(request: BaseRequest, response: StreamResponse, seconds: float) -> None:
            self._requests_by_aiohttp += 1
            completed(request, response, seconds)

        self.gate.completed = count  # type: ignore[method-assign] # to know who answered

    async def stop(self) -> None:
        """End."""
        await self._worker.stop()

    async def tell(
        self, pieces: Sequence[bytes], *, ends: bool = False, waits: bool = False
    ) -> Told:
        """Send pieces, one after another; gives what had come when the connection was closed.

        Args:
            pieces: each is read before the next one is sent.
            ends: shut down writing behind them; otherwise only if nothing else ends it.
            waits: for the answers to each piece before the next one is sent.
        """
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        before = self._requests_by_aiohttp
        client = _Client(loop)
        _, connection = await loop.connect_accepted_socket(self.gate.new_connection, theirs)
        assert isinstance(connection, Connection)
        transport, _ = await loop.create_connection(lambda: client, sock=ours)
        for piece in pieces:
            transport.write(piece)
            await client.rounds(2)
            if waits:
                await _quiet(connection, client)
        if not (ends or waits):
            await asyncio.wait([client.closed], timeout=_PATIENCE_S)
        with suppress(OSError):  # closed already
            transport.write_eof()
        await asyncio.wait_for(client.closed, _LIMIT_S)
        transport.close()
        await client.rounds(3)
        self.gate.ledger.hand_over(0.0)
        served = [(each.line, each.status, each.body_bytes) for each in self._records]
        self._records.clear()
        by_aiohttp = self._requests_by_aiohttp - before
        return Told(_stable(client.received), served, by_aiohttp, client.is_reset)


class _Client(asyncio.Protocol):
    """Keeps what comes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.closed: asyncio.Future[None] = loop.create_future()
        self.received = bytearray()
        self.is_reset = False

    def data_received(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def eof_received(self) -> bool:
        """Nothing more comes."""
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes, and not by intention."""
        self.is_reset |= exc is not None
        self._end()

    def _end(self) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    @staticmethod
    async def rounds(number: int) -> None:
        """Let the loop look at its sockets so many times."""
        for _ in range(number):
            await asyncio.sleep(0)


async def _quiet(connection: Connection, client: _Client) -> None:
    """Until nothing is going on; aiohttp begins to answer within a few rounds or never."""
    quiet = 0
    while quiet < 8 and not client.closed.done():
        await asyncio.sleep(0)
        quiet = 0 if connection._is_busy else quiet + 1


def _stable(received: bytearray) -> bytes:
    stable = _DATE.sub(b"\r\nDate: now\r\n", received)
    for boundary in _BOUNDARY.findall(stable):
        stable = stable.replace(boundary, b"BOUNDARY")
    return stable


@asynccontextmanager
async def server(
    storage: Path | Shelf, limits: ServeLimits | None = None, *, is_fast: bool = True
) -> AsyncIterator[Server]:
    """Serve the trees below a directory, or another shelf."""
    shelf = Tree(storage) if isinstance(storage, Path) else storage
    one = Server(shelf, limits, is_fast=is_fast)
    await one.start()
    try:
        yield one
    finally:
        await one.stop()
