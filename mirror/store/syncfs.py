"""The system call syncfs(2), which Python's standard library lacks."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from mirror.store.file_errors import translated


def syncfs(directory: Path) -> None:
    """Write everything of the file system that holds ``directory`` to its disk; blocks.

    Raises:
        StoreFull, StoreUnavailable: something written before did not reach the disk.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with translated(directory):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if libc.syncfs(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(directory))
        finally:
            os.close(descriptor)
