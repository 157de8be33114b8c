"""Staged objects: hidden until all are named, whichever process wrote them."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.paths import TEMPORARIES, object_path
from mirror.errors import StoreFull, StoreUnavailable
from mirror.store import staging as module
from mirror.store.local import LocalStore
from mirror.store.staging import Staging
from tests.support.disks import tiny_disk
from tests.support.loops import run

CONTENT = b"hello"
NAME = ContentHash.of(Algorithm.SHA1, CONTENT)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A prepared store."""
    store = LocalStore(tmp_path / "srv")
    store.prepare_now()
    return store


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The directories that were synced."""
    seen: list[Path] = []
    monkeypatch.setattr(module, "syncfs", seen.append)
    return seen


def temporaries(store: LocalStore) -> list[str]:
    """What lies hidden."""
    return sorted(each.name for each in (store.root / TEMPORARIES).iterdir())


def elsewhere(staging: Staging) -> Staging:
    """As another process has it."""
    sent = pickle.loads(pickle.dumps(staging))
    assert isinstance(sent, Staging)
    return sent


def test_staged_objects_share_a_sync(store: LocalStore, syncs: list[Path]) -> None:
    """Nobody sees them before; then all of them are there, after one sync."""
    staging = store.staging()
    contents = [b"%d" % number for number in range(5)]
    names = [ContentHash.of(Algorithm.SHA1, content) for content in contents]
    staged = [
        elsewhere(staging).stage(name, content)
        for name, content in zip(names, contents, strict=True)
    ]
    assert not any(map(store.has, names))
    staging.reveal(each for each in staged if each is not None)
    assert syncs == [store.root]
    assert run(store.sound(names)) == set(names)
    assert [store.size_bytes(name) for name in names] == [1] * 5
    assert temporaries(store) == []


@pytest.mark.parametrize("suffix", [Suffix.NONE, Suffix.PARTIAL, Suffix.CATALOG])
def test_what_is_there_is_not_staged_again(store: LocalStore, suffix: Suffix) -> None:
    """Unless it is short, as a power cut may have left it."""
    staging, name = store.staging(), NAME.with_suffix(suffix)
    path = store.root / object_path(name)
    path.write_bytes(CONTENT)
    assert staging.stage(name, CONTENT) is None
    path.write_bytes(CONTENT[:-1])
    staged = staging.stage(name, CONTENT)
    assert staged is not None
    staging.reveal([staged])
    assert path.read_bytes() == CONTENT


def test_an_empty_object_is_one(store: LocalStore) -> None:
    """Where contents are not compressed."""
    staging, name = store.staging(), ContentHash.of(Algorithm.SHA1, b"")
    staged = staging.stage(name, b"")
    assert staged is not None
    staging.reveal([staged])
    assert store.has(name)
    assert staging.stage(name, b"") is None


def test_staged_objects_stay_hidden_without_a_sync(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And can be discarded."""

    def fail(_directory: Path) -> None:
        raise StoreUnavailable("I/O error")

    staging = store.staging()
    staged = staging.stage(NAME, CONTENT)
    assert staged is not None
    monkeypatch.setattr(module, "syncfs", fail)
    with pytest.raises(StoreUnavailable):
        staging.reveal([staged])
    assert not store.has(NAME)
    staging.discard(staged)
    assert temporaries(store) == []


def test_a_sweep_takes_what_any_process_staged_and_nothing_else(store: LocalStore) -> None:
    """Other publications and other tools have temporaries there too."""
    mine, other = store.staging(), store.staging()
    kept = other.stage(NAME, CONTENT)
    (store.root / TEMPORARIES / "foreign").touch()
    assert mine.stage(NAME, CONTENT)
    assert elsewhere(mine).stage(NAME.with_suffix(Suffix.PARTIAL), CONTENT)
    mine.sweep()
    assert kept is not None
    assert temporaries(store) == sorted([Path(kept.temporary).name, "foreign"])


def test_a_sweep_is_never_the_error(store: LocalStore) -> None:
    """It follows one that matters more."""
    (store.root / TEMPORARIES).rmdir()
    store.staging().sweep()


def test_what_a_crash_leaves_is_cleared_by_the_next_prepare(store: LocalStore) -> None:
    """By its name."""
    store.staging().stage(NAME, CONTENT)
    store.prepare_now()
    assert temporaries(store) == []


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """A real one."""
    with tiny_disk(tmp_path / "disk", 1024 * 1024) as disk:
        store = LocalStore(disk)
        store.prepare_now()
        with pytest.raises(StoreFull, match="make room"):
            store.staging().stage(NAME, bytes(2 * 1024 * 1024))
        assert temporaries(store) == []


@pytest.mark.parametrize("call", ["replace", "unlink"])
def test_errors_of_the_operating_system_are_told_as_ours(
    store: LocalStore, syncs: list[Path], monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """With what to do."""

    def fail(*_: object) -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    staging = store.staging()
    staged = staging.stage(NAME, CONTENT)
    assert staged is not None
    monkeypatch.setattr(os, call, fail)
    use: Callable[[], None] = partial(staging.discard, staged)
    if call == "replace":
        use = partial(staging.reveal, [staged])
    with pytest.raises(StoreUnavailable, match="give this user the right"):
        use()
