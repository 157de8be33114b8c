"""Published catalogs read back as rows, and the small forms that reading and writing share."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mirror.cvmfs.content_hash import DIGEST_BYTES, Algorithm, ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, integer
from mirror.errors import FormatError
from mirror.stratum0.entry import DIRECTORY, NESTED_MOUNT, NESTED_ROOT, ROOT
from mirror.stratum0.tree import Row

_TABLES: Final = frozenset(
    {"catalog", "chunks", "nested_catalogs", "bind_mountpoints", "statistics", "properties"}
)
_REQUIRED: Final = _TABLES - {"bind_mountpoints", "properties"}
_TWO_NUMBERS: Final = struct.Struct("<qq")
_CHUNK_BYTES: Final = 16 + DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class CatalogContent:
    """A published catalog, read back.

    Attributes:
        rows: its entries, nested mount points among them, its own root only if it is the root's.
        nested: mount point → hash of what is nested.
        revision: how often it was written.
        own: statistics counters.
        subtree: likewise.
    """

    rows: list[Row]
    nested: dict[bytes, ContentHash]
    revision: int
    own: dict[str, int]
    subtree: dict[str, int]


def read_catalog(content: bytes, mount: bytes, what: str) -> CatalogContent:
    """A published catalog's entries; blocks.

    Raises:
        FormatError: it is none, or holds what this publisher cannot keep.
    """
    with HostileDatabase(content, what, wants=_TABLES) as database:
        if missing := _REQUIRED - database.columns.keys():
            raise FormatError(
                f"{what} has no table {min(missing)}: it is no catalog, or one older than schema "
                "2.4, which cvmfs_server migrate renews"
            )
        bound = "bind_mountpoints" in database.columns
        if bound and list(database.rows("SELECT path FROM bind_mountpoints LIMIT 1")):
            raise FormatError(f"{what} has bind mount points, which this publisher does not keep")
        nested = {
            _bytes(path): ContentHash.parse(_bytes(name).decode("ascii", "replace"), Suffix.CATALOG)
            for path, name in list(database.rows("SELECT path, sha1 FROM nested_catalogs"))
        }
        counters = {
            _bytes(name).decode("ascii", "replace"): integer(value, what)
            for name, value in list(database.rows("SELECT counter, value FROM statistics"))
        }
        revision = database.properties().get("revision", "0")
        if not (revision.isascii() and revision.isdecimal()):
            raise FormatError(f"{what} has the revision {revision!r:.40}, which is no number")
        return CatalogContent(
            rows=list(_rows(database, mount)),
            nested=nested,
            revision=int(revision),
            own=_with_prefix(counters, "self_"),
            subtree=_with_prefix(counters, "subtree_"),
        )


def _rows(database: HostileDatabase, mount: bytes) -> Iterator[Row]:
    chunks: dict[tuple[object, object], bytes] = {}
    for first, second, offset, size, digest in list(
        database.rows("SELECT md5path_1, md5path_2, offset, size, hash FROM chunks ORDER BY offset")
    ):
        piece = _pack_chunk(integer(offset, "offset"), integer(size, "size"), _bytes(digest))
        chunks[first, second] = chunks.get((first, second), b"") + piece
    children: dict[tuple[object, object], list[tuple[object, ...]]] = {}
    mtimens = "mtimens" if "mtimens" in database.columns["catalog"] else "NULL"
    top: tuple[object, ...] | None = None
    for row in database.rows(
        "SELECT md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime,"  # noqa: S608 - a literal
        f" {mtimens}, flags, name, symlink, uid, gid, xattr FROM catalog"
    ):
        if (row[0], row[1]) == md5_path(mount):
            top = row
        else:
            children.setdefault((row[2], row[3]), []).append(row)
    if top is None:
        raise FormatError(f"{database.what} has no entry for its own mount point")
    if mount == ROOT:
        yield _row(top, mount, None, b"")
    directories = [mount]
    while directories:
        directory = directories.pop()
        inside = children.get(md5_path(directory), [])
        paths = [(directory + b"/" + _bytes(row[11]), row) for row in inside]
        firsts: dict[int, bytes] = {}
        for path, row in sorted(paths):
            group = integer(row[4], "hardlinks") >> 32
            links = firsts.setdefault(group, path) if group else None
            yield _row(row, path, links, chunks.get((row[0], row[1]), b""))
            if integer(row[10], "flags") & DIRECTORY:
                directories.append(path)


def _row(row: tuple[object, ...], path: bytes, links: bytes | None, chunks: bytes) -> Row:
    digest, xattr = row[5], row[15]
    return Row(
        path=path,
        flags=integer(row[10], "flags") & ~(NESTED_MOUNT | NESTED_ROOT),
        hash=_bytes(digest) if digest else None,
        size=integer(row[6], "size"),
        mode=integer(row[7], "mode"),
        mtime=integer(row[8], "mtime"),
        mtimens=None if row[9] is None else integer(row[9], "mtimens"),
        symlink=_bytes(row[12]) if row[12] is not None else b"",
        uid=integer(row[13], "uid"),
        gid=integer(row[14], "gid"),
        xattr=_bytes(xattr) if xattr else None,
        chunks=chunks,
        links=links,
    )


def _with_prefix(counters: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): value
        for name, value in counters.items()
        if name.startswith(prefix)
    }


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    raise FormatError(f"a published catalog has {value!r:.40} where bytes are due")


def md5_path(path: bytes) -> tuple[int, int]:
    """A path as catalogs key it: MD5 as two signed little-endian numbers."""
    first, second = _TWO_NUMBERS.unpack(hashlib.md5(path, usedforsecurity=False).digest())
    return first, second


def pack_chunks(chunks: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Offset, size and digest of each piece, as `Row.chunks` keeps them."""
    return b"".join(_pack_chunk(*chunk) for chunk in chunks)


def _pack_chunk(offset: int, size_bytes: int, digest: bytes) -> bytes:
    return offset.to_bytes(8, "big") + size_bytes.to_bytes(8, "big") + digest


def unpack_chunks(packed: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The inverse of `pack_chunks`."""
    for start in range(0, len(packed), _CHUNK_BYTES):
        piece = packed[start : start + _CHUNK_BYTES]
        yield int.from_bytes(piece[:8], "big"), int.from_bytes(piece[8:16], "big"), piece[16:]


def row_algorithm(row: Row) -> Algorithm:
    """Which hash names a row's objects."""
    return Algorithm(row.flags >> 8 & 7)
