"""What is to be published: a stream of entries, each directory before what is in it.

DirectorySource   a directory on this host
TarSource         a tarball, read once from its beginning to its end, never unpacked to disk
SyntheticSource   made up from a seed, for tests and benchmarks (module `synthetic`)
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol

from mirror.errors import ConfigError
from mirror.stratum0.chunking import Readable
from mirror.stratum0.entry import ROOT, Attributes, pack_xattrs
from mirror.stratum0.tar_stream import TarContent, members, sound

_NANO: Final = 1_000_000_000
_XATTR_PAX: Final = "SCHILY.xattr."
_MAX_ID: Final = 2**32 - 1
_MAX_TIME: Final = 2**62
_TAR_DEVICES: Final = (tarfile.CHRTYPE, tarfile.BLKTYPE)


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One thing to publish.

    Attributes:
        path: below the source, ``b""`` for its root.
        attributes: what stat would tell.
        size_bytes: of a file's content.
        symlink: where a symbolic link points.
        xattrs: packed; None for none.
        links: the first of a file's names within its directory (hard links); None if it has but
            one there. Links across directories are separate files in CernVM-FS.
        content: opens a regular file's content, at any later time; it is sent to other processes.
        stream: or: the content, to be read before the next entry is asked for.
        link_to: or: the path of an earlier entry whose content this shares.
        is_made_up: a directory that the source does not mention; one that is there stays.
    """

    path: bytes
    attributes: Attributes
    size_bytes: int = 0
    symlink: bytes = b""
    xattrs: bytes | None = None
    links: bytes | None = None
    content: Callable[[], IO[bytes]] | None = None
    stream: Readable | None = None
    link_to: bytes | None = None
    is_made_up: bool = False


class Source(Protocol):
    """Gives its entries, parents first."""

    def entries(self) -> Iterator[SourceEntry]:
        """All of them, once.

        Raises:
            ConfigError: the source cannot be read.
            FormatError: it is malformed.
        """


class DirectorySource:
    """A directory; what changes in it meanwhile is published as found."""

    def __init__(self, root: Path) -> None:
        self._root = os.fsencode(root)

    def entries(self) -> Iterator[SourceEntry]:
        """As `Source.entries`; in the order of names."""
        try:
            yield self._entry(ROOT, os.stat(self._root))  # noqa: PTH116 - bytes path
            yield from self._below(ROOT)
        except OSError as error:
            raise ConfigError([f"{os.fsdecode(error.filename)}: {error.strerror}"]) from error

    def _below(self, directory: bytes) -> Iterator[SourceEntry]:
        with os.scandir(self._root + directory) as listing:
            names = sorted(each.name for each in listing)
        paths = [directory + b"/" + name for name in names]
        found = {path: os.lstat(self._root + path) for path in paths}
        first_names: dict[tuple[int, int], bytes] = {}
        counts = Counter(_file_id(each) for each in found.values())
        for path, status in found.items():
            links = first_names.setdefault(_file_id(status), path)
            is_linked = stat.S_ISREG(status.st_mode) and counts[_file_id(status)] > 1
            if not stat.S_ISSOCK(status.st_mode):
                yield self._entry(path, status, links if is_linked else None)
            if stat.S_ISDIR(status.st_mode):
                yield from self._below(path)

    def _entry(self, path: bytes, found: os.stat_result, links: bytes | None = None) -> SourceEntry:
        full = self._root + path
        is_link = stat.S_ISLNK(found.st_mode)
        is_file = stat.S_ISREG(found.st_mode)
        return SourceEntry(
            path=path,
            attributes=Attributes(
                found.st_mode,
                found.st_uid,
                found.st_gid,
                found.st_mtime_ns // _NANO,
                found.st_mtime_ns % _NANO,
                found.st_rdev,
            ),
            size_bytes=found.st_size if is_file else 0,
            symlink=os.readlink(full) if is_link else b"",  # noqa: PTH115 - bytes path
            xattrs=_xattrs(full),
            links=links,
            content=partial(_opened, full) if is_file else None,
        )


def _opened(path: bytes) -> IO[bytes]:
    return open(path, "rb")  # noqa: PTH123 - bytes path


