"""The disk tier: nothing of it is believed, and its failures are nobody's but its own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror.cvmfs.paths import parse_object_path
from mirror.serve.content import FileRange
from proxy.cache.disk import DiskTier
from proxy.cache.partition import Partition
from tests.support.loops import run
from tests.support.proxies import Made, made
from tests.support.tasks import until

_SIZE = 256 * 1024 * 1024
_MOST = 100_000
SMALL, LARGE = made(1), made(2, 300_000)


class Tier:
    """One, and what it says."""

    def __init__(self, directory: Path, size: int = _SIZE) -> None:
        self.said: list[str] = []
        self.disk = DiskTier(directory, size, say=self.said.append)

    def put(self, wanted: Made) -> bool:
        """Keep it, and wait until it is."""
        written = threading.Event()
        is_tried = self.disk.put(wanted.name.encode(), wanted.content, written.set)
        assert not is_tried or written.wait(30)
        return is_tried

    def get(self, wanted: Made) -> bytes | None:
        """What it has, right or wrong."""
        about = parse_object_path(wanted.name)
        found = run(self.disk.get(wanted.name.encode(), about, _MOST))
        if isinstance(found, FileRange):
            return os.pread(found.descriptor, found.size_bytes, found.base)
        assert found == self.disk.now(wanted.name.encode(), about, _MOST)
        return found


@pytest.fixture
def tier(tmp_path: Path) -> Iterator[Tier]:
    """An empty one."""
    tier = Tier(tmp_path / "cache")
    yield tier
    tier.disk.close()


def damage(directory: Path, content: bytes) -> None:
    """Flip a bit of it, wherever it lies."""
    for path in directory.rglob("[ps]????.*"):
        at = path.read_bytes().find(content)
        if at >= 0:
            with path.open("r+b") as file:
                file.seek(at + len(content) // 2)
                byte = file.read(1)[0]
                file.seek(at + len(content) // 2)
                file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("wanted", [SMALL, LARGE])
def test_kept(tier: Tier, wanted: Made) -> None:
    """What was put is found: small ones as bytes, large ones as a part of a file."""
    assert tier.get(wanted) is None
    assert tier.put(wanted)
    assert tier.get(wanted) == wanted.content
    assert tier.disk.has(wanted.name.encode())


@pytest.mark.parametrize("wanted", [SMALL, LARGE])
def test_damaged(tier: Tier, wanted: Made, tmp_path: Path) -> None:
    """Wrong bytes are a miss: counted, forgotten, and made good by the next put."""
    tier.put(wanted)
    damage(tmp_path, wanted.content)
    assert tier.get(wanted) is None
    assert tier.disk.damaged == 1
    assert not tier.disk.has(wanted.name.encode())
    tier.put(wanted)
    assert tier.get(wanted) == wanted.content


def test_forgotten(tier: Tier) -> None:
    """What is to be fetched anew is not found meanwhile."""
    tier.put(SMALL)
    tier.disk.forget(SMALL.name.encode())
    assert tier.get(SMALL) is None


def test_a_disk_that_fails(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said once, and once more when it takes objects again; nothing else happens."""
    with monkeypatch.context() as failing:

        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        failing.setattr(Partition, "add", fail)
        for number in range(10):
            tier.put(made(number))
        assert len(tier.said) == 1
        assert "serving goes on" in tier.said[0]
    tier.put(SMALL)
    assert tier.get(SMALL) == SMALL.content
    assert len(tier.said) == 2


def test_whatever_goes_wrong(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object that cannot be written does not keep the next ones from it."""
    with monkeypatch.context() as failing:

        def fail(*_: object) -> None:
            raise ValueError("no such thing")

        failing.setattr(Partition, "add", fail)
        tier.put(SMALL)
    tier.put(LARGE)
    assert tier.get(LARGE) == LARGE.content


def test_a_disk_that_does_not_keep_up(tier: Tier, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would wait too long is dropped, and counted."""
    may_write = threading.Event()

    def wait(*_: object) -> None:
        may_write.wait(30)

    monkeypatch.setattr(Partition, "add", wait)
    content = bytes(5 * 1024 * 1024)
    put = [tier.disk.put(made(n, 10).name.encode(), content) for n in range(20)]
    may_write.set()
    assert 0 < sum(put) < len(put)
    assert tier.disk.dropped == len(put) - sum(put)


def test_too_large(tier: Tier) -> None:
    """What no segment can take is not tried."""
    assert not tier.put(made(1, 8 * 1024 * 1024))


def test_a_successor(tier: Tier, tmp_path: Path) -> None:
    """It reads at once, and writes when its predecessor has let go; who then writes no more."""
    tier.put(SMALL)
    successor = Tier(tmp_path / "cache")
    assert successor.get(SMALL) == SMALL.content
    tier.disk.release()
    assert not tier.put(LARGE)
    successor.put(LARGE)
    assert successor.get(LARGE) == LARGE.content
    assert tier.get(LARGE) == LARGE.content
    successor.disk.close()


def test_another_size(tier: Tier, tmp_path: Path) -> None:
    """A successor with a cache of another size takes nothing from under its predecessor's feet."""
    tier.put(LARGE)
    about = parse_object_path(LARGE.name)
    found = run(tier.disk.get(LARGE.name.encode(), about, _MOST))
    assert isinstance(found, FileRange)
    successor = Tier(tmp_path / "cache", 2 * _SIZE)
    tier.disk.release()
    for number in range(100, 200):
        successor.put(made(number, 200_000))
    assert os.pread(found.descriptor, found.size_bytes, found.base) == LARGE.content
    assert tier.get(LARGE) in (LARGE.content, None)
    here = [number for number in range(100, 200) if successor.get(made(number, 200_000))]
    assert here == list(range(100, 200))
    successor.disk.close()


def test_nothing_is_left_behind(tier: Tier, tmp_path: Path) -> None:
    """Files that a kill, or a cache of another size, has left are removed by who writes next."""
    tier.put(SMALL)
    stray = [each / "p0001.07" for each in (tmp_path / "cache").iterdir()]
    stray += [each / "s0abc.07" for each in (tmp_path / "cache").iterdir()]
    for each in stray:
        each.write_bytes(b"left")
    tier.disk.release()
    successor = Tier(tmp_path / "cache")
    for number in range(50):
        successor.put(made(number))
    assert not any(each.exists() for each in stray)
    assert successor.get(SMALL) == SMALL.content
    successor.disk.close()


def test_replaced_files_are_let_go(tier: Tier) -> None:
    """What another worker has replaced takes no room for longer than it is of use."""
    tier.put(SMALL)
    assert tier.get(SMALL) == SMALL.content
    for partition in tier.disk._partitions:
        for file in partition._files.values():
            file.path.unlink()
    tier.disk.tidy()
    assert not any(partition._files for partition in tier.disk._partitions)
    assert tier.get(SMALL) is None


def test_a_segment_that_is_gone(tier: Tier) -> None:
    """Writing goes on though somebody has removed the file that was being written."""
    tier.put(SMALL)
    for partition in tier.disk._partitions:
        for file in partition._files.values():
            file.path.unlink()
    tier.disk.tidy()
    tier.put(SMALL)
    assert tier.get(SMALL) == SMALL.content


def test_many_at_a_time(tier: Tier) -> None:
    """However many are put at once, none is lost to a race, and the queue empties."""
    objects = [made(number) for number in range(500)]
    for each in objects:
        assert tier.disk.put(each.name.encode(), each.content)
    until(lambda: tier.disk.stored == len(objects))
    assert [tier.get(each) for each in objects] == [each.content for each in objects]
