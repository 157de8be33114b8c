"""Stop before the disk is full, not when it is.

A full disk takes more with it than a snapshot: root files of every replica beside it, logs, and
whatever else lies there. So objects are only written as long as a reserve stays free. Root files
are not asked: they are what the reserve is for, and a whitelist that cannot be renewed would
take the replica away from its clients.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirror.errors import StoreFull
from mirror.store.file_errors import translated

_ASKED_AFTER_BYTES: Final = 4 * 1024 * 1024
_ASKED_AFTER_OBJECTS: Final = 64
"""The file system is asked again after so much was allowed, or a sixteenth of what was left: on
NFS asking is a round trip. By so much the reserve may be missed."""
_FILE_BYTES: Final = 4096
"""A file takes whole blocks."""


@dataclass(frozen=True, slots=True)
class Floor:
    """How much of a file system has to stay free; of its inodes, the same part.

    Attributes:
        share: of its size, from 0 to 1.
        most_bytes: but not more than this; None for no such bound.
    """

    share: float = 0.0
    most_bytes: int | None = None

    def of(self, size_bytes: int) -> int:
        """The bytes that have to stay free of a file system of this size."""
        share_bytes = int(size_bytes * self.share)
        return share_bytes if self.most_bytes is None else min(share_bytes, self.most_bytes)


class Reserve:
    """Watches over the file system of one directory.

    Threads may share one: at worst the file system is asked once more than needed, or a little
    later.
    """

    def __init__(
        self,
        directory: Path,
        floor: Floor,
        statvfs: Callable[[Path], os.statvfs_result] = os.statvfs,
    ) -> None:
        """Watch; ``directory`` has to be there when something is required, not before."""
        self._directory = directory
        self._floor = floor
        self._statvfs = statvfs
        self._allowed_bytes = 0
        self._allowed_objects = 0

    def require(self, size_bytes: int) -> None:
        """Let an object, or a part of one, of this size be written; blocks.

        Raises:
            StoreFull: the reserve would be touched.
            StoreUnavailable: the file system does not say.
        """
        if not self._floor.share:
            return
        size_bytes += _FILE_BYTES
        if size_bytes > self._allowed_bytes or not self._allowed_objects:
            self._measure(size_bytes)
        self._allowed_bytes -= size_bytes
        self._allowed_objects -= 1

    def _measure(self, size_bytes: int) -> None:
        with translated(self._directory):
            found = self._statvfs(self._directory)
        total_bytes = found.f_blocks * found.f_frsize
        free_bytes = found.f_bavail * found.f_frsize
        kept_bytes = self._floor.of(total_bytes)
        left_bytes = free_bytes - kept_bytes - size_bytes
        if left_bytes < 0:
            self._refuse(f"{_text(free_bytes)} free", _text(kept_bytes))
        left_files = _ASKED_AFTER_OBJECTS
        if found.f_files:  # btrfs has no fixed number of them
            kept_files = found.f_files * kept_bytes // max(total_bytes, 1)
            left_files = found.f_favail - kept_files - 1
            if left_files < 0:
                self._refuse(f"{found.f_favail} inodes free", f"{kept_files} inodes")
        self._allowed_bytes = size_bytes + min(_ASKED_AFTER_BYTES, left_bytes // 16)
        self._allowed_objects = 1 + min(_ASKED_AFTER_OBJECTS, left_files // 16)

    def _refuse(self, free: str, kept: str) -> None:
        self._allowed_bytes = 0
        raise StoreFull(
            f"{self._directory}: {free}, reserve {kept}; make room or lower [storage] reserve, and "
            "run again: what was fetched is kept"
        )


def _text(size_bytes: int) -> str:
    """In the units that the setting is written in."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
