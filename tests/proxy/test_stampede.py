"""A thousand nodes that start at once cost the mirror one request per object."""

from __future__ import annotations

import asyncio
import resource
import tracemalloc
from pathlib import Path
from random import Random
from typing import Final

import pytest

from proxy.cache.disk import DiskTier
from proxy.shelf import Room
from tests.support.loops import run, until
from tests.support.proxies import (
    AskingClient,
    FakeMirror,
    Made,
    RunningProxy,
    Setting,
    honest,
    made,
    mirrors,
    proxy,
)

_PER_CLIENT: Final = 3
"""Descriptors: both ends of its connection, and some to spare."""
_OBJECTS: Final = 200
_LARGE_BYTES: Final = 24 * 1024 * 1024


def clients() -> int:
    """As many as descriptors allow, a thousand at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(1000, (soft - 200) // _PER_CLIENT)


class LateMirror(FakeMirror):
    """Answers nothing until it is told to."""

    def __init__(self, files: list[Made]) -> None:
        super().__init__(files)
        self.may_answer = asyncio.Event()
        self.behave = self.answer_late

    async def answer_late(self, right: bytes, writer: asyncio.StreamWriter) -> bool:
        """When it may."""
        await self.may_answer.wait()
        return await honest(right, writer)


async def read_all(client: AskingClient, wanted: list[Made]) -> None:
    """One object after the other, and every byte is right."""
    for each in wanted:
        assert (await client.ask(each.path)).is_(each)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("is_shuffled", [True, False])
def test_one_fetch_per_object(is_shuffled: bool, tmp_path: Path) -> None:
    """In whichever order they ask: each object is fetched once, and everybody gets it."""

    async def main() -> None:
        random = Random(1)
        objects = [made(n, random.randrange(1, 4000)) for n in range(_OBJECTS)]
        late = LateMirror(objects)
        async with mirrors(late), proxy([late], Setting(directory=tmp_path)) as running:
            crowd = [await AskingClient.to(running.port) for _ in range(clients())]
            orders = [random.sample(objects, _OBJECTS) if is_shuffled else objects for _ in crowd]
            reading = [
                asyncio.ensure_future(read_all(*each)) for each in zip(crowd, orders, strict=True)
            ]
            await until(lambda: late.asked)
            await until(lambda: running.gate.connections == len(crowd))
            late.may_answer.set()
            await asyncio.gather(*reading)
            assert sorted(late.asked) == sorted(each.name for each in objects)
            assert running.outcomes().count("miss") == _OBJECTS
            for each in crowd:
                each.close()

    run(main())


async def _leave_soon(running: RunningProxy, wanted: Made) -> AskingClient:
    """A client that asks, takes a little, and then nothing any more."""
    slow = await AskingClient.to(running.port)
    slow.send(wanted.path)
    assert await slow.reader.read(1000)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined] # both ways in one
    return slow


def test_slow_clients(tmp_path: Path) -> None:
    """They slow nobody, and hold slices of an object rather than all of it."""

    async def main() -> None:
        wanted = made(1, _LARGE_BYTES)
        only = FakeMirror([wanted])
        disk = DiskTier(tmp_path, 4 * 1024**3)  # its segments can take it
        setting = Setting(Room(memory_bytes=8 * 1024 * 1024), disk, tmp_path)
        async with mirrors(only), proxy([only], setting) as running:
            tracemalloc.start()
            slow = [await _leave_soon(running, wanted) for _ in range(20)]
            assert (await running.ask(wanted)).is_(wanted)
            tracemalloc.reset_peak()
            assert (await running.ask(wanted)).is_(wanted)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 4 * _LARGE_BYTES  # the mirror's and the reading client's own, and theirs
            assert only.asked == [wanted.name]
            for each in slow:
                each.close()
        await asyncio.to_thread(disk.close)

    run(main())


def test_a_client_that_leaves(tmp_path: Path) -> None:
    """What it asked for comes all the same, and is there for the next one."""

    async def main() -> None:
        wanted = made(1, 100_000)
        late = LateMirror([wanted])
        setting = Setting(Room(object_bytes=1_000_000), directory=tmp_path)
        async with mirrors(late), proxy([late], setting) as running:
            leaving = await AskingClient.to(running.port)
            leaving.send(wanted.path)
            await until(lambda: late.asked)
            leaving.close()
            await until(lambda: not running.gate.connections)
            late.may_answer.set()
            await until(lambda: running.shelf.hot.entries)
            assert (await running.ask(wanted)).is_(wanted)
            assert late.asked == [wanted.name]
            assert running.outcomes()[-1] == "hit_mem"

    run(main())


def test_everybody_gets_what_comes(tmp_path: Path) -> None:
    """Who asks while a large object comes gets its first bytes before its last are there."""

    async def main() -> None:
        wanted = made(1, 400_000)
        only, rest = FakeMirror([wanted]), asyncio.Event()

        async def in_halves(right: bytes, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(right))
            writer.write(right[:300_000])
            await rest.wait()
            writer.write(right[300_000:])
            return True

        only.behave = in_halves
        async with mirrors(only), proxy([only], Setting(directory=tmp_path)) as running:
            crowd = [await AskingClient.to(running.port) for _ in range(8)]
            for each in crowd:
                each.send(wanted.path)
            heads = [await each.reader.readuntil(b"\r\n\r\n") for each in crowd]
            fronts = [await each.reader.readexactly(300_000 - 64 * 1024) for each in crowd]
            rest.set()
            bodies = [
                front + await each.reader.readexactly(400_000 - len(front))
                for each, front in zip(crowd, fronts, strict=True)
            ]
            assert all(b"Content-Length: 400000\r\n" in head for head in heads)
            assert all(body == wanted.content for body in bodies)
            assert only.asked == [wanted.name]
            assert sorted(running.outcomes()) == ["coalesced"] * 7 + ["miss"]
            for each in crowd:
                each.close()

    run(main())
