"""Let go of pages that nobody will ask for soon, so that those being served stay in memory.

What replication writes lands in the page cache, and a large snapshot would push out what clients
are reading. Only bytes that are on the disk already can be let go, so this comes after the sync.
Small objects stay: dropping one costs as much as it saves (an open of 4 µs for 8 KiB), and
catalogs and fresh small files are what clients ask for first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def drop_pages(path: Path, larger_than_bytes: int) -> None:
    """Drop a synced file's pages if it is larger than this; blocks.

    A wish, not a promise: memory that stays in use is no reason for a snapshot to fail.
    """
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(descriptor).st_size > larger_than_bytes:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
