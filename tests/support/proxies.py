"""A proxy over real sockets, all in the loop of the test: its upstreams, it, and its clients."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger, Served
from mirror.serve.limits import ServeLimits
from mirror.serve.running import Worker
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.cache.disk import DiskTier
from proxy.destinations import Destinations
from proxy.fetching import Fetcher, Mirror, Order, in_order
from proxy.pool import Pool
from proxy.roots import Freshness, Roots
from proxy.shelf import Cache, ProxyShelf, Room

REPOSITORY: Final = "test.example.org"
_LOOK_S: Final = 0.05
_END: Final = b"\r\n\r\n"
_NO_LINGER: Final = struct.pack("ii", 1, 0)
Behave = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool]]
"""Given what is right, write whatever comes to mind; whether the connection is kept open."""


@dataclass(frozen=True, slots=True)
class Made:
    """An object, and what it is called below a repository."""

    name: str
    content: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """As clients ask for it."""
        return f"/cvmfs/{REPOSITORY}/{self.name}"


def made(seed: int, size: int = 1000) -> Made:
    """One of this size, always the same."""
    content = Random(seed).randbytes(size)
    digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    return Made(f"data/{digest[:2]}/{digest[2:]}", content)


async def honest(right: bytes, writer: asyncio.StreamWriter) -> bool:
    """As it should be."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(right) + right)
    return True


class FakeMirror:
    """Serves objects and root files by path; misbehaves where it is told to.

    Attributes:
        files: by path below ``/cvmfs/``'s repository.
        behave: how all are answered.
        behaviours: how some are answered, by name; goes before.
        asked: names, in the order in which they were asked for.
        heads: of these requests.
        connections: how many were opened.
    """

    def __init__(self, files: Mapping[str, bytes] | Sequence[Made] = ()) -> None:
        if not isinstance(files, Mapping):
            files = {each.name: each.content for each in files}
        self.files = dict(files)
        self.behave: Behave = honest
        self.behaviours: dict[str, Behave] = {}
        self.asked: list[str] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """For the proxy's configuration."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Let clients in, at the same port as before."""
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Let nobody in, and cut all connections."""
        if self._server is not None:
            self._server.close()
        self.close_connections()
        for each in list(self._under_way):
            each.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def close_connections(self) -> None:
        """Those that are open."""
        for each in self._writers:
            each.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._under_way.add(task)
        self._writers.add(writer)
        task.add_done_callback(self._under_way.discard)
        task.add_done_callback(lambda _: self._writers.discard(writer))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self._answer(await reader.readuntil(_END), writer):
                await writer.drain()
            await writer.drain()
        writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        name = head.split(b" ")[1].decode().removeprefix(f"/cvmfs/{REPOSITORY}/")
        self.asked.append(name)
        self.heads.append(head)
        behave = self.behaviours.get(name, self.behave)
        if name not in self.files and behave is honest:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n")
            return True
        return await behave(self.files.get(name, b""), writer)


@asynccontextmanager
async def mirrors(*each: FakeMirror) -> AsyncIterator[None]:
    """Let them serve."""
    for one in each:
        await one.start()
    try:
        yield
    finally:
        for one in each:
            await one.die()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got.

    Attributes:
        status: 0 where the connection ended before there was one.
        headers: by name, in small letters.
        body: as far as it came.
        is_whole: as many bytes as were announced.
    """

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    is_whole: bool = False

    def is_(self, wanted: Made) -> bool:
        """Whether it is all of that, and right."""
        return self.status == 200 and self.is_whole and self.body == wanted.content


class AskingClient:
    """One connection to a proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, port: int) -> AskingClient:
        """Connect."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def ask(self, target: str, more: str = "") -> Answer:
        """Send one request, and take all of the answer."""
        self.send(target, more)
        return await self.take()

    def send(self, target: str, more: str = "") -> None:
        """Send one request."""
        self.writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode())

    async def take(self) -> Answer:
        """Take one answer."""
        try:
            head = (await self.reader.readuntil(_END)).decode("latin-1")
        except (asyncio.IncompleteReadError, ConnectionError):
            return Answer()
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines)
        headers = {name.lower(): value for name, value in pairs}
        length = int(headers["content-length"])
        body = bytearray()
        with suppress(ConnectionError):
            while len(body) < length and (piece := await self.reader.read(length - len(body))):
                body += piece
        status = int(first.split(" ")[1])
        return Answer(status, headers, bytes(body), len(body) == length)

    def close(self) -> None:
        """Leave, by a reset: who only ends what it says still gets what it asked for."""
        connection = self.writer.get_extra_info("socket")
        if connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.writer.transport.abort()


@dataclass(slots=True)
class Setting:
    """How a proxy is made.

    Attributes:
        room: in memory.
        disk: the other tier.
        directory: for large objects on their way.
        order: whom it asks first.
        timeout_s: of its upstreams.
        connections: to each.
        destinations: where clients may send it.
        freshness: of root files.
    """

    room: Room = field(default_factory=Room)
    disk: DiskTier | None = None
    directory: Path | None = None
    order: Order = in_order
    timeout_s: float = 60.0
    connections: int = 64
    destinations: Destinations = field(default_factory=Destinations)
    freshness: Freshness = field(default_factory=Freshness)


class RunningProxy:
    """What there is of it.

    Attributes:
        shelf: of the proxy.
        fetcher: likewise.
        gate: likewise.
        served: requests that were answered.
        port: where clients come in.
    """

    def __init__(self, upstreams: Sequence[str], setting: Setting) -> None:
        options = HttpOptions(timeout_s=setting.timeout_s)

        def mirror(url: str) -> Mirror:
            return Mirror(Pool(Server.at(f"{url}/cvmfs", options), setting.connections))

        self.served: list[Served] = []
        self.fetcher = Fetcher([mirror(url) for url in upstreams], mirror, setting.order)
        clock = asyncio.get_running_loop().time
        cache = Cache(setting.room, setting.disk, setting.directory)
        roots = Roots(setting.freshness, clock)
        self.shelf = ProxyShelf(cache, self.fetcher, setting.destinations, roots)
        counters = memoryview(bytearray(8 * COUNTERS)).cast("Q")
        ledger = Ledger(counters, lambda _, records: self.served.extend(records))
        limits = ServeLimits(connections=5000, connections_per_address=5000)
        self.gate = Gate(self.shelf, ledger, limits)
        self._worker = Worker(self.gate)
        self._looking: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Let clients in."""
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
            listener.setblocking(False)
            self.port = listener.getsockname()[1]
            await self._worker.start([(listener, None)])
        self._looking = asyncio.ensure_future(self._look())

    async def stop(self) -> None:
        """End."""
        assert self._looking is not None
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)
        await self._worker.stop()
        self.fetcher.close()

    async def ask(self, wanted: Made | str, more: str = "") -> Answer:
        """As a new client."""
        client = await AskingClient.to(self.port)
        try:
            return await client.ask(wanted.path if isinstance(wanted, Made) else wanted, more)
        finally:
            client.close()

    def outcomes(self) -> list[str]:
        """How requests were answered."""
        self.gate.ledger.hand_over(0.0)
        return [each.outcome.value for each in self.served]

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self.fetcher.look()


@asynccontextmanager
async def proxy(
    upstreams: Sequence[FakeMirror], setting: Setting | None = None
) -> AsyncIterator[RunningProxy]:
    """Serve from these mirrors, which serve already."""
    running = RunningProxy([each.url for each in upstreams], setting or Setting())
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
