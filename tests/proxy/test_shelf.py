"""Where a proxy finds things: in memory, on the disk, on their way, or upstream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.cache.disk import DiskTier
from proxy.destinations import Destinations
from tests.proxy.cache.test_disk import damage
from tests.support.loops import run, until
from tests.support.proxies import (
    FakeMirror,
    Made,
    RunningProxy,
    Setting,
    honest,
    made,
    mirrors,
    proxy,
)

WANTED, LARGE = made(1), made(2, 400_000)
FRESH = "Cache-Control: no-cache\r\nPragma: no-cache\r\n"


@asynccontextmanager
async def with_disk(mirror: FakeMirror, directory: Path) -> AsyncIterator[RunningProxy]:
    """A proxy with both tiers."""
    disk = DiskTier(directory, 256 * 1024 * 1024)
    try:
        async with proxy([mirror], Setting(disk=disk, directory=directory)) as running:
            yield running
    finally:
        await asyncio.to_thread(disk.close)


async def written(running: RunningProxy, count: int) -> None:
    """So many objects are on the disk, and nothing waits for it."""
    disk = running.shelf._disk
    assert disk is not None
    await until(lambda: disk.stored == count and not running.shelf._landing)


@pytest.mark.parametrize("wanted", [WANTED, LARGE])
def test_tiers(wanted: Made, tmp_path: Path) -> None:
    """Fetched once; from memory or the disk from then on, by a new process, too."""

    async def main() -> None:
        mirror = FakeMirror([wanted])
        async with mirrors(mirror):
            async with with_disk(mirror, tmp_path) as running:
                for _ in range(3):
                    assert (await running.ask(wanted)).is_(wanted)
                await written(running, 1)
                assert (await running.ask(wanted)).is_(wanted)
                outcomes = running.outcomes()
                assert outcomes[0] == "miss"
                assert set(outcomes[1:]) <= {"hit_mem", "hit_disk"}
            async with with_disk(mirror, tmp_path) as running:
                for _ in range(2):
                    assert (await running.ask(wanted)).is_(wanted)
                assert running.outcomes()[0] == "hit_disk"
            assert mirror.asked == [wanted.name]

    run(main())


@pytest.mark.parametrize("wanted", [WANTED, LARGE])
def test_asked_again_after_corruption(wanted: Made, tmp_path: Path) -> None:
    """It is fetched anew past all caches, replaced in memory and on the disk, and counted."""

    async def main() -> None:
        mirror = FakeMirror([wanted])
        async with mirrors(mirror), with_disk(mirror, tmp_path) as running:
            await running.ask(wanted)
            await written(running, 1)
            damage(tmp_path, wanted.content)
            assert (await running.ask(wanted, FRESH)).is_(wanted)
            assert running.shelf.retries == 1
            assert mirror.asked == [wanted.name] * 2
            assert b"\r\nCache-Control: no-cache\r\n" in mirror.heads[1]
            await written(running, 2)
            running.shelf.hot.remove(wanted.name.encode())
            running.shelf._files.remove(wanted.name.encode())
            assert (await running.ask(wanted)).is_(wanted)
            assert len(mirror.asked) == 2

    run(main())


def test_asked_again_while_nobody_answers(tmp_path: Path) -> None:
    """What a client doubts is refused rather than given once more."""

    async def main() -> None:
        mirror = FakeMirror([WANTED])
        async with mirrors(mirror), with_disk(mirror, tmp_path) as running:
            await running.ask(WANTED)
            await mirror.die()
            answer = await running.ask(WANTED, FRESH)
            assert answer.status == 502
            assert "error=" in answer.headers["proxy-status"]

    run(main())


def test_one_object_for_all() -> None:
    """Whichever repository and whichever server a client names, the bytes are the same."""

    async def main() -> None:
        mirror = FakeMirror([WANTED])
        async with mirrors(mirror):
            server = f"127.0.0.1:{mirror.port}"
            setting = Setting(destinations=Destinations(servers=frozenset({server})))
            async with proxy([mirror], setting) as running:
                forward = f"http://{server}{WANTED.path}"
                other = WANTED.path.replace("test.", "other.")
                for target in (forward, WANTED.path, other, forward.replace("test.", "other.")):
                    for _ in range(2):
                        assert (await running.ask(target)).is_(WANTED)
                assert mirror.asked == [WANTED.name]

    run(main())


def test_not_there_is_never_remembered() -> None:
    """An object that was not there is given as soon as it is."""

    async def main() -> None:
        mirror = FakeMirror()
        async with mirrors(mirror), proxy([mirror]) as running:
            answer = await running.ask(WANTED)
            assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
            assert "proxy-status" not in answer.headers
            mirror.files[WANTED.name] = WANTED.content
            assert (await running.ask(WANTED)).is_(WANTED)

    run(main())


def test_an_error_is_over_when_it_is() -> None:
    """A mirror that answers again is asked again."""

    async def main() -> None:
        mirror = FakeMirror([WANTED])

        async def fail(_right: bytes, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
            return True

        mirror.behave = fail
        async with mirrors(mirror), proxy([mirror]) as running:
            assert (await running.ask(WANTED)).status == 503
            mirror.behave = honest
            assert (await running.ask(WANTED)).is_(WANTED)

    run(main())


def test_one_look_at_the_disk(tmp_path: Path) -> None:
    """Many who want the same large object at once cost one reading, and nothing upstream."""

    async def main() -> None:
        mirror = FakeMirror([LARGE])
        async with mirrors(mirror):
            async with with_disk(mirror, tmp_path) as running:
                await running.ask(LARGE)
                await written(running, 1)
            async with with_disk(mirror, tmp_path) as running:
                answers = await asyncio.gather(*(running.ask(LARGE) for _ in range(30)))
                assert all(each.is_(LARGE) for each in answers)
                damage(tmp_path, LARGE.content)
                running.shelf._files.remove(LARGE.name.encode())
                answers = await asyncio.gather(*(running.ask(LARGE) for _ in range(30)))
                assert all(each.is_(LARGE) for each in answers)
                disk = running.shelf._disk
                assert disk is not None
                assert disk.damaged == 1
            assert mirror.asked == [LARGE.name] * 2

    run(main())


def test_age() -> None:
    """Caches below are told how old a root file is, whichever way it is answered."""

    async def main() -> None:
        mirror = FakeMirror({".cvmfsreflog": b"reflog"})
        path = made(1).path.partition("/data/")[0] + "/.cvmfsreflog"
        async with mirrors(mirror), proxy([mirror]) as running:
            assert "age" not in (await running.ask(path)).headers
            for block in ("", "", "Range: bytes=0-2\r\n"):
                assert (await running.ask(path, block)).headers["age"] == "0"
            assert mirror.asked == [".cvmfsreflog"]

    run(main())
