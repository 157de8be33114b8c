from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from mirror.errors import StoreFull, StoreUnavailable
from mirror.store.syncfs import syncfs


class FailingLibc:
    """A C library whose file system cannot write."""

    def __init__(self, number: int) -> None:
        self._number = number

    def syncfs(self, _descriptor: int) -> int:
        """Fail as the system call does."""
        ctypes.set_errno(self._number)
        return -1


def test_sync(tmp_path: Path) -> None:
    """A sound file system is synced, and no descriptor is left open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    syncfs(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_to_sync(tmp_path: Path) -> None:
    """A directory that is not there is told."""
    with pytest.raises(StoreUnavailable, match="No such file"):
        syncfs(tmp_path / "absent")


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EIO, StoreUnavailable), (errno.ENOSPC, StoreFull)]
)
def test_what_did_not_reach_the_disk_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    """A sync that fails is an error, with the reason the kernel gave."""
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: FailingLibc(number))
    with pytest.raises(error, match=str(tmp_path)):
        syncfs(tmp_path)
