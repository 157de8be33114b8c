"""One daemon for each storage: two would fetch everything twice and fight for locks."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mirror.errors import Locked
from mirror.store.file_errors import translated

LOCK_FILE: Final = "cvmfs-mirror.run.lock"


@contextmanager
def only_instance(spool: Path) -> Iterator[None]:
    """Be the only daemon that keeps this spool directory; ends with the process at the latest.

    Raises:
        Locked: there is another one.
        StoreUnavailable: the directory cannot be written to.
    """
    path = spool / LOCK_FILE
    with translated(path):
        spool.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _lock(descriptor, path)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"%d\n" % os.getpid())
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise Locked(
            f"{path}: another cvmfs-mirror run (process {other}) keeps these replicas; stop it, or "
            "give this one a storage.path and a storage.spool of its own"
        ) from None
