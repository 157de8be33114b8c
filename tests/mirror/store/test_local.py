"""What a LocalStore promises beside what every store promises; see tests/contracts."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.paths import FAN_OUT, MANIFEST, alternative_path, object_path
from mirror.errors import FormatError, StoreFull, StoreUnavailable
from mirror.store import local, local_upload
from mirror.store.local import LocalStore
from mirror.store.syncfs import syncfs
from tests.support.disks import tiny_disk
from tests.support.loops import run

SMALL = b"hello"
LARGE = bytes(range(256)) * 2048
NAME = ContentHash.of(Algorithm.SHA1, SMALL)
THREE_DAYS_S = 3 * 86_400
CONTENTS = pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A prepared store."""
    store = LocalStore(tmp_path / "srv")
    run(store.prepare())
    return store


@pytest.fixture
def temporaries(store: LocalStore) -> Path:
    """Where its temporary files are."""
    return store.root / "data" / "txn"


async def put(store: LocalStore, content: bytes, suffix: Suffix = Suffix.NONE) -> Path:
    """Store an object; returns its file."""
    name = ContentHash.of(Algorithm.SHA1, content, suffix)
    async with store.upload(Algorithm.SHA1) as upload:
        await upload.write(content)
        await upload.commit(name)
    return store.root / object_path(name)


