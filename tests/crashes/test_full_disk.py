"""The disk is full at any moment: the old revision stays, and with more room all goes on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mirror.errors import StoreFull
from mirror.events import ObjectFailed
from mirror.replication.lock import is_locked
from tests.crashes.conftest import Scene
from tests.support.disks import resize, tiny_disk
from tests.support.keys import Keys
from tests.support.replicas import Mirror
from tests.support.watched import FullDisk

STEP_BYTES = 9_001
PAGE_BYTES = 4096


def require_unharmed(mirror: Mirror) -> None:
    """No short file is under a final name, and the revision that was served is whole."""
    mirror.require_lawful()
    assert mirror.require_whole() in (1, 2)
    assert mirror.leftovers() == []
    assert not mirror.heard(ObjectFailed)
    assert not is_locked(mirror.spool)


def is_too_small(scene: Scene, free_bytes: int, notices_at: str) -> bool:
    """Take a snapshot with so much room; look at what it left, and let the next one finish."""
    mirror = scene.begin()
    mirror.watch = FullDisk(free_bytes, notices_at=notices_at)
    try:
        mirror.snapshot()
        is_full = False
    except StoreFull:
        is_full = True
    mirror.watch = None
    require_unharmed(mirror)
    mirror.snapshot()
    mirror.require_current()
    return is_full


@pytest.mark.parametrize("notices_at", ["write", "commit"])
def test_full_after_some_bytes(scene: Scene, notices_at: str) -> None:
    """Wherever the space ends, be it in the middle of an object or of a root file."""
    free_bytes = 0
    while is_too_small(scene, free_bytes, notices_at):
        free_bytes += STEP_BYTES
    assert free_bytes > 200_000


@pytest.mark.parametrize("free_bytes", range(1, 2000, 271))
def test_full_at_the_very_end(scene: Scene, free_bytes: int) -> None:
    """When all objects are here and the root files are what does not fit."""
    mirror = scene.begin()
    mirror.watch = FullDisk(10**9, notices_at="commit")
    mirror.snapshot()
    used = 10**9 - mirror.watch.free_bytes
    assert is_too_small(scene, used - free_bytes, "commit")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where a file system may be mounted."""
    return tmp_path / "disk"


def used_bytes(disk: Path) -> int:
    """What is in use on it."""
    return shutil.disk_usage(disk).used


def fits(template: Mirror, disk: Path, free_bytes: int) -> bool:
    """Take a snapshot on a real disk with so much room; then one with enough."""
    root = disk / "replica"
    shutil.copytree(template.directory, root, symlinks=True)
    mirror = Mirror.on_disk(template.repository, root)
    resize(disk, used_bytes(disk) + free_bytes)
    try:
        mirror.snapshot()
        has_fitted = True
    except StoreFull as error:
        has_fitted = "make room" not in str(error)
    require_unharmed(mirror)
    resize(disk, 2**24)
    mirror.snapshot()
    mirror.require_current()
    shutil.rmtree(root)
    return has_fitted


def test_a_real_full_disk(keys: Keys, quick_path: Path, disk: Path) -> None:
    """The same with a real file system, and what it does with the last bytes of a file."""
    scene, free_pages = Scene(keys, quick_path, Mirror.on_disk), 0
    template = scene.begin()
    with tiny_disk(disk, 2**24):
        while not fits(template, disk, free_pages * PAGE_BYTES):
            free_pages += 2
    assert free_pages > 50


def test_a_first_snapshot_that_does_not_fit(keys: Keys, quick_path: Path, disk: Path) -> None:
    """Nothing is served, what was fetched is kept, and each run with more room gets further."""
    scene = Scene(keys, quick_path, Mirror.on_disk)
    with tiny_disk(disk, 2**16):
        mirror = Mirror.on_disk(scene.repository, disk)
        kept = [0]
        for pages in (20, 50, 90):
            resize(disk, pages * PAGE_BYTES)
            with pytest.raises(StoreFull):
                mirror.snapshot()
            mirror.require_lawful()
            kept.append(len(mirror.objects()))
        assert kept == sorted(kept)
        resize(disk, 2**24)
        mirror.snapshot()
        mirror.require_current()
