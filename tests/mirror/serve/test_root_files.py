"""Manifest and whitelist of one flip are seen together; every file is seen whole and at once."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import MANIFEST, STATUS, WHITELIST, WHITELIST_PKCS7
from mirror.errors import StoreFull
from mirror.serve.resources import resource
from mirror.serve.root_files import BeingReplaced, RootFiles, Withheld
from mirror.store.local import LocalStore
from mirror.store.withheld import Note, boot_clock

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
        with pytest.raises(BeingReplaced):  # nobody knows what others saw in between
            read(files, MANIFEST)
    assert read(files, MANIFEST) == b".cvmfspublished of revision 2"
    assert read(files, WHITELIST) == b".cvmfswhitelist of revision 2"


def test_never_back_to_what_one_worker_knows(tree: Path) -> None:
    """Nobody asked this worker for revision 2; others were asked, so 1 is too old for ever."""
    files = RootFiles(tree.parent)
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
    put(tree, 2)
    with flipping(tree):
        put(tree, 3, WHITELIST)
        with pytest.raises(BeingReplaced):
            read(files, MANIFEST)


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
            with pytest.raises(BeingReplaced):
                read(files, WHITELIST)
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


def test_a_lease(tree: Path) -> None:
    """Clients get the manifest until it ends, and then hear the reason it was lent with."""
    files, note = RootFiles(tree.parent), Note(tree)
    note.lend(boot_clock() + 60, "nobody heard from")
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
    assert note.is_lease()
    note.lend(boot_clock() + 0.05, "nobody heard from")
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"
    time.sleep(0.06)
    with pytest.raises(Withheld, match="nobody heard from"):
        read(files, MANIFEST)
    note.lend(boot_clock() + 60, "nobody heard from")
    note.withhold("the group is ahead")
    with pytest.raises(Withheld, match="the group is ahead"):
        read(files, MANIFEST)
    note.clear()
    assert read(files, MANIFEST) == b".cvmfspublished of revision 1"


def test_a_flip_of_a_group_is_waited_for(tree: Path) -> None:
    """By those who may wait; but not for a manifest that was withheld a while ago."""
    files, note = RootFiles(tree.parent), Note(tree)
    note.withhold("about to flip")
    seen: list[bytes | None] = []
    waiting = threading.Thread(target=lambda: seen.append(read(files, MANIFEST, may_wait=True)))
    waiting.start()
    time.sleep(0.05)
    put(tree, 2)
    note.lend(boot_clock() + 60, "nobody heard from")
    waiting.join()
    assert seen == [b".cvmfspublished of revision 2"]
    note.withhold("the group is ahead")
    with pytest.raises(Withheld):
        read(files, MANIFEST, may_wait=True)
    began = time.monotonic()
    with pytest.raises(Withheld):
        read(files, MANIFEST, may_wait=True)
    assert time.monotonic() - began < 0.5


def test_a_lease_from_before_a_reboot(tree: Path) -> None:
    """The clock began anew, so its time says nothing; nor does that of a note written by hand."""
    files, note = RootFiles(tree.parent), tree / ".mirror-withheld"
    for text in ("by hand\n", "of another start\nboot 3d4e\n"):
        note.unlink(missing_ok=True)
        note.write_text(text)
        with pytest.raises(Withheld, match=text.partition("\n")[0]):
            read(RootFiles(tree.parent), MANIFEST)
    with pytest.raises(Withheld):
        read(files, MANIFEST)


def test_a_full_disk_withholds_all_the_same(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason cannot be written then, but the lease ends."""
    files, note = RootFiles(tree.parent), Note(tree)
    note.lend(boot_clock() + 60, "nobody heard from")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(StoreFull):
        note.withhold("the group is ahead")
    with pytest.raises(Withheld, match="nobody heard from"):
        read(files, MANIFEST)


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
