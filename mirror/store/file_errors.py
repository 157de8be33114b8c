"""The one door at which the operating system's errors become ours."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mirror.errors import StoreFull, StoreUnavailable

_FIXES: Final = {
    errno.EACCES: "give this user the right to read and write there",
    errno.EPERM: "give this user the right to read and write there",
    errno.EROFS: "the file system is read-only: mount it writable, or look for disk errors",
    errno.EMFILE: "raise the limit of open files (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "raise the system's limit of open files (fs.file-max)",
    errno.EIO: "the disk reports an error: see the kernel's log, then run check --full",
    errno.ENOTDIR: "something on this path is not a directory: move it away",
    errno.EISDIR: "there is a directory where a file belongs: move it away",
}
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn an OSError about ``path`` into a StoreError that says what to do.

    Raises:
        StoreFull: no space, inodes or quota left.
        StoreUnavailable: anything else.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or path
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreFull(
                f"{where}: {reason}; make room (df -h, df -i, quota) and run again: "
                "what was fetched is kept"
            ) from error
        fix = _FIXES.get(error.errno or 0)
        raise StoreUnavailable(f"{where}: {reason}" + (f"; {fix}" if fix else "")) from error
