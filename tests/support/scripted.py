"""A server and its network in memory, doing what a script says: hours of it take no time.

    host = Host(deeds=[Deed.ANSWER, Deed.RESET])     # request by request, and round again
    client = BulkClient(host.server(), …)            # in `run_timeless`

Each request is answered a turn of the loop after it came, so that much is under way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mirror.errors import TooSlow, Unavailable
from mirror.upstream.connection import Connection
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from tests.support.exchanges import arrive

_END = b"\r\n\r\n"


class Deed(Enum):
    """What a server does with a request."""

    ANSWER = auto()
    CHUNKS = auto()
    MISSING = auto()
    BUSY = auto()
    WRONG = auto()
    TOO_LARGE = auto()
    ENDLESS = auto()
    GARBAGE = auto()
    NOTHING = auto()
    """Never answer, nor anything behind it."""
    STALL = auto()
    """Stop in the middle of the answer."""
    CLOSE = auto()
    """Hang up without an answer."""
    RESET = auto()
    CUT_SHORT = auto()
    """Hang up in the middle of the answer."""
    LAST = auto()
    """Answer, say that it was the last one, and hang up."""
    LAST_UNSAID = auto()
    EXTRA = auto()
    """Answer twice."""


class Door(Enum):
    """What a server does with a connection."""

    OPEN = auto()
    REFUSED = auto()
    SILENT = auto()
    SLAMMED = auto()
    """Open it, and hang up before anything is asked."""


class Host:
    """A server in memory.

    Attributes:
        deeds: what it does with the first request, the second …, and round again.
        doors: likewise with connections.
        takes: so many requests by one connection before it hangs up; None for any number.
        forgets: whether what comes behind a request that is not answered yet is lost.
        latency_s: until an answer comes.
        work_s: that it is at work on each answer, besides.
        seen: paths, and when they were asked for.
        under_way: requests that were not answered yet.
        most_under_way: at one time.
        most_on_one: on one connection.
        connections: opened so far.
        wires: that are open.
    """

    def __init__(self, deeds: Sequence[Deed] = (), doors: Sequence[Door] = ()) -> None:
        self.deeds = deeds or [Deed.ANSWER]
        self.doors = doors or [Door.OPEN]
        self.takes: int | None = None
        self.forgets = False
        self.latency_s = self.work_s = 0.0
        self.seen: list[tuple[str, float]] = []
        self.under_way = 0
        self.most_under_way = self.most_on_one = 0
        self.connections = 0
        self.wires: set[_Wire] = set()

    def server(self, options: HttpOptions | None = None) -> Server:
        """How to reach it."""
        return _Reached("http://host/r", "host", 80, options or HttpOptions(), None, self)

    @staticmethod
    def body(path: str) -> bytes:
        """What it has there."""
        return f"<{path}>".encode()

    async def open(self, connection: Connection, options: HttpOptions) -> None:
        """As `Server.connect`."""
        door = self.doors[self.connections % len(self.doors)]
        self.connections += 1
        await asyncio.sleep(self.latency_s)
        if door is Door.REFUSED:
            raise Unavailable("connection refused")
        if door is Door.SILENT:
            await asyncio.sleep(options.timeout_s)
            raise TooSlow("nobody there")
        wire = _Wire(self, connection)
        connection.connection_made(wire)
        if door is Door.SLAMMED:
            asyncio.get_running_loop().call_soon(wire.hang_up)

    def take(self, path: str) -> Deed:
        """Note a request, and say what to do with it."""
        deed = self.deeds[len(self.seen) % len(self.deeds)]
        self.seen.append((path, asyncio.get_running_loop().time()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        return deed


@dataclass(frozen=True, slots=True)
class _Reached(Server):
    host_in_memory: Host

    async def connect(self, connection: Connection) -> None:
        await self.host_in_memory.open(connection, self.options)


class _Wire(asyncio.Transport):
    """One connection; what it carries arrives a turn of the loop later."""

    def __init__(self, host: Host, connection: Connection) -> None:
        super().__init__()
        self._host = host
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[str, Deed]] = []
        self._taken = 0
        self._unanswered = 0
        self._is_closed = self._is_stuck = False
        host.wires.add(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As `asyncio.Transport`."""
        assert not self._is_closed
        requests = bytes(data).split(_END)[:-1]
        for request in requests:
            path = request.split()[1].decode().removeprefix("/r/")
            self._unanswered += 1
            self._host.most_on_one = max(self._host.most_on_one, self._unanswered)
            self._waiting.append((path, self._host.take(path)))
        if len(self._waiting) == len(requests):
            self._later(self._work)

    def abort(self) -> None:
        """As `asyncio.Transport`."""
        self._close()
        self._loop.call_soon(self._connection.connection_lost, None)

    def hang_up(self, error: OSError | None = None) -> None:
        """Close, or reset."""
        if self._is_closed:
            return
        if error is None:
            self._connection.eof_received()
        self._close()
        self._connection.connection_lost(error)

    def _close(self) -> None:
        self._is_closed = True
        self._host.wires.discard(self)
        self._host.under_way -= self._unanswered
        self._unanswered = 0

    def _later(self, work: Callable[[], None]) -> None:
        self._loop.call_later(self._host.latency_s + self._host.work_s, work)

    def _work(self) -> None:
        if self._is_closed or self._is_stuck or not self._waiting:
            return
        path, deed = self._waiting.pop(0)
        self._taken += 1
        if self._host.forgets:
            self._waiting.clear()
        self._unanswered -= 1
        self._host.under_way -= 1
        has_more = bool(self._waiting)  # what comes meanwhile begins by itself
        self._do(deed, self._host.body(path))
        if self._taken == self._host.takes:
            self.hang_up()
        if has_more:
            self._later(self._work)

    def _do(self, deed: Deed, body: bytes) -> None:
        if sent := _said(deed, body):
            arrive(self._connection, sent)
        self._is_stuck = deed in (Deed.NOTHING, Deed.STALL)
        if deed is Deed.ENDLESS:
            while not self._is_closed:
                arrive(self._connection, b"x" * 1000)
        elif deed is Deed.RESET:
            self.hang_up(ConnectionResetError())
        elif deed in _HANGS_UP:
            self.hang_up()


_HANGS_UP: Final = frozenset({Deed.CUT_SHORT, Deed.CLOSE, Deed.LAST, Deed.LAST_UNSAID})


def _said(deed: Deed, body: bytes) -> bytes:
    """What is sent."""
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    page = b"Content-Length: 6\r\n\r\n<html>"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body)
    return {
        Deed.CHUNKS: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % chunks,
        Deed.MISSING: b"HTTP/1.1 404 Not Found\r\n" + page,
        Deed.BUSY: b"HTTP/1.1 503 Busy\r\n" + page,
        Deed.WRONG: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
        Deed.TOO_LARGE: b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
        Deed.ENDLESS: b"HTTP/1.1 200 OK\r\n\r\n",
        Deed.GARBAGE: b"\0\0\r\n\r\n",
        Deed.STALL: whole[:-1],
        Deed.CUT_SHORT: whole[:-1],
        Deed.NOTHING: b"",
        Deed.CLOSE: b"",
        Deed.RESET: b"",
        Deed.LAST: whole.replace(b" OK\r\n", b" OK\r\nConnection: close\r\n"),
        Deed.EXTRA: whole * 2,
    }.get(deed, whole)
