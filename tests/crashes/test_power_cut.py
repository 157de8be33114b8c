"""Cut the power of a real file system: what is served afterwards is complete and right.

The disk takes the program's processes with it, however many there are. Two ways of going are
tried: with all names and only synced contents on the disk, which is how short files come about, and
with synced things only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import pytest

from mirror.errors import StoreError
from mirror.store import local
from mirror.store.local import LocalStore
from mirror.store.syncfs import syncfs
from tests.crashes.conftest import SOAK
from tests.support.disks import Cut, MortalDisk, mortal_disk
from tests.support.http_stratum0 import HttpStratum0
from tests.support.keys import Keys
from tests.support.publisher import Repository
from tests.support.reachable import require_sound
from tests.support.replicas import Mirror
from tests.support.site import Site
from tests.support.trees import CHUNK_BYTES, NEXT_TREE, TREE, random_revision
from tests.support.watched import Operation

PROGRAM: Final = Path(sys.executable).with_name("cvmfs-mirror")
ROUNDS: Final = 200 if os.environ.get(SOAK) else 12
STRIDE: Final = 1 if os.environ.get(SOAK) else 3


@pytest.fixture
def disk(quick_path: Path) -> Iterator[MortalDisk]:
    """Large enough for all that is stored here."""
    place = quick_path / "power"
    place.mkdir()
    with mortal_disk(place, 256) as disk:
        yield disk


class Plug:
    """Pulled when so many files were asked for, and held until the program has noticed."""

    def __init__(self, disk: MortalDisk) -> None:
        self.disk = disk
        self.requests_left = 0
        self.cut = Cut.AFTER_THE_JOURNAL

    def hear(self) -> None:
        """A file is asked for."""
        self.requests_left -= 1
        if self.requests_left == 0:
            self.disk.cut_power(self.cut)


class Stratum0(HttpStratum0):
    """One that tells a plug of every request."""

    plug: Plug | None = None

    def _content(self, path: str) -> bytes | None:
        if self.plug is not None:
            self.plug.hear()
        return super()._content(path)


def require_whole(mirror: Mirror) -> None:
    """By our own check, and by a walk that shares none of its code."""
    mirror.require_lawful()
    assert 1 <= mirror.require_whole() <= len(mirror.repository.revisions)
    require_sound(mirror.root)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_cut_at_any_moment(keys: Keys, tmp_path: Path, disk: MortalDisk) -> None:
    """While objects, catalogs and root files of the real program are on their way."""
    random, repository = Random(7), Repository(keys, chunk_bytes=CHUNK_BYTES)
    repository.publish(TREE, tag="v1")
    with Stratum0(repository.files) as stratum0:
        site = Site(disk.mount_point, "test.example.org", stratum0.url, keys.master_pem)
        mirror = Mirror(repository, tmp_path, lambda: LocalStore(site.root))
        mirror.root = site.root
        assert site.run("snapshot") == 0
        exit_codes = set()
        for _ in range(ROUNDS):
            random_revision(repository, random)
            stratum0.plug = plug = Plug(disk)
            plug.requests_left = random.randint(1, 40)
            plug.cut = random.choice(list(Cut))
            command = [str(PROGRAM), "--config", str(site.config), "snapshot"]
            exit_codes.add(subprocess.run(command, capture_output=True, check=False).returncode)
            stratum0.plug = None
            if plug.requests_left > 0:
                disk.cut_power(plug.cut)  # right after the end, which must have been durable
            disk.restart()
            require_whole(mirror)
            assert site.run("snapshot") == 0
            mirror.require_current()
    assert exit_codes <= {0, 5}
    assert 5 in exit_codes


class PowerCut:
    """A `Watch` that cuts the power after so many operations that write.

    Attributes:
        is_over: whether it came so far.
    """

    def __init__(self, disk: MortalDisk, after: int, cut: Cut) -> None:
        self._disk = disk
        self._left = after
        self._cut = cut
        self.is_over = False

    def before(self, operation: Operation) -> None:
        """As `Watch.before`."""

    def after(self, operation: Operation) -> None:
        """As `Watch.after`."""
        self._left -= operation.is_writing
        if self._left <= 0 and not self.is_over:
            self.is_over = True
            self._disk.cut_power(self._cut)


@pytest.fixture
def template(keys: Keys, tmp_path: Path) -> Mirror:
    """A replica of the first revision, of which the second is offered."""
    repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
    repository.publish(TREE, tag="v1")
    mirror = Mirror.on_disk(repository, tmp_path)
    mirror.snapshot()
    repository.publish(NEXT_TREE, tag="v2")
    return mirror


def begin(template: Mirror, disk: MortalDisk) -> Mirror:
    """The same on a disk whose power can be cut; what was there before is gone."""
    place = disk.mount_point / "host"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(template.directory, place, symlinks=True)
    syncfs(disk.mount_point)
    return Mirror.on_disk(template.repository, place)


@pytest.mark.parametrize("cut", Cut)
def test_cut_after_every_operation(template: Mirror, disk: MortalDisk, cut: Cut) -> None:
    """At every moment at which the store has promised something."""
    operations = 1
    while True:
        mirror = begin(template, disk)
        mirror.watch = watch = PowerCut(disk, operations, cut)
        with suppress(StoreError):
            mirror.snapshot()
        mirror.watch = None
        if not watch.is_over:
            break
        disk.restart()
        require_whole(mirror)
        mirror.snapshot()
        mirror.require_current()
        operations += STRIDE
    assert operations > 40


def test_without_syncs_it_would_be_noticed(
    template: Mirror, disk: MortalDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These disks do lose what is not synced, and leave short files under final names."""
    monkeypatch.setattr(local, "syncfs", lambda _directory: None)
    mirror = begin(template, disk)
    mirror.snapshot()
    disk.cut_power(Cut.AFTER_THE_JOURNAL)
    disk.restart()
    with pytest.raises((AssertionError, zlib.error)):
        require_whole(mirror)
