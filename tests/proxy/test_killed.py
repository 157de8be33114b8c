"""A worker that is killed under load costs what was on its way, and nothing of what was kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from mirror.serve.workers import Plan, Workers
from proxy.cache.disk import layout_of
from proxy.running import JOB, ProxyOptions
from tests.support.loops import run
from tests.support.proxies import Answer, AskingClient, FakeMirror, Made, made, mirrors

_CACHE_BYTES: Final = 256 * 1024 * 1024
_LOAD: Final = 8
_KILLS: Final = 3
_KEPT: Final = [made(number, 20_000) for number in range(100)]
_MORE: Final = [made(number, 100_000) for number in range(1000, 1250)]


class Site:
    """A proxy of one worker process, with nothing in memory."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self.port = urlsplit(workers.urls[0]).port or 0

    async def ask(self, wanted: Made) -> Answer:
        """As a new client; what is whole is right."""
        try:
            client = await AskingClient.to(self.port)
        except ConnectionError:
            return Answer()
        try:
            answer = await client.ask(wanted.path)
        finally:
            client.close()
        assert answer.status != 200 or not answer.is_whole or answer.body == wanted.content
        return answer

    async def hits(self, wanted: Iterable[Made]) -> int:
        """How many of them are given."""
        return sum([(await self.ask(each)).is_(each) for each in wanted])

    async def kill(self) -> None:
        """The worker; gives way when another one is in its place."""
        (victim,) = self._workers.processes
        os.kill(victim, signal.SIGKILL)
        while self._workers.processes in ([victim], []):  # noqa: ASYNC110 - tells nobody
            await asyncio.sleep(0.01)


@asynccontextmanager
async def site(upstream: FakeMirror, directory: Path) -> AsyncIterator[Site]:
    """Let one run."""
    about = ProxyOptions(
        [upstream.url],
        memory_bytes=0,
        cache_directory=str(directory),
        cache_bytes=_CACHE_BYTES,
    )
    async with Workers(lambda _: None) as workers:
        await workers.follow(Plan(JOB, about.pack(), listen=(("127.0.0.1", 0),)))
        yield Site(workers)


def size_of(directory: Path) -> int:
    """What everything in it takes on the disk."""
    return sum(each.stat().st_blocks * 512 for each in directory.rglob("*") if each.is_file())


def bound() -> int:
    """What a cache may take: its size, and an index."""
    layout = layout_of(_CACHE_BYTES)
    return _CACHE_BYTES + 8 * (layout.entries * 40 + 64 * 1024)


async def _load(site: Site, number: int) -> None:
    for each in cycle(_MORE[number::_LOAD]):
        await site.ask(each)


@pytest.mark.timeout(180)
def test_killed_under_load(tmp_path: Path) -> None:
    """What was kept is there right after each kill, byte for byte, and takes no more room."""

    async def main() -> None:
        upstream = FakeMirror([*_KEPT, *_MORE])
        async with mirrors(upstream), site(upstream, tmp_path / "cache") as proxy:
            while upstream.asked == [] or len(set(upstream.asked)) < len(_KEPT):
                await proxy.hits(_KEPT)
            await until_not_asked(proxy, upstream)
            for _ in range(_KILLS):
                load = [asyncio.ensure_future(_load(proxy, n)) for n in range(_LOAD)]
                seen = len(upstream.asked)
                while len(upstream.asked) < seen + 20:  # noqa: ASYNC110 - tells nobody
                    await asyncio.sleep(0.01)
                await proxy.kill()
                for each in load:
                    each.cancel()
                await asyncio.gather(*load, return_exceptions=True)
                asked = upstream.asked.copy()
                assert await proxy.hits(_KEPT) == len(_KEPT)
                assert not {each.name for each in _KEPT} & set(upstream.asked[len(asked) :])
                assert size_of(tmp_path / "cache") <= bound()
            await upstream.die()
            assert await proxy.hits(_KEPT) == len(_KEPT)
            await proxy.hits(_MORE)

    run(main())


async def until_not_asked(proxy: Site, upstream: FakeMirror) -> None:
    """Until all that is to be kept is written."""
    while True:
        before = len(upstream.asked)
        assert await proxy.hits(_KEPT) == len(_KEPT)
        if len(upstream.asked) == before:
            return
