"""Stop a snapshot after every single store operation: what is served is always complete."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mirror.replication.lock import is_locked
from tests.crashes.conftest import Scene
from tests.support.watched import Kill, Killed


def killed_after(scene: Scene, operations: int, *, is_last_told: bool) -> bool:
    """Kill a snapshot there; look at what it left, and let the next one finish."""
    mirror = scene.begin()
    mirror.watch = kill = Kill(operations, is_last_told=is_last_told)
    with suppress(Killed):
        mirror.snapshot()
    mirror.watch = None
    mirror.require_lawful()
    assert mirror.require_whole() in (1, 2)
    assert not is_locked(mirror.spool)
    mirror.snapshot()
    mirror.require_lawful()
    assert mirror.require_whole() == 2
    return kill.is_over


@pytest.mark.parametrize("is_last_told", [True, False])
def test_stopped_after_every_operation(scene: Scene, *, is_last_told: bool) -> None:
    """The served revision is whole, every catalog proves its tree, and the next run finishes."""
    operations = 0
    while killed_after(scene, operations, is_last_told=is_last_told):
        operations += 1
    assert operations > 50