def _file_id(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _xattrs(path: bytes) -> bytes | None:
    xattrs = {}
    with suppress(OSError):  # a file system without them
        for name in os.listxattr(path, follow_symlinks=False):
            with suppress(OSError):  # gone, or not for us to read
                xattrs[os.fsencode(name)] = os.getxattr(path, name, follow_symlinks=False)
    return pack_xattrs(xattrs) if xattrs else None


class TarSource:
    """A tarball of any compression that Python knows, from a file or a pipe."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        """Read ``stream``; ``name`` is for errors."""
        self._stream = stream
        self._name = name

    def entries(self) -> Iterator[SourceEntry]:
        """As `Source.entries`; directories that the tarball does not mention are made up."""
        known = {ROOT}
        yield _made_up(ROOT)
        with sound(self._name):
            for tar, member in members(self._stream):
                path = _clean_path(member.name)
                for parent in _missing_parents(path, known):
                    known.add(parent)
                    yield _made_up(parent)
                if member.isdir():
                    known.add(path)
                elif path == ROOT:
                    raise ValueError("its root is no directory")
                elif path in known:  # no directory any more, nor is what was below it
                    known = {each for each in known if not (each + b"/").startswith(path + b"/")}
                yield self._entry(tar, member, path)

    def _entry(self, tar: tarfile.TarFile, member: tarfile.TarInfo, path: bytes) -> SourceEntry:
        mtime_ns = int(Decimal(member.pax_headers.get("mtime", member.mtime)) * _NANO)
        attributes = Attributes(
            member.mode & 0o7777 | _kind(member),
            _bounded(member.uid, _MAX_ID),
            _bounded(member.gid, _MAX_ID),
            _bounded(mtime_ns // _NANO, _MAX_TIME),
            mtime_ns % _NANO if "mtime" in member.pax_headers else None,
            os.makedev(member.devmajor, member.devminor) if member.type in _TAR_DEVICES else 0,
        )
        xattrs = {
            _xattr_name(name): value.encode("utf-8", "surrogateescape")
            for name, value in member.pax_headers.items()
            if name.startswith(_XATTR_PAX)
        }
        file = tar.extractfile(member) if member.isreg() else None
        return SourceEntry(
            path=path,
            attributes=attributes,
            size_bytes=member.size if file else 0,
            symlink=member.linkname.encode("utf-8", "surrogateescape") if member.issym() else b"",
            xattrs=pack_xattrs(xattrs),
            stream=TarContent(file, self._name) if file else None,
            link_to=_clean_path(member.linkname) if member.islnk() else None,
        )


def _xattr_name(keyword: str) -> bytes:
    """GNU tar escapes what its keywords cannot hold, an equals sign, and the escape itself."""
    name = keyword.removeprefix(_XATTR_PAX).replace("%3D", "=").replace("%25", "%")
    return name.encode("utf-8", "surrogateescape")


def _made_up(path: bytes) -> SourceEntry:
    return SourceEntry(path, Attributes(stat.S_IFDIR | 0o755), is_made_up=True)


def _kind(member: tarfile.TarInfo) -> int:
    if member.isdir():
        return stat.S_IFDIR
    if member.issym():
        return stat.S_IFLNK
    if member.isfifo():
        return stat.S_IFIFO
    if member.ischr():
        return stat.S_IFCHR
    if member.isblk():
        return stat.S_IFBLK
    return stat.S_IFREG


def _bounded(value: int, largest: int) -> int:
    if abs(value) > largest:
        raise ValueError(f"a member states {value}, which is beyond {largest}")
    return value


def _clean_path(name: str) -> bytes:
    """A member's name as a path; ``./`` and slashes at the ends do not count.

    Raises:
        ValueError: it leads out of the tree, or is no name.
    """
    if "\0" in name:
        raise ValueError(f"the member {name!r} has a name that no file system allows")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"the member {name!r} leads out of the tree")
    path = "/".join(parts).encode("utf-8", "surrogateescape")
    return b"/" + path if path else ROOT


def _missing_parents(path: bytes, known: set[bytes]) -> Iterator[bytes]:
    parts = path.split(b"/")
    for length in range(2, len(parts)):
        parent = b"/".join(parts[:length])
        if parent not in known:
            yield parent
