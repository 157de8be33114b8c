"""Stop a snapshot after every single store operation: what is served is always complete."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from mirror.cvmfs.paths import MANIFEST
from mirror.replication.lock import is_locked
from tests.crashes.conftest import Scene
from tests.support.clock import NOW
from tests.support.replicas import Mirror
from tests.support.watched import Kill, Killed

Begin = Callable[[Scene], Mirror]


def further(scene: Scene) -> Mirror:
    """A replica of the first revision, the second being offered."""
    return scene.begin()


def first(scene: Scene) -> Mirror:
    """A replica that is none yet."""
    return scene.begin(is_new=True)


def renewed(scene: Scene) -> Mirror:
    """One to which nothing is new but the whitelist."""
    scene.repository.write_whitelist()
    mirror = scene.begin()
    mirror.snapshot()
    scene.repository.write_whitelist(expires_at=NOW + timedelta(days=30))
    return mirror


def repaired(scene: Scene) -> Mirror:
    """One to which nothing is new, and of which nothing is believed."""
    mirror = scene.begin()
    mirror.snapshot()
    return mirror


def require_unharmed(mirror: Mirror, *, was_served: bool) -> None:
    """All that is visible is whole; what is served is complete; the lock is free."""
    mirror.require_lawful()
    if was_served or mirror.root_file(MANIFEST) is not None:
        assert mirror.require_whole() in (1, 2)
    assert not is_locked(mirror.spool)


def killed_after(scene: Scene, begin: Begin, operations: int, *, is_last_told: bool) -> bool:
    """Kill a snapshot there; look at what it left, and let the next one finish."""
    mirror, repairs = begin(scene), begin is repaired
    was_served = mirror.root_file(MANIFEST) is not None
    mirror.watch = kill = Kill(operations, is_last_told=is_last_told)
    with suppress(Killed):
        mirror.snapshot(repairs=repairs)
    mirror.watch = None
    require_unharmed(mirror, was_served=was_served)
    mirror.snapshot(repairs=repairs)
    mirror.require_lawful()
    assert mirror.require_whole() == 2
    return kill.is_over


@pytest.mark.parametrize("is_last_told", [True, False])
@pytest.mark.parametrize(
    ("begin", "least"), [(further, 50), (first, 50), (renewed, 8), (repaired, 8)]
)
def test_stopped_after_every_operation(
    scene: Scene, begin: Begin, least: int, *, is_last_told: bool
) -> None:
    """The served revision is whole, every catalog proves its tree, and the next run finishes."""
    operations = 0
    while killed_after(scene, begin, operations, is_last_told=is_last_told):
        operations += 1 if begin is further else scene.stride
    assert operations >= least
