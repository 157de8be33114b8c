"""Entries as rows of the tree."""

from __future__ import annotations

from mirror.stratum0.catalog_rows import pack_chunks
from mirror.stratum0.entry import DIRECTORY, ROOT, Stored, kind_flags
from mirror.stratum0.source import SourceEntry
from mirror.stratum0.tree import Row

_DIRECTORY_BYTES = 4096
_DIRECTORY_MODE = 0o40755


def entry_row(base: bytes, entry: SourceEntry, stored: Stored | None) -> Row:
    """An entry below ``base``, with what its content became."""
    attributes = entry.attributes
    if attributes.is_directory:
        size = _DIRECTORY_BYTES
    elif attributes.is_symlink:
        size = len(entry.symlink)
    else:
        size = stored.size_bytes if stored else attributes.rdev
    return Row(
        path=base + entry.path,
        flags=kind_flags(attributes) | (stored.flags if stored else 0),
        hash=stored.hash.digest if stored and stored.hash else None,
        size=size,
        mode=attributes.mode,
        mtime=attributes.mtime,
        mtimens=attributes.mtime_ns,
        symlink=entry.symlink,
        uid=attributes.uid,
        gid=attributes.gid,
        xattr=entry.xattrs,
        chunks=pack_chunks(
            (piece.offset, piece.size_bytes, piece.hash.digest)
            for piece in (stored.chunks if stored else ())
        ),
        links=None if entry.links is None else base + entry.links,
    )


def bare_directory(path: bytes = ROOT, mtime: int = 0) -> Row:
    """A directory of which no source tells anything."""
    return Row(
        path=path,
        flags=DIRECTORY,
        hash=None,
        size=_DIRECTORY_BYTES,
        mode=_DIRECTORY_MODE,
        mtime=mtime,
        mtimens=None,
        symlink=b"",
        uid=0,
        gid=0,
        xattr=None,
        chunks=b"",
        links=None,
    )
