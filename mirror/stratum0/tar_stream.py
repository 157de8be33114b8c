"""Tarballs read as a stream, and refused where ``tarfile`` would take a part for the whole.

``tarfile`` ends quietly where the next header should be and is not: half of a download would be
published, and the rest of the tree removed. Here a tarball ends with its block of zeros, and its
compression with its checksum.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Final, Self, cast

from mirror.cvmfs.limits import MIB
from mirror.errors import FormatError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_GZIP: Final = b"\x1f\x8b"
_BZIP2: Final = b"BZh"
_XZ: Final = b"\xfd7zXZ\0"
_LONGEST_MAGIC: Final = 6
_UNSOUND: Final = (
    *(tarfile.TarError, zlib.error, lzma.LZMAError),
    *(EOFError, OSError, ValueError, ArithmeticError),
)


@contextmanager
def sound(name: str) -> Iterator[None]:
    """Whatever is wrong with the tarball of this name is a `FormatError`."""
    try:
        yield
    except _UNSOUND as error:
        raise FormatError(f"{name} is not a sound tarball: {error}") from error


def members(stream: IO[bytes]) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Each member as it comes; what is in it can be read until the next is asked for.

    Raises:
        `sound` lists it: truncated or damaged.
    """
    with closing(_unpacked(stream)) as unpacked:
        with tarfile.open(
            fileobj=unpacked,
            mode="r|",
            tarinfo=_Member,
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar:
            while (member := tar.next()) is not None:
                setattr(tar, "members", [])  # noqa: B010 - else it remembers all; not in its types
                yield tar, member
        while unpacked.read(MIB):
            pass  # to where the compression has its checksum, and whoever pipes may end


class _Member(tarfile.TarInfo):
    """A member of a tarball that must be whole."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """Read the next header."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":  # the block of zeros
                raise
            raise tarfile.ReadError(f"it ends too early, or is damaged: {error}") from error


class TarContent:
    """A member's content, for whom errors of the tarball are errors of the format."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name

    def read(self, size: int = -1, /) -> bytes:
        """As a file's."""
        with sound(self._name):
            return self._file.read(size)


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were looked at."""

    def __init__(self, stream: IO[bytes]) -> None:
        # Not `read`: of a pipe it would not hear of Ctrl-C before it has all that it asked for.
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self.first = b""
        while len(self.first) < _LONGEST_MAGIC and (
            more := self._read(_LONGEST_MAGIC - len(self.first))
        ):
            self.first += more
        self._pending = self.first

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """As `io.RawIOBase.readinto`."""
        view = memoryview(buffer)
        data = self._pending[: len(view)] or self._read(len(view))
        self._pending = self._pending[len(data) :]
        view[: len(data)] = data
        return len(data)


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    rejoined = _Rejoined(stream)
    buffered = io.BufferedReader(rejoined, MIB)
    if rejoined.first.startswith(_GZIP):
        return cast("IO[bytes]", gzip.open(buffered))
    if rejoined.first.startswith(_BZIP2):
        return bz2.open(buffered)
    if rejoined.first.startswith(_XZ):
        return lzma.open(buffered)
    return buffered
