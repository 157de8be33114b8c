"""Files of others: regular, not too large, text; anything else is said, not read."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

_MAX_BYTES: Final = 256 * 1024
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Unreadable(Exception):
    """A file that is not what it should be; the text says which, and what to do."""


def read_text(path: Path) -> str:
    """The whole file; no link is followed, so that nothing is shown that nobody asked for.

    Raises:
        Unreadable: it is missing, a link, no regular file, too large, or not text.
    """
    try:
        if path.is_symlink():
            raise Unreadable(f"{path}: a link, which is not followed; put the file itself there")
        content = _read(path)
    except OSError as error:
        raise Unreadable(f"{path}: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise Unreadable(f"{path}: larger than {_MAX_BYTES // 1024} KiB, so it is no such file")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path}: not UTF-8 text") from error


def _read(path: Path) -> bytes:
    descriptor = os.open(path, _FLAGS)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{path}: no regular file; move it away")
        return file.read(_MAX_BYTES + 1)
