"""All replicas by the clock: nobody is forgotten, and nobody's mistake stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.daemon.keeping import Keeping, Timetable
from mirror.daemon.rhythm import Rhythm
from mirror.daemon.situation import Phase
from tests.support.clock import NOW
from tests.support.faults import hanging
from tests.support.keepers import KeptMirror
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE

AT_ONCE = Timetable(Rhythm(interval_s=0.001, slowest_s=0.001, backoff_s=0.001))
NEVER = Timetable(Rhythm(interval_s=1e9, slowest_s=1e9))


@pytest.fixture
def kept(keys: Keys, tmp_path: Path) -> KeptMirror:
    """A replica that nobody has fetched yet."""
    return kept_mirror(keys, tmp_path, "test.example.org")


def kept_mirror(keys: Keys, directory: Path, name: str) -> KeptMirror:
    """A replica of this name."""
    repository = Repository(keys, name)
    repository.publish(TREE)
    return KeptMirror(Mirror.in_memory(repository, directory / name))


def keeping(test: Callable[[Keeping], Awaitable[None]]) -> None:
    """Run a test with a clock that goes."""

    async def main() -> None:
        keeping = Keeping()
        keeping.start()
        try:
            await test(keeping)
        finally:
            await keeping.stop()

    run(main())


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def revision(kept: KeptMirror) -> int:
    """What is served."""
    served = kept.situation.served
    return served.number if served is not None else 0


def test_by_itself(kept: KeptMirror) -> None:
    """The first snapshot is made at once, and news come with the next look."""

    async def test(keeping: Keeping) -> None:
        await keeping.keep(kept.keeper, AT_ONCE)
        await until(lambda: revision(kept) == 1)
        kept.mirror.repository.publish(NEXT_TREE)
        await until(lambda: revision(kept) == 2)

    keeping(test)


def test_push(kept: KeptMirror) -> None:
    """It does not wait for the clock."""

    async def test(keeping: Keeping) -> None:
        await keeping.keep(kept.keeper, NEVER)
        await until(lambda: revision(kept) == 1 and kept.situation.next_look is not None)
        kept.mirror.repository.publish(NEXT_TREE)
        await keeping.look(kept.keeper.fqrn)
        assert revision(kept) == 2

    keeping(test)


def test_next_look(kept: KeptMirror) -> None:
    """It is told, so that people need not guess."""

    async def test(keeping: Keeping) -> None:
        await keeping.keep(kept.keeper, Timetable(Rhythm(interval_s=3600, slowest_s=3600)))
        await keeping.look(kept.keeper.fqrn)
        next_look = kept.situation.next_look
        assert next_look is not None
        assert next_look - NOW > timedelta(0)

    keeping(test)


def test_forgotten(kept: KeptMirror) -> None:
    """What is going on is stopped, and nothing is looked at any more."""
    kept.mirror.stratum0.fault = hanging

    async def test(keeping: Keeping) -> None:
        await keeping.keep(kept.keeper, AT_ONCE)
        await until(lambda: kept.situation.phase is not Phase.IDLE)
        await keeping.forget(kept.keeper.fqrn)
        assert kept.situation.phase is Phase.IDLE
        assert not keeping.keepers

    keeping(test)


def test_mistakes(
    kept: KeptMirror,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One of ours in one replica is logged and counted; the others go on, and so does it later."""
    other = kept_mirror(keys, tmp_path, "other.example.org")

    async def broken(**_: object) -> None:
        raise ZeroDivisionError

    async def test(keeping: Keeping) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(kept.keeper, "look", broken)
            await keeping.keep(kept.keeper, AT_ONCE)
            await keeping.keep(other.keeper, AT_ONCE)
            await until(lambda: kept.situation.failures > 2 and revision(other) == 1)
        await until(lambda: revision(kept) == 1)
        assert kept.situation.failures == 0

    keeping(test)
    assert "ZeroDivisionError" in caplog.text
