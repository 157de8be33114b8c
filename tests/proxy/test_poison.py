"""Whatever upstreams do: no wrong byte is kept or completed, and one good one is enough."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import pytest

from proxy.fetching import Mirror
from proxy.shelf import Room
from tests.support.loops import run
from tests.support.poison import FAULTS, any_fault, stall
from tests.support.proxies import (
    Answer,
    AskingClient,
    Behave,
    FakeMirror,
    Made,
    RunningProxy,
    Setting,
    honest,
    made,
    mirrors,
    proxy,
)

_IS_SOAK: Final = os.environ.get("CVMFS_MIRROR_SOAK") == "1"
_REQUESTS: Final = 10_000 if _IS_SOAK else 800
_CLIENTS: Final = 16
_TRIES: Final = 30
"""Of what was given on as it came each may be cut: two upstreams of three lie, in any order."""
ROOMY: Final = Room(object_bytes=1_000_000)
SIZES: Final = (0, 1, 1000, 70_000, 300_000, 2_500_000)
"""Nothing, little, one that is verified first, and three that are given on as they come."""
pytestmark = pytest.mark.timeout(1800 if _IS_SOAK else 120)


def require_right_or_cut(answer: Answer, wanted: Made) -> None:
    """No wrong byte is completed: it is right, or refused, or plainly not all."""
    if answer.status == 200 and answer.is_whole:
        assert answer.body == wanted.content
    elif answer.is_whole:
        assert answer.status in (404, 500, 502, 504)


async def ask_until_right(running: RunningProxy, wanted: Made) -> int:
    """As clients do whose connection was cut; gives how often they had to ask."""
    for tries in range(1, _TRIES + 1):
        answer = await running.ask(wanted)
        require_right_or_cut(answer, wanted)
        if answer.is_(wanted):
            return tries
    raise AssertionError(f"{wanted.name}: {answer.status}, {len(answer.body)} bytes")


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_bad_upstream(fault: str, size: int, tmp_path: Path) -> None:
    """It is passed over within the request; only what was streamed already may have to be cut."""

    async def main() -> None:
        wanted = made(1, size)
        bad, good = FakeMirror([wanted]), FakeMirror([wanted])
        bad.behave = FAULTS[fault]
        setting = Setting(ROOMY, directory=tmp_path)
        async with mirrors(bad, good), proxy([bad, good], setting) as running:
            tries = await ask_until_right(running, wanted)
            assert tries == 1 or size > 64 * 1024
            assert (await running.ask(wanted)).is_(wanted)
            assert good.asked in ([wanted.name], [])

    run(main())


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_but_bad_upstreams(fault: str, size: int, tmp_path: Path) -> None:
    """No client is given wrong bytes as if they were all, and nothing of them is kept."""

    async def main() -> None:
        wanted = made(1, size)
        bad = FakeMirror([wanted])
        bad.behave = FAULTS[fault]
        async with mirrors(bad), proxy([bad], Setting(directory=tmp_path)) as running:
            answer = await running.ask(wanted)
            require_right_or_cut(answer, wanted)
            assert running.shelf.hot.entries == {}
            if answer.status >= 500:
                is_ours = "error=" in answer.headers.get("proxy-status", "")
                assert is_ours == (fault not in ("500", "a redirect", "206"))
            bad.behave = honest
            await ask_until_right(running, wanted)

    run(main())


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_stalled(at: float, tmp_path: Path) -> None:
    """Who stops in the middle is given up after its time, and the client gets the rest."""

    async def main() -> None:
        wanted = made(1, 300_000)
        bad, good = FakeMirror([wanted]), FakeMirror([wanted])
        bad.behave = partial(stall, at=at)
        setting = Setting(directory=tmp_path, timeout_s=3)
        async with mirrors(bad, good), proxy([bad, good], setting) as running:
            await ask_until_right(running, wanted)

    run(main())


def test_what_was_given_goes_on(tmp_path: Path) -> None:
    """A client that has the front of an object gets the rest from another upstream."""

    async def main() -> None:
        wanted = made(1, 2_500_000)
        bad, good = FakeMirror([wanted]), FakeMirror([wanted])
        bad.behave = FAULTS["truncates"]
        async with mirrors(bad, good), proxy([bad, good], Setting(directory=tmp_path)) as running:
            assert (await running.ask(wanted)).is_(wanted)
            assert (bad.asked, good.asked) == ([wanted.name], [wanted.name])

    run(main())


def test_a_poisoned_cache_on_the_way(tmp_path: Path) -> None:
    """With one upstream only, what came wrong is asked for once more, past caches."""

    async def main() -> None:
        wanted = made(1)
        only = FakeMirror([wanted])

        async def poisoned(right: bytes, writer: asyncio.StreamWriter) -> bool:
            is_past = b"no-cache" in only.heads[-1]
            return await honest(right if is_past else b"poison", writer)

        only.behave = poisoned
        async with mirrors(only), proxy([only], Setting(directory=tmp_path)) as running:
            assert (await running.ask(wanted)).is_(wanted)
            assert len(only.asked) == 2

    run(main())


@pytest.mark.parametrize("fault", ["an error page", "another object", "announces less"])
def test_root_files(fault: str) -> None:
    """A manifest that is none is neither given nor kept."""

    async def main() -> None:
        path = f"/cvmfs/{'test.example.org'}/.cvmfspublished"
        bad = FakeMirror({".cvmfspublished": b"C" + b"a" * 40 + b"\n"})
        bad.behave = FAULTS[fault]
        async with mirrors(bad), proxy([bad]) as running:
            assert (await running.ask(path)).status == 502
            assert (await running.ask(path)).status == 502

    run(main())


class _Storm:
    """Upstreams that do anything, and clients that check everything."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.wanted = [made(seed * 1000 + n, self.random.choice(SIZES[:5])) for n in range(60)]
        self.wanted += [made(seed * 1000 + 900 + n, SIZES[5]) for n in range(2)]
        self.good, *self.bad = (FakeMirror(self.wanted) for _ in range(3))
        for each in self.bad:
            each.behave = self.misbehave

    async def misbehave(self, right: bytes, writer: asyncio.StreamWriter) -> bool:
        """In some way; one time in four not at all."""
        behave: Behave = honest if self.random.random() < 0.25 else any_fault(self.random)
        return await behave(right, writer)

    def order(self, upstreams: Sequence[Mirror], _now: float) -> list[Mirror]:
        """Any."""
        return self.random.sample(upstreams, len(upstreams))

    async def client(self, running: RunningProxy, requests: int) -> None:
        """Ask for this and that, now and then as after corruption, and leave at times."""
        for _ in range(requests):
            wanted = self.random.choice(self.wanted)
            if self.random.random() < 0.05:
                leaving = await AskingClient.to(running.port)
                leaving.send(wanted.path)
                await leaving.reader.read(1)
                leaving.close()
            if self.random.random() < 0.3:
                require_right_or_cut(
                    await running.ask(wanted, "Cache-Control: no-cache\r\n"), wanted
                )
            await ask_until_right(running, wanted)


@pytest.mark.soak
def test_any_faults(tmp_path: Path) -> None:
    """Thousands of faults at random, many at a time: every body is right, or plainly not all."""

    async def main() -> None:
        storm = _Storm(7)
        room = Room(memory_bytes=2_000_000, object_bytes=100_000)  # so that most is asked for again
        setting = Setting(room, directory=tmp_path, order=storm.order, timeout_s=3)
        upstreams = [storm.good, *storm.bad]
        async with mirrors(*upstreams), proxy(upstreams, setting) as running:
            share = _REQUESTS // _CLIENTS
            await asyncio.gather(*(storm.client(running, share) for _ in range(_CLIENTS)))
            faults = sum(len(each.asked) for each in storm.bad)
            assert faults > _REQUESTS / 4
            assert running.fetcher.under_way == 0

    run(main())
