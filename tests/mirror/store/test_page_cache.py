from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import object_path
from mirror.store.local import LocalStore
from mirror.store.page_cache import drop_pages
from mirror.store.syncfs import syncfs
from tests.support.loops import run

SIZE = 2**20


def is_in_memory(path: Path) -> bool:
    """Whether its first page can be read without the disk."""
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
    return True


@pytest.fixture
def synced(tmp_path: Path) -> Path:
    """A file that is on the disk, and still in memory."""
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    syncfs(tmp_path)
    try:
        drop_pages(path, 0)
        if is_in_memory(path):
            pytest.skip("this file system lies in memory")
    except OSError as error:
        pytest.skip(f"this file system does not tell what is in memory: {error}")
    path.read_bytes()
    assert is_in_memory(path)
    return path


def test_a_large_file_leaves_memory(synced: Path) -> None:
    """Its room is for what clients read; the file itself stays as it is."""
    drop_pages(synced, SIZE - 1)
    assert not is_in_memory(synced)
    assert synced.read_bytes() == bytes(SIZE)


def test_a_small_file_stays(synced: Path) -> None:
    """It is likely to be asked for next."""
    drop_pages(synced, SIZE)
    assert is_in_memory(synced)


def test_what_is_gone_is_gone(tmp_path: Path) -> None:
    """A wish fails silently, and leaves no descriptor open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    drop_pages(tmp_path / "absent", 0)
    drop_pages(tmp_path, -1)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_large_objects_of_a_store(tmp_path: Path, synced: Path) -> None:
    """When a large object is there, its bytes are on the disk and not in memory."""
    content = synced.read_bytes()
    name = ContentHash.of(Algorithm.SHA1, content)

    async def put(cached_up_to: int | None) -> bool:
        store = LocalStore(tmp_path, cached_up_to=cached_up_to)
        await store.prepare()
        async with store.upload(name.algorithm) as upload:
            await upload.write(content)
            await upload.commit(name)
        return is_in_memory(tmp_path / object_path(name))

    assert run(put(None))
    assert run(put(SIZE))
    assert not run(put(SIZE - 1))
