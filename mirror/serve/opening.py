"""Opening files without waiting for the disk.

A name that the kernel has in its cache is opened in two microseconds; any other may take as long as
a disk takes to turn. Linux can be told to give up in that case (``openat2`` with
``RESOLVE_CACHED``, since 5.12); Python has no function for it, so this is its system call. Where
the kernel cannot do it everything counts as not cached, and is opened in a thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import Final

from mirror.serve.content import OpenFile

_OPENAT2: Final = 437  # on every architecture: it is younger than the common numbering
_AT_FDCWD: Final = -100
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_CACHED: Final = 0x20
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_SUCH_FILE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class WouldWait(Exception):
    """The name is not in the kernel's cache."""


class Opener:
    """Opens regular files, never a link, a pipe or a directory."""

    def __init__(self) -> None:
        """Find out what the kernel can do when the first file is opened."""
        self._how = _OpenHow(_FLAGS, 0, _RESOLVE_NO_MAGICLINKS | _RESOLVE_CACHED)
        self._size = ctypes.sizeof(self._how)
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._can = True

    def at_hand(self, path: str) -> OpenFile | None:
        """Open what can be opened without waiting; None if there is no such file.

        Raises:
            WouldWait: it takes the disk to tell.
            OSError: there may be one, but it cannot be read now.
        """
        if not self._can:
            raise WouldWait
        name = os.fsencode(path)
        descriptor = self._call(
            _OPENAT2, _AT_FDCWD, name, ctypes.byref(self._how), ctypes.c_size_t(self._size)
        )
        if descriptor >= 0:
            return _regular(descriptor)
        number = ctypes.get_errno()
        if number in _NO_SUCH_FILE:
            return None
        if number == errno.EAGAIN:
            raise WouldWait
        if number in {errno.ENOSYS, errno.EINVAL, errno.EPERM}:  # old kernel; strict sandbox
            self._can = False
            raise WouldWait
        raise OSError(number, os.strerror(number), path)

    @staticmethod
    def wait_for(path: str) -> OpenFile | None:
        """The same, taking its time.

        Raises:
            OSError: there may be one, but it cannot be read now.
        """
        try:
            return _regular(os.open(path, _FLAGS))
        except OSError as error:
            if error.errno in _NO_SUCH_FILE:
                return None
            raise


def _regular(descriptor: int) -> OpenFile | None:
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return OpenFile(descriptor, status.st_size)
    os.close(descriptor)
    return None
