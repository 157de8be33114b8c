from __future__ import annotations

import os
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.errors import StoreFull, StoreUnavailable
from mirror.store.local import LocalStore
from mirror.store.reserve import Floor, Reserve
from tests.support.loops import run

BLOCK = 4096
GIB = 2**30


class Disk:
    """A file system that can be asked, and written to.

    Attributes:
        free_bytes: what is left.
        free_files: inodes that are left.
        asked: how often it was.
    """

    def __init__(self, size_bytes: int, free_bytes: int, files: int = 0) -> None:
        self.size_bytes = size_bytes
        self.free_bytes = free_bytes
        self.files = self.free_files = files
        self.asked = 0

    def statvfs(self, _path: Path) -> os.statvfs_result:
        """As os.statvfs."""
        self.asked += 1
        size, free = self.size_bytes // BLOCK, self.free_bytes // BLOCK
        files, free_files = self.files, self.free_files
        return os.statvfs_result(
            (BLOCK, BLOCK, size, free, free, files, free_files, free_files, 0, 255)
        )

    def reserve(self, floor: Floor) -> Reserve:
        """One that watches over it."""
        return Reserve(Path("/srv"), floor, self.statvfs)

    def write(self, size_bytes: int) -> None:
        """Take up whole blocks and an inode."""
        self.free_bytes -= -(-size_bytes // BLOCK) * BLOCK
        self.free_files -= 1


@pytest.mark.parametrize(
    ("floor", "size_bytes", "kept_bytes"),
    [
        (Floor(), GIB, 0),
        (Floor(0.01), 1000, 10),
        (Floor(0.01, 10 * GIB), 100 * GIB, GIB),
        (Floor(0.01, 10 * GIB), 10_000 * GIB, 10 * GIB),
        (Floor(1.0, 5 * GIB), 100 * GIB, 5 * GIB),
        (Floor(1.0, 5 * GIB), GIB, GIB),
    ],
)
def test_floors(floor: Floor, size_bytes: int, kept_bytes: int) -> None:
    """A part, a size, or the smaller of both."""
    assert floor.of(size_bytes) == pytest.approx(kept_bytes, abs=1 * BLOCK)


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.floats(0.001, 1),
    st.lists(st.integers(0, 20 * 2**20), max_size=200),
)
def test_the_reserve_is_never_touched(
    size_mib: int, free_mib: int, share: float, sizes: list[int]
) -> None:
    """Whatever is written, as long as nobody else writes."""
    disk = Disk(size_mib * 2**20, min(free_mib, size_mib) * 2**20)
    reserve = disk.reserve(Floor(share))
    kept_bytes = min(Floor(share).of(disk.size_bytes), disk.free_bytes)
    for size_bytes in sizes:
        try:
            reserve.require(size_bytes)
        except StoreFull:
            break
        disk.write(size_bytes)
    assert disk.free_bytes >= kept_bytes


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=300))
def test_nothing_is_refused_that_fits(sizes: list[int]) -> None:
    """It stops before the reserve, and not long before."""
    disk = Disk(GIB, GIB // 2)
    reserve = disk.reserve(Floor(1.0, GIB // 2 - sum(sizes) - len(sizes) * 2 * BLOCK))
    for size_bytes in sizes:
        reserve.require(size_bytes)
        disk.write(size_bytes)


def test_inodes_have_a_reserve_too() -> None:
    """The same part: a disk full of small files is full."""
    disk = Disk(100 * GIB, 99 * GIB, files=1000)
    disk.free_files = 150
    reserve = disk.reserve(Floor(0.1))
    for _ in range(50):
        reserve.require(1)
        disk.write(1)
    with pytest.raises(StoreFull, match="100 inodes free, reserve 100 inodes"):
        reserve.require(1)


def test_the_error_says_what_to_do() -> None:
    """How much is free, how much has to be, and both ways out."""
    disk = Disk(100 * GIB, GIB)
    words = r"/srv: 1\.0 GiB free, reserve 5\.0 GiB; make room or lower \[storage\] reserve"
    with pytest.raises(StoreFull, match=words):
        disk.reserve(Floor(0.05)).require(1)


def test_with_room_it_goes_on() -> None:
    """Whoever was refused may ask again."""
    disk = Disk(100 * GIB, GIB)
    reserve = disk.reserve(Floor(0.05))
    with pytest.raises(StoreFull):
        reserve.require(1)
    disk.free_bytes = 50 * GIB
    reserve.require(1)
    disk.free_bytes = GIB
    with pytest.raises(StoreFull):
        deque(map(reserve.require, range(100)), 0)


def test_the_file_system_is_asked_rarely() -> None:
    """On NFS it is a round trip."""
    disk = Disk(1000 * GIB, 500 * GIB, files=10**9)
    reserve = disk.reserve(Floor(0.01))
    for _ in range(6500):
        reserve.require(10_000)
    assert disk.asked == 100


def test_without_a_reserve_nobody_is_asked() -> None:
    """Then a full disk is what stops a run."""
    disk = Disk(GIB, 0)
    disk.reserve(Floor()).require(GIB)
    assert disk.asked == 0


def test_a_real_file_system(tmp_path: Path) -> None:
    """There is room for a little where tests run, and never for the whole disk."""
    Reserve(tmp_path, Floor(1.0, 1)).require(1)
    with pytest.raises(StoreFull):
        Reserve(tmp_path, Floor(0.999_999)).require(1)
    with pytest.raises(StoreUnavailable, match="No such file"):
        Reserve(tmp_path / "absent", Floor(0.1)).require(1)


async def put(store: LocalStore, content: bytes) -> None:
    """Commit an object."""
    async with store.upload(Algorithm.SHA1) as upload:
        await upload.write(content)
        await upload.commit(ContentHash.of(Algorithm.SHA1, content))


@pytest.mark.parametrize("content", [b"small", bytes(2**20)], ids=["small", "large"])
def test_objects_do_not_touch_the_reserve(tmp_path: Path, content: bytes) -> None:
    """Neither those in memory until they are committed, nor those that go to a file before."""
    store = LocalStore(tmp_path, Floor(0.999_999))
    run(store.prepare())
    with pytest.raises(StoreFull, match=r"lower \[storage\] reserve"):
        run(put(store, content))
    assert not list((tmp_path / "data" / "txn").iterdir())
    run(put(LocalStore(tmp_path, Floor(1.0, 1)), content))


def test_root_files_may_use_the_reserve(tmp_path: Path) -> None:
    """A replica whose whitelist is not renewed is lost to its clients."""
    store = LocalStore(tmp_path, Floor(0.999_999))
    run(store.prepare())
    run(store.write_root_file(".cvmfswhitelist", b"renewed"))
    run(store.write_root_file(".cvmfs_status.json", b"{}", is_durable=False))
    assert run(store.read_root_file(".cvmfswhitelist", 100)) == b"renewed"
