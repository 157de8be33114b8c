"""A proxy of several worker processes, the mirror it asks, and nodes that ask it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import object_path
from mirror.serve.content import Outcome
from mirror.serve.limits import ServeLimits
from mirror.serve.workers import Plan, Workers
from proxy.running import JOB, ProxyOptions
from tests.support.processes import is_over

FQRN: Final = "test.example.org"
STATUS: Final = f"/cvmfs/{FQRN}/.cvmfs_status.json"
_LATE_S: Final = 0.05


def objects(count: int, size_bytes: int = 3000) -> dict[str, bytes]:
    """So many, by their paths; each has its own size."""
    contents = [b"%d " % number * (size_bytes // 4 + number) for number in range(count)]
    return {path_of(each): each for each in contents}


def path_of(content: bytes) -> str:
    """Where an object lies."""
    return f"/cvmfs/{FQRN}/{object_path(ContentHash.of(Algorithm.SHA1, content))}"


@dataclass
class LateMirror:
    """An upstream that takes its time, and counts what it is asked for.

    Attributes:
        files: what it has.
        asked: how often it was asked for each path.
        is_down: whether it closes every connection.
        more: further headers of its answers.
    """

    files: dict[str, bytes]
    asked: Counter[str] = field(default_factory=Counter)
    is_down: bool = False
    more: str = ""
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while not self.is_down:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode()
                self.asked[path] += 1
                await asyncio.sleep(_LATE_S)
                writer.write(self._answer(path))
                await writer.drain()
        writer.close()

    def _answer(self, path: str) -> bytes:
        content = self.files.get(path)
        status = "404 Not Found" if content is None else "200 OK"
        content = content or b""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{self.more}\r\n"
        return head.encode() + content


@asynccontextmanager
async def late_mirror(files: Mapping[str, bytes]) -> AsyncIterator[LateMirror]:
    """One that serves."""
    mirror = LateMirror(dict(files))
    server = await asyncio.start_server(mirror.serve, "127.0.0.1", 0, backlog=1000)
    mirror.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield mirror
        mirror.is_down = True


@dataclass(frozen=True)
class Answer:
    """What a node was told."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Node:
    """Asks on one connection after the other, each as long as it is kept."""

    url: str
    _streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, *headers: str) -> Answer:
        """One answer."""
        if self._streams is None:
            host, _, port = self.url.removeprefix("http://").rpartition(":")
            self._streams = await asyncio.open_connection(host, int(port), limit=1 << 20)
        reader, writer = self._streams
        lines = [f"GET {path} HTTP/1.1", "Host: x", *headers]
        writer.write("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(told["content-length"]))
        if told.get("connection") == "close":
            self.leave()
        return Answer(int(head[0].split()[1]), told, body)

    async def get_somehow(self, path: str) -> Answer:
        """One answer, as often as its connection breaks meanwhile."""
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                return await self.get(path)
            self.leave()

    def leave(self) -> None:
        """End its connection."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()


@dataclass
class SiteProxy:
    """One that runs."""

    workers: Workers
    plan: Plan
    predecessors: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where."""
        return self.workers.urls[0]

    async def restart(self) -> None:
        """Replace all workers, one by one."""
        self.predecessors += self.workers.processes
        await self.workers.follow(self.plan)

    async def predecessors_gone(self) -> None:
        """Wait for the end of all that were replaced."""
        while not all(is_over(each) for each in self.predecessors):  # noqa: ASYNC110 - it is theirs
            await asyncio.sleep(0.01)

    async def outcomes(self, count: int) -> Counter[Outcome]:
        """How so many requests were answered; the last ones may not be entered yet."""
        while (found := self._outcomes()).total() < count:  # noqa: ASYNC110 - workers count
            await asyncio.sleep(0.01)
        assert found.total() == count
        return found

    def _outcomes(self) -> Counter[Outcome]:
        found: Counter[Outcome] = Counter()
        for (_, outcome), (requests, _) in self.workers.counters.totals().items():
            found[outcome] += requests
        return +found


@asynccontextmanager
async def site_proxy(
    directory: Path, upstreams: Iterable[str], workers: int, timeout_s: float = 5.0
) -> AsyncIterator[SiteProxy]:
    """One with a disk tier and so many workers, who know of each other."""
    about = ProxyOptions(
        list(upstreams),
        workers=workers,
        timeout_s=timeout_s,
        cache_directory=str(directory / "cache"),
        cache_bytes=256 * 1024 * 1024,
        siblings=str(directory / "siblings"),
    )
    limits = ServeLimits(drain_s=60)
    plan = Plan(JOB, about.pack(), limits, listen=(("127.0.0.1", 0),), workers=workers)
    async with Workers(lambda _: None) as running:
        await running.follow(plan)
        yield SiteProxy(running, plan)