def failing(number: int) -> Callable[..., int]:
    """A system call that fails."""

    def call(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    return call


# --- the tree -----------------------------------------------------------------------------------


def test_skeleton(store: LocalStore) -> None:
    """All directories are there from the beginning, as cvmfs_server makes them."""
    made = {path.name for path in (store.root / "data").iterdir()}
    assert made == {*FAN_OUT, "txn"}


def test_an_existing_tree_is_adopted(store: LocalStore) -> None:
    """What cvmfs_server stored is there for us, and stays where it is."""
    file = store.root / object_path(NAME)
    file.write_bytes(SMALL)
    again = LocalStore(store.root)
    run(again.prepare())
    assert run(again.sound([NAME])) == {NAME}


def test_files_are_readable_for_web_servers(store: LocalStore) -> None:
    """Objects and root files may be read by everybody and written by us."""
    file = run(put(store, SMALL))
    run(store.write_root_file(MANIFEST, b"manifest"))
    for path in (file, store.root / MANIFEST):
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_lost_directory_is_made_again(store: LocalStore) -> None:
    """An object finds its place though somebody removed the directory."""
    (store.root / object_path(NAME)).parent.rmdir()
    assert run(put(store, SMALL)).read_bytes() == SMALL


def test_alternative_paths_are_relative_links(store: LocalStore) -> None:
    """As cvmfs_server makes them, so that the tree can be moved."""
    run(put(store, SMALL))
    run(store.place_alternative(NAME))
    assert (store.root / alternative_path(NAME)).readlink() == Path(object_path(NAME))


def test_small_objects_are_one_file_operation_less(store: LocalStore, temporaries: Path) -> None:
    """Only what is large is in a file before the commit."""
    for content, is_in_file in ((SMALL, False), (LARGE, True)):
        upload = store.upload(Algorithm.SHA1)
        run(upload.write(content))
        assert any(temporaries.iterdir()) == is_in_file
        run(upload.abort())


# --- what dead writers left ---------------------------------------------------------------------


def left_behind(temporaries: Path, name: str, age_s: int = 0) -> Path:
    """A file in the directory of temporaries."""
    path = temporaries / name
    path.write_bytes(b"half of someth")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_our_leftovers_are_cleared(store: LocalStore, temporaries: Path) -> None:
    """Whoever holds the lock knows that they belong to nobody, however young they are."""
    left_behind(temporaries, "cvmfs-mirror.4711.abcd.0")
    left_behind(temporaries, "cvmfs-mirror.catalog.abcd")
    (temporaries / "cvmfs-mirror.4711.abcd.1").symlink_to("data/ab/cd")
    run(store.prepare())
    assert not list(temporaries.iterdir())


@pytest.mark.parametrize(("age_s", "is_left"), [(60, True), (THREE_DAYS_S, False)])
def test_foreign_leftovers(
    store: LocalStore, temporaries: Path, age_s: int, *, is_left: bool
) -> None:
    """Those of other tools are cleared when nobody can be using them any more."""
    path = left_behind(temporaries, "tmp.Xyz123", age_s)
    run(store.prepare())
    assert path.exists() == is_left


def test_what_is_no_file_is_left(store: LocalStore, temporaries: Path) -> None:
    """A directory, or a link that leads nowhere, is not ours to judge."""
    directory, link = temporaries / "cvmfs-mirror.directory", temporaries / "link"
    directory.mkdir()
    link.symlink_to("nowhere")
    run(store.prepare())
    assert directory.is_dir()
    assert link.is_symlink()


# --- durability ---------------------------------------------------------------------------------


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were synced."""
    seen: list[Path] = []

    def noted(directory: Path) -> None:
        seen.append(directory)
        syncfs(directory)

    monkeypatch.setattr(local, "syncfs", noted)
    return seen


def test_an_object_costs_one_sync(store: LocalStore, syncs: list[Path]) -> None:
    """Its bytes are durable when its name appears."""
    run(put(store, SMALL))
    assert syncs == [store.root]


def test_a_root_file_costs_two(store: LocalStore, syncs: list[Path]) -> None:
    """Its name is durable too, before anything else happens."""
    run(store.write_root_file(MANIFEST, b"manifest"))
    assert syncs == [store.root] * 2


def test_what_may_get_lost_costs_none(store: LocalStore, syncs: list[Path]) -> None:
    """What nobody relies on after a power cut is not waited for."""
    run(store.write_root_file(MANIFEST, b"manifest", is_durable=False))
    assert syncs == []


@CONTENTS
def test_a_sync_that_fails(
    store: LocalStore, temporaries: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """What did not reach the disk does not become visible, and leaves nothing behind."""

    def sync(_directory: Path) -> None:
        raise StoreUnavailable("I/O error")

    monkeypatch.setattr(local, "syncfs", sync)
    with pytest.raises(StoreUnavailable):
        run(put(store, content))
    assert not run(store.present([ContentHash.of(Algorithm.SHA1, content)]))
    assert not list(temporaries.iterdir())


class Broken:
    """The module `os`, some of whose functions fail on files of the store.

    Attributes:
        failing: which, and with what.
    """

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}

    def __getattr__(self, name: str) -> object:
        working = getattr(os, name)
        if name not in self.failing:
            return working

        def call(*arguments: object) -> None:
            if name == "close":
                working(*arguments)  # it is closed all the same
            raise OSError(self.failing[name], os.strerror(self.failing[name]))

        return call


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    """What uploads take for the operating system."""
    broken = Broken()
    monkeypatch.setattr(local_upload, "os", broken)
    return broken


# --- for publishers -----------------------------------------------------------------------------


def test_root_files_without_a_loop(store: LocalStore, syncs: list[Path]) -> None:
    """As durable as those written with one."""
    store.prepare_now()
    assert store.read_root_file_now(MANIFEST, 100) is None
    store.write_root_file_now(MANIFEST, b"manifest")
    assert store.read_root_file_now(MANIFEST, 8) == b"manifest"
    assert syncs == [store.root] * 2
    with pytest.raises(FormatError, match="larger than 7 bytes"):
        store.read_root_file_now(MANIFEST, 7)


def test_objects_can_be_listed_and_deleted(store: LocalStore) -> None:
    """Deleting is harmless when there is nothing to delete."""
    file = run(put(store, SMALL))
    assert store.names(file.parent.name) == [file.name]
    for _ in range(2):
        store.delete_now(NAME)
    assert not store.has(NAME)
    assert store.size_bytes(NAME) == 0
    assert store.names(file.parent.name) == []


# --- errors of the operating system -------------------------------------------------------------


@CONTENTS
@pytest.mark.parametrize("call", ["open", "write", "close"])
@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EIO, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.EROFS, StoreUnavailable),
    ],
    ids=["ENOSPC", "EDQUOT", "EIO", "EMFILE", "EROFS"],
)
def test_failing_commits(
    broken: Broken, store: LocalStore, content: bytes, *, call: str, number: int, error: type
) -> None:
    """Whatever the disk says, it is told as ours, nothing is visible, and nothing is left."""
    broken.failing[call] = number
    with pytest.raises(error, match=os.strerror(number)):
        run(put(store, content))
    assert not run(store.present([ContentHash.of(Algorithm.SHA1, content)]))
    assert not list((store.root / "data" / "txn").iterdir())


@CONTENTS
def test_names_that_cannot_be_given(
    store: LocalStore, temporaries: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    """A rename that fails is told, and leaves nothing behind."""
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", failing(errno.EACCES))
        with pytest.raises(StoreUnavailable, match="give this user the right"):
            run(put(store, content))
    assert not list(temporaries.iterdir())


def test_a_write_may_take_a_part(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A nearly full disk takes some of the bytes first; then the rest must be written too."""
    write = os.write

    def some(descriptor: int, data: memoryview) -> int:
        return write(descriptor, data[:1000])

    monkeypatch.setattr(os, "write", some)
    assert run(put(store, LARGE)).read_bytes() == LARGE


@pytest.mark.parametrize("is_durable", [True, False])
def test_root_files_that_cannot_be_written(
    store: LocalStore, temporaries: Path, *, is_durable: bool
) -> None:
    """A directory in the place of one is told, with the fix, and nothing is left."""
    (store.root / MANIFEST).mkdir()
    with pytest.raises(StoreUnavailable, match="a directory where a file belongs"):
        run(store.write_root_file(MANIFEST, b"manifest", is_durable=is_durable))
    with pytest.raises(StoreUnavailable, match="a directory where a file belongs"):
        run(store.read_root_file(MANIFEST, 100))
    with pytest.raises(StoreUnavailable):
        run(store.remove_root_file(MANIFEST))
    assert not list(temporaries.iterdir())


def test_alternative_paths_that_cannot_be_placed(store: LocalStore, temporaries: Path) -> None:
    """A directory in the way is told, and nothing is left."""
    (store.root / alternative_path(NAME)).mkdir()
    with pytest.raises(StoreUnavailable):
        run(store.place_alternative(NAME))
    assert not list(temporaries.iterdir())


def test_objects_that_cannot_be_read(store: LocalStore) -> None:
    """What is no file where an object should be is told, and not taken for a missing one."""
    (store.root / object_path(NAME)).parent.rmdir()
    (store.root / object_path(NAME)).parent.write_bytes(b"")
    for read in (store.present, store.sound):
        with pytest.raises(StoreUnavailable, match="not a directory"):
            run(read([NAME]))


def test_storage_that_cannot_be_prepared(tmp_path: Path) -> None:
    """A file in the place of the tree is told before anything is fetched."""
    (tmp_path / "srv").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="not a directory"):
        run(LocalStore(tmp_path / "srv").prepare())


def test_leftovers_that_cannot_be_cleared(
    store: LocalStore, temporaries: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told too, since the disk may be read-only."""
    left_behind(temporaries, "cvmfs-mirror.4711.abcd.0")
    monkeypatch.setattr(Path, "unlink", failing(errno.EROFS))
    with pytest.raises(StoreUnavailable, match="mount it writable"):
        run(store.prepare())


@CONTENTS
def test_a_disk_that_is_really_full(tmp_path: Path, content: bytes) -> None:
    """A real file system without room: full is told, and no part of the object is there."""
    with tiny_disk(tmp_path / "disk", 64 * 1024) as disk:
        store = LocalStore(disk)
        (disk / "data" / "txn").mkdir(parents=True)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**20)
        with pytest.raises(StoreFull, match="make room"):
            run(put(store, content))
        assert not list((disk / "data" / "txn").iterdir())
        assert not run(store.present([ContentHash.of(Algorithm.SHA1, content)]))
