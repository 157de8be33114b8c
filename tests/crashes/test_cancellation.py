"""Cancel a snapshot at every turn of the loop: nothing leaks, and nothing is half done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from mirror.cvmfs.paths import IS_SNAPSHOTTING
from mirror.replication.lock import is_locked
from mirror.replication.walk import Breadth
from tests.crashes.conftest import Scene
from tests.support.faults import hanging
from tests.support.loops import is_cancelled_at, run, turns, without_threads
from tests.support.replicas import Mirror


def require_clean(mirror: Mirror) -> None:
    """What was cancelled is over: no lock, no temporary file, no sign of being under way."""
    assert not is_locked(mirror.spool)
    assert mirror.leftovers() == []
    assert mirror.root_file(IS_SNAPSHOTTING) is None
    mirror.require_lawful()
    assert mirror.require_whole() in (1, 2)


def is_stopped_at(scene: Scene, turn: int, breadth: Breadth) -> bool:
    """Cancel a snapshot there; look at what it left, and let the next one finish."""
    mirror = scene.begin()
    mirror.breadth = breadth
    was_cancelled = run(is_cancelled_at(turn, mirror.run_of().run()))
    require_clean(mirror)
    mirror.snapshot()
    mirror.require_current()
    return was_cancelled


@pytest.mark.parametrize("breadth", [Breadth(), Breadth(1, 1)], ids=["all at once", "in turn"])
def test_cancelled_at_every_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, breadth: Breadth
) -> None:
    """With blocking work done in the loop's thread, every run takes the same turns."""
    without_threads(monkeypatch)
    turn = 0
    while is_stopped_at(scene, turn, breadth):
        turn += scene.stride
    assert turn > 50


@pytest.mark.parametrize("turn", range(0, 400, 40))
def test_cancelled_with_threads_under_way(scene: Scene, turn: int) -> None:
    """The same with real threads, at moments that nobody knows."""
    is_stopped_at(scene, turn, Breadth())


def cancelled_twice(main: Coroutine[Any, Any, object]) -> Coroutine[Any, Any, None]:
    """Cancel, and once more before the cleaning up is over."""

    async def cancel() -> None:
        task = asyncio.ensure_future(main)
        await turns(60)
        for _ in range(4):
            task.cancel()
            await turns(2)
        await asyncio.wait([task])
        assert task.cancelled()

    return cancel()


def test_cancelled_again_and_again(scene: Scene) -> None:
    """Impatience loses time, and nothing else."""
    mirror = scene.begin()
    run(cancelled_twice(mirror.run_of().run()))
    assert not is_locked(mirror.spool)
    mirror.require_lawful()
    mirror.snapshot()
    mirror.require_current()


def test_cancelled_while_a_server_hangs(scene: Scene) -> None:
    """Nobody waits for a server that does not go on."""
    mirror = scene.begin()
    new = scene.repository.revisions[1].paths - scene.repository.revisions[0].paths
    mirror.stratum0.faults = dict.fromkeys(new, hanging)
    mirror.stratum0.faults.pop(next(path for path in new if path.endswith("H")))
    assert run(is_cancelled_at(20_000, mirror.run_of().run()))
    require_clean(mirror)
    mirror.stratum0.faults.clear()
    mirror.snapshot()
    mirror.require_current()
