"""Manifest and whitelist of one flip are seen together; every file is seen whole and at once."""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import MANIFEST, STATUS, WHITELIST, WHITELIST_PKCS7
from mirror.serve.resources import resource
from mirror.serve.root_files import BeingReplaced, RootFiles, Withheld
from mirror.store.local import LocalStore

NAME = Fqrn("test.example.org")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of which the first revision is served."""
    tree = tmp_path / NAME.name
    tree.mkdir()
    put(tree, 1)
    return tree


def put(tree: Path, revision: int, *names: str) -> None:
    """Replace root files, each in one step."""
    for name in names or (WHITELIST_PKCS7, WHITELIST, MANIFEST):
        temporary = tree / "temporary"
        temporary.write_bytes(b"%s of revision %d" % (name.encode(), revision))
        temporary.replace(tree / name)


def read(files: RootFiles, name: str, *, may_wait: bool = False) -> bytes | None:
    """What clients get."""
    wanted = resource(f"/cvmfs/{NAME}/{name}")
    assert wanted is not None
    found = files.find(wanted, may_wait=may_wait)
    return None if found is None else found.content


@contextmanager
def flipping(tree: Path) -> Iterator[None]:
    """As a snapshot that is replacing root files."""
    descriptor = os.open(tree, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("name", [MANIFEST, WHITELIST, WHITELIST_PKCS7, STATUS])
def test_new_ones_are_seen_at_once(tree: Path, name: str) -> None:
    """There is no time during which an old one would do."""
    files = RootFiles(tree.parent)
    put(tree, 1, name)
    assert read(files, name) == b"%s of revision 1" % name.encode()
    assert read(files, name) == b"%s of revision 1" % name.encode()
    put(tree, 2, name)
    assert read(files, name) == b"%s of revision 2" % name.encode()
    (tree / name).unlink()
    assert read(files, name) is None


def test_never_a_mixed_pair(tree: Path) -> None:
    """In the middle of a flip everything is as before, and after it everything is new."""
    files = RootFiles(tree.parent)
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
    with flipping(tree):
        put(tree, 2, WHITELIST)
        assert read(files, WHITELIST) == b".cvmfswhitelist of revision 1"
        assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
        put(tree, 2, MANIFEST)
        assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
    assert read(files, MANIFEST) == b".cvmfspublished of revision 2"
    assert read(files, WHITELIST) == b".cvmfswhitelist of revision 2"


def test_nothing_older_to_serve(tree: Path) -> None:
    """Whoever may wait does so; the event loop may not, and is told."""
    files = RootFiles(tree.parent)
    seen: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: seen.append(read(files, MANIFEST, may_wait=True)))
    with flipping(tree):
        with pytest.raises(BeingReplaced):
            read(files, MANIFEST)
        waiting.start()
        put(tree, 2)
    waiting.join()
    assert seen == [b".cvmfspublished of revision 2"]


def test_the_store_takes_that_lock(tree: Path) -> None:
    """What a snapshot replaces in a flip is seen when the flip is over."""
    files = RootFiles(tree.parent)
    store = LocalStore(tree)
    assert read(files, WHITELIST) is not None

    async def flip() -> None:
        await store.prepare()
        async with store.flip():
            await store.write_root_file(WHITELIST, b"new whitelist")
            assert read(files, WHITELIST) == b".cvmfswhitelist of revision 1"
            await store.write_root_file(MANIFEST, b"new manifest")
            assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
        assert read(files, WHITELIST) == b"new whitelist"
        assert read(files, MANIFEST) == b"new manifest"

    asyncio.run(flip())


def test_withheld(tree: Path) -> None:
    """Clients get no manifest then, and all the rest; until that is over."""
    files, store = RootFiles(tree.parent), LocalStore(tree)

    async def withhold(reason: str | None) -> None:
        await store.prepare()
        await store.withhold(reason)

    asyncio.run(withhold("too far behind"))
    with pytest.raises(Withheld, match="too far behind"):
        read(files, MANIFEST)
    assert read(files, WHITELIST) == b".cvmfswhitelist of revision 1"
    asyncio.run(withhold(None))
    asyncio.run(withhold(None))
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"


def test_unknown_repositories(tmp_path: Path) -> None:
    """There is nothing in them."""
    assert read(RootFiles(tmp_path), MANIFEST) is None
    (tmp_path / NAME.name).write_bytes(b"a file where a directory should be")
    assert read(RootFiles(tmp_path), MANIFEST) is None


def test_large_ones_are_not_kept(tree: Path) -> None:
    """A reflog may have megabytes; it is sent from its file."""
    (tree / ".cvmfsreflog").write_bytes(bytes(300_000))
    wanted = resource(f"/cvmfs/{NAME}/.cvmfsreflog")
    assert wanted is not None
    found = RootFiles(tree.parent).find(wanted)
    assert found is not None
    assert (found.content, found.body.size_bytes) == (None, 300_000)
