from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.errors import Locked, StoreUnavailable
from mirror.replication.lock import LOCK_FILE, is_locked, replica_lock


def spool(tmp_path: Path) -> Path:
    """A spool directory that is not there yet."""
    return tmp_path / "spool" / "test.example.org"


@contextmanager
def held_by_cvmfs_server(directory: Path) -> Iterator[None]:
    """The lock as the reference tool takes it; it unlinks the file when it is done."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        (directory / LOCK_FILE).unlink()


def test_one_writer(tmp_path: Path) -> None:
    """While one holds it another is told what to do; afterwards it is free."""
    directory = spool(tmp_path)
    with replica_lock(directory):
        with pytest.raises(Locked, match=r"wait for it, or find it with: fuser -v \S+lock"):
            replica_lock(directory).__enter__()
        assert is_locked(directory)
    assert not is_locked(directory)
    with replica_lock(directory):
        pass


def test_an_error_lets_go(tmp_path: Path) -> None:
    """Whatever ends the work ends the lock."""
    with pytest.raises(LookupError), replica_lock(spool(tmp_path)):
        raise LookupError
    with replica_lock(spool(tmp_path)):
        pass


def test_cvmfs_server_excludes_us(tmp_path: Path) -> None:
    """Its lock is ours."""
    directory = spool(tmp_path)
    with held_by_cvmfs_server(directory):
        assert is_locked(directory)
        with pytest.raises(Locked):
            replica_lock(directory).__enter__()
    assert not is_locked(directory)
    with replica_lock(directory):
        pass


def test_we_exclude_cvmfs_server(tmp_path: Path) -> None:
    """And the other way round."""
    with (
        replica_lock(spool(tmp_path)),
        (spool(tmp_path) / LOCK_FILE).open() as file,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_we_exclude_each_other_though_the_file_is_unlinked(tmp_path: Path) -> None:
    """A tool that waited for the lock may unlink it under our hands."""
    directory = spool(tmp_path)
    with replica_lock(directory):
        (directory / LOCK_FILE).unlink()
        assert is_locked(directory)
        with pytest.raises(Locked):
            replica_lock(directory).__enter__()


@pytest.mark.parametrize("is_replaced", [False, True])
def test_unlinked_between_open_and_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_replaced: bool
) -> None:
    """A lock on a file that has lost its name is no lock: it is taken again, on the new one."""
    directory, flock, lost = spool(tmp_path), fcntl.flock, list[Path]()

    def unlinking(descriptor: int, operation: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.name == LOCK_FILE and not lost:
            lost.append(path)
            path.unlink()
            if is_replaced:
                path.touch()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", unlinking)
    with replica_lock(directory), (directory / LOCK_FILE).open() as file:
        assert lost == [directory / LOCK_FILE]
        with pytest.raises(BlockingIOError):
            flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


def open_files() -> int:
    """How many file descriptors there are."""
    return len(list(Path("/proc/self/fd").iterdir()))


def raising(error: BaseException) -> Callable[..., None]:
    """A function that fails."""

    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(37, "No locks available"), StoreUnavailable),
        (BlockingIOError(11, "busy"), Locked),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_failing_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, told: type[Exception]
) -> None:
    """However the attempt ends."""
    before = open_files()
    monkeypatch.setattr(fcntl, "flock", raising(error))
    with pytest.raises(told):
        replica_lock(spool(tmp_path)).__enter__()
    assert open_files() == before


def test_a_spool_that_cannot_be(tmp_path: Path) -> None:
    """A file in its place is told."""
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(StoreUnavailable, match="not a directory"):
        replica_lock(spool(tmp_path)).__enter__()
    with pytest.raises(StoreUnavailable, match="not a directory"):
        is_locked(spool(tmp_path))


def test_nobody_ever_locked(tmp_path: Path) -> None:
    """Where there is no file there is no lock, and looking makes none."""
    assert not is_locked(spool(tmp_path))
    assert not os.path.lexists(tmp_path / "spool")


def test_looking_leaves_no_file_open(tmp_path: Path) -> None:
    """Locked or not."""
    with replica_lock(spool(tmp_path)):
        before = open_files()
        assert is_locked(spool(tmp_path))
        assert open_files() == before
