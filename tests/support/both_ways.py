"""One tree behind two servers: with the fast path, and with aiohttp alone. They must not differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Final

from mirror.serve.content import Body, Bytes, Found
from mirror.serve.resources import Resource
from mirror.serve.shelf import Shelf, Tell, seek_by_finding
from mirror.serve.tree import Tree
from tests.support.streams import Server, Told, server

REPOSITORIES: Final = (b"test.example.org", b"other.example.org")
SIZES: Final = (0, 1, 5_000, 70_000, 300_000, 3_000_000)
"""Nothing, something, one packet, more than one write, more than is kept in memory, much."""
HOST: Final = b"Host: x\r\n"
LAST: Final = b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BLOCKS: Final = (
    HOST + b"\r\n",
    b"Host: x\r\nUser-Agent: cvmfs Fuse 2.11.2 5a4\r\nConnection: Keep-Alive\r\nPragma:\r\n\r\n",
    b"User-Agent: curl/8\r\nAccept: */*\r\nVia: 1.1 proxy\r\nhost: x:80\r\n\r\n",
)
"""What the fast path knows before a stream begins."""


def path(number: int, repository: int = 0) -> bytes:
    """Of the object of that size, or of a root file behind the last of them."""
    base = b"/cvmfs/" + REPOSITORIES[repository]
    if number == len(SIZES):
        return base + b"/.cvmfspublished"
    return base + b"/data/ab/" + b"%038d" % number


def get(number: int, repository: int = 0, block: int = 0) -> bytes:
    """A plain request for it."""
    return b"GET " + path(number, repository) + b" HTTP/1.1\r\n" + BLOCKS[block]


def write_tree(storage: Path) -> None:
    """All of it, below a directory."""
    random = Random(7)
    for repository in range(len(REPOSITORIES)):
        contents = [*map(random.randbytes, SIZES), b"C%d" % repository]
        for number, content in enumerate(contents):
            file = storage / path(number, repository).removeprefix(b"/cvmfs/").decode()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


class Moody:
    """A shelf where now and then nothing is at hand, neither a name nor bytes."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._is_there = cycle([True])

    def be(self, moods: Sequence[bool]) -> None:
        """Have things at hand or not, in turn."""
        self._is_there = cycle(moods or [True])

    def at_hand(self, line: bytes) -> Found | None:
        """As `Shelf.at_hand`."""
        return self._moody(self._shelf.at_hand(line)) if next(self._is_there) else None

    def named(self, line: bytes) -> Resource | None:
        """As `Shelf.named`."""
        return self._shelf.named(line)

    def asked(self, path: str, origin: str) -> Resource | None:
        """As `Shelf.asked`."""
        return self._shelf.asked(path, origin)

    def seek(self, line: bytes, wanted: Resource, tell: Tell) -> Callable[[], None]:
        """As `Shelf.seek`."""
        return seek_by_finding(self, wanted, tell)

    async def find(self, wanted: Resource, *, is_fresh: bool = False) -> Found | None:
        """As `Shelf.find`."""
        await asyncio.sleep(0)
        return self._moody(await self._shelf.find(wanted, is_fresh=is_fresh))

    def _moody(self, found: Found | None) -> Found | None:
        if found is None or next(self._is_there):
            return found
        return replace(found, content=None, body=_Reluctant(found.body))


class _Reluctant:
    """A body that is at hand every other time, and never as much of it as was asked for."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.size_bytes = body.size_bytes
        self._is_there = False

    def at_hand(self, first: int, end: int) -> Bytes | None:
        """As `Body.at_hand`."""
        self._is_there = not self._is_there
        return self._body.at_hand(first, (first + end + 1) // 2) if self._is_there else None

    async def read(self, first: int, end: int) -> Bytes:
        """As `Body.read`."""
        await asyncio.sleep(0)
        return await self._body.read(first, (first + end + 1) // 2)


class BothWays:
    """Asks both."""

    def __init__(self, fast: Server, slow: Server, shelves: Sequence[Moody]) -> None:
        self._fast = fast
        self._slow = slow
        self._shelves = shelves
        self._known = dict(fast.gate.plain)

    async def tell(
        self, pieces: Sequence[bytes], *, ends: bool, waits: bool, moods: Sequence[bool]
    ) -> Told:
        """Send the same to both, require the same answers, and give those of the fast one."""
        self._fast.gate.plain.clear()
        self._fast.gate.plain.update(self._known)
        for shelf in self._shelves:
            shelf.be(moods)
        fast = await self._fast.tell(pieces, ends=ends, waits=waits)
        slow = await self._slow.tell(pieces, ends=ends, waits=waits)
        assert fast.answer == slow.answer
        assert fast.served == slow.served
        assert slow.by_aiohttp == len(slow.served)
        return fast


@asynccontextmanager
async def both_ways(storage: Path) -> AsyncIterator[BothWays]:
    """Serve a directory twice."""
    write_tree(storage)
    shelves = [Moody(Tree(storage)) for _ in range(2)]
    async with server(shelves[0]) as fast, server(shelves[1], is_fast=False) as slow:
        await fast.tell([get(1, block=number) for number in range(len(BLOCKS))] + [LAST])
        assert len(fast.gate.plain) == len(BLOCKS)
        yield BothWays(fast, slow, shelves)
