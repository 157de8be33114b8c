"""One writer per replica, cvmfs_server included (contract A.2, locks).

cvmfs_server takes ``flock`` on ``<spool>/is_updating.lock``, and so do we. It also *unlinks* that
file when it is done, which lets two processes hold "the" lock on two files at once (cvmfs #3574).
We never unlink, and after locking we look whether the file we locked still is the one of that name.

Whoever of them waited for a file that was unlinked unlinks ours in the end, while we hold it.
Against cvmfs_server nothing helps then. That two of *us* exclude each other even so is what a
second lock is for, of which it does not know.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from mirror.errors import Locked
from mirror.store.file_errors import translated

LOCK_FILE: Final = "is_updating.lock"
_OURS_ALONE: Final = "cvmfs-mirror.lock"
_LOOKS: Final = 4
_BETWEEN_LOOKS_S: Final = 0.02


@contextmanager
def replica_lock(spool: Path) -> Iterator[None]:
    """Hold the lock of the replica whose spool directory this is.

    Raises:
        Locked: somebody else holds it.
        StoreUnavailable: the spool directory cannot be written to.
    """
    with translated(spool):
        spool.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for name in (_OURS_ALONE, LOCK_FILE):
            held.callback(os.close, _acquire(spool / name))
        yield


def is_locked(spool: Path) -> bool:
    """Whether somebody is writing to the replica right now.

    Raises:
        StoreUnavailable: the spool directory cannot be read.
    """
    return any(_is_held(spool / name) for name in (_OURS_ALONE, LOCK_FILE))


def _is_held(path: Path) -> bool:
    with translated(path):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _acquire(path: Path) -> int:
    while True:
        with translated(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                _lock(descriptor)
                if _is_same_file(descriptor, path):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise Locked(
                    f"{path}: another snapshot, garbage collection or cvmfs_server is at work on "
                    "this replica; wait for it, or find it with: fuser -v " + str(path)
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # unlinked by cvmfs_server between our open and our lock


def _lock(descriptor: int) -> None:
    """Lock, or raise BlockingIOError; `is_locked` may hold it for an instant, so not at once."""
    for _ in range(_LOOKS - 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_LOOKS_S)
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
