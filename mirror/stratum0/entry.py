"""One entry of a repository: a file, directory, link or special file.

Paths are bytes, since names in a file system need not be text: ``b""`` is the root, all others
begin with a slash and have none at the end.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mirror.cvmfs.content_hash import Algorithm, ContentHash

ROOT: Final = b""
CATALOG_MARKER: Final = b".cvmfscatalog"
DIRTAB: Final = b"/.cvmfsdirtab"

DIRECTORY: Final = 1
NESTED_MOUNT: Final = 2
FILE: Final = 4
SYMLINK: Final = 8
SPECIAL: Final = 16
NESTED_ROOT: Final = 32
CHUNKED: Final = 64
_ALGORITHM_SHIFT: Final = 8
_COMPRESSION_SHIFT: Final = 11

_MAX_XATTRS: Final = 255
_MAX_XATTR_BYTES: Final = 255


@dataclass(frozen=True, slots=True)
class Attributes:
    """What ``stat`` tells.

    Attributes:
        mode: kind and permissions.
        uid: owner.
        gid: group.
        mtime: Unix time, whole seconds.
        mtime_ns: what is behind the point; None if not known.
        rdev: of device files.
    """

    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    mtime_ns: int | None = None
    rdev: int = 0

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.mode)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a large file."""

    offset: int
    size_bytes: int
    hash: ContentHash


@dataclass(frozen=True, slots=True)
class Stored:
    """A file's content, as objects.

    Attributes:
        size_bytes: unpacked.
        hash: the one object; None if it is in chunks.
        chunks: the pieces, in order; at least two, or none.
        is_packed: whether the objects are zlib streams.
        algorithm: of all their hashes.
    """

    size_bytes: int
    hash: ContentHash | None
    chunks: tuple[Chunk, ...]
    is_packed: bool
    algorithm: Algorithm

    @property
    def flags(self) -> int:
        """The bits that tell algorithm, compression and chunks."""
        return (
            (CHUNKED if self.chunks else 0)
            | self.algorithm << _ALGORITHM_SHIFT
            | (0 if self.is_packed else 1) << _COMPRESSION_SHIFT
        )


def kind_flags(attributes: Attributes) -> int:
    """The bits that tell the kind."""
    if attributes.is_directory:
        return DIRECTORY
    if attributes.is_symlink:
        return FILE | SYMLINK
    return FILE if attributes.is_file else FILE | SPECIAL


def parent_of(path: bytes) -> bytes:
    """The directory that holds ``path``."""
    return path.rpartition(b"/")[0]


def name_of(path: bytes) -> bytes:
    """The last component."""
    return path.rpartition(b"/")[2]


def pack_xattrs(xattrs: Mapping[bytes, bytes]) -> bytes | None:
    """Extended attributes as catalogs hold them: version, count, then lengths, name and value each.

    What does not fit the format (255 of them, names and values of 255 bytes) is left out, as the
    reference leaves it out; None for none.
    """
    fitting = [
        (name, value)
        for name, value in sorted(xattrs.items())
        if 0 < len(name) <= _MAX_XATTR_BYTES and len(value) <= _MAX_XATTR_BYTES
    ][:_MAX_XATTRS]
    if not fitting:
        return None
    body = b"".join(bytes([len(name), len(value)]) + name + value for name, value in fitting)
    return bytes([1, len(fitting)]) + body
