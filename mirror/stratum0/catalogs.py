"""Trees ↔ catalog files, as the reference publisher writes them (contract B.7).

Only catalogs whose rows changed are written, and those above them, since they name their children
by hash; all others keep theirs. Children are written before parents.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from mirror.cvmfs.content_hash import DIGEST_BYTES, Algorithm, ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, integer
from mirror.errors import FormatError
from mirror.stratum0.entry import (
    CHUNKED,
    DIRECTORY,
    FILE,
    NESTED_MOUNT,
    NESTED_ROOT,
    ROOT,
    SPECIAL,
    SYMLINK,
    name_of,
    parent_of,
)
from mirror.stratum0.nesting import owner
from mirror.stratum0.tree import Row, Tree

_TABLES: Final = frozenset(
    {"catalog", "chunks", "nested_catalogs", "bind_mountpoints", "statistics", "properties"}
)
_COUNTERS: Final = (
    *("chunked", "chunked_size", "chunks", "dir", "external", "external_file_size"),
    *("file_size", "nested", "regular", "special", "symlink", "xattr"),
)
_TTL_S: Final = 240
_NO_PREDECESSOR: Final = "0" * 40
_CHUNK_BYTES: Final = 16 + DIGEST_BYTES
_EXTERNAL: Final = 128

_SCHEMA: Final = """
CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, parent_2 INTEGER,
    hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, mtime INTEGER, mtimens INTEGER,
    flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, gid INTEGER, xattr BLOB,
    CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2));
CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2);
CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER, hash BLOB,
    CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),
    FOREIGN KEY (md5path_1, md5path_2) REFERENCES catalog (md5path_1, md5path_2));
CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT, size INTEGER,
    CONSTRAINT pk_nested_catalogs PRIMARY KEY (path));
CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER,
    CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path));
CREATE TABLE statistics (counter TEXT, value INTEGER,
    CONSTRAINT pk_statistics PRIMARY KEY (counter));
"""

Store = Callable[[bytes], ContentHash]
"""Keeps an unpacked catalog and gives its name."""


@dataclass(frozen=True, slots=True)
class PublishedCatalog:
    """A catalog as it is published.

    Attributes:
        hash: its name.
        size_bytes: unpacked.
        revision: how often the catalog of this mount point was written.
        own: its statistics counters without nested ones.
        subtree: the sum over everything nested in it.
        nested: the mount points right below.
    """

    hash: ContentHash
    size_bytes: int
    revision: int
    own: Mapping[str, int]
    subtree: Mapping[str, int]
    nested: tuple[bytes, ...] = ()

    @property
    def total(self) -> Counter[str]:
        """Counters of it and everything below."""
        return Counter(self.own) + Counter(self.subtree)


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


# --- writing --------------------------------------------------------------------------------------


@dataclass(slots=True)
class CatalogWriter:
    """Writes the catalogs of a tree.

    Attributes:
        tree: the entries.
        before: what is published, by mount point.
        now: Unix time.
        store: keeps a catalog.
        written: how many were.
    """

    tree: Tree
    before: Mapping[bytes, PublishedCatalog]
    now: int
    store: Store
    written: int = field(default=0)

    def write(self, mounts: frozenset[bytes]) -> dict[bytes, PublishedCatalog]:
        """Write what changed, children before parents; every catalog by its mount point."""
        children: dict[bytes, list[bytes]] = {mount: [] for mount in mounts}
        for mount in sorted(mounts - {ROOT}):
            children[owner(parent_of(mount), mounts)].append(mount)
        stale = self._stale(mounts)
        published: dict[bytes, PublishedCatalog] = {}
        for mount in sorted(mounts, key=lambda path: path.count(b"/"), reverse=True):
            if mount in stale:
                nested = {child: published[child] for child in children[mount]}
                published[mount] = self._write(mount, nested)
                self.written += 1
            else:
                published[mount] = self.before[mount]
        return published

    def _stale(self, mounts: frozenset[bytes]) -> set[bytes]:
        """Mount points whose catalogs must be written: they, or one below, have other rows."""
        moved = mounts ^ self.before.keys()
        touched = {owner(path, mounts) for path in self.tree.changed_directories()}
        touched |= {mount for mount in moved if mount in mounts}
        touched |= {owner(parent_of(mount), mounts) for mount in moved}
        stale: set[bytes] = set()
        for mount in touched:
            current = mount
            while current not in stale:
                stale.add(current)
                current = owner(parent_of(current), mounts)
        return stale

    def _write(self, mount: bytes, nested: Mapping[bytes, PublishedCatalog]) -> PublishedCatalog:
        before = self.before.get(mount)
        revision = before.revision + 1 if before else 1
        own: Counter[str] = Counter(nested=len(nested))
        subtree: Counter[str] = sum((each.total for each in nested.values()), Counter())
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            database.execute("BEGIN")
            rows = list(self.tree.catalog_rows(mount, nested))
            self._insert_rows(database, mount, rows, nested.keys(), own)
            database.executemany(
                "INSERT INTO nested_catalogs VALUES (CAST(? AS TEXT), ?, ?)",
                ((path, each.hash.text, each.size_bytes) for path, each in nested.items()),
            )
            counters = [
                *((f"self_{name}", own[name]) for name in _COUNTERS),
                *((f"subtree_{name}", subtree[name]) for name in _COUNTERS),
            ]
            database.executemany("INSERT INTO statistics VALUES (?, ?)", counters)
            database.executemany(
                "INSERT INTO properties VALUES (?, CAST(? AS TEXT))",
                self._properties(mount, revision, before),
            )
            database.execute("COMMIT")
            content = database.serialize()
        name = self.store(content)
        return PublishedCatalog(name, len(content), revision, own, subtree, tuple(nested))

    def _properties(
        self, mount: bytes, revision: int, before: PublishedCatalog | None
    ) -> Iterator[tuple[str, bytes | str]]:
        yield "schema", "2.5"
        yield "schema_revision", "7"
        yield ("TTL", str(_TTL_S)) if mount == ROOT else ("root_prefix", mount)
        yield "last_modified", str(self.now)
        yield "revision", str(revision)
        yield "previous_revision", before.hash.text if before else _NO_PREDECESSOR

    def _insert_rows(
        self,
        database: sqlite3.Connection,
        mount: bytes,
        rows: Iterable[Row],
        nested: Iterable[bytes],
        own: Counter[str],
    ) -> None:
        nested = frozenset(nested)
        links = Counter(row.links for row in rows if row.links is not None)
        groups = {name: number for number, name in enumerate(sorted(links), start=1)}
        subdirectories = Counter(
            parent_of(row.path) for row in rows if row.flags & DIRECTORY and row.path != mount
        )
        for row in rows:
            if row.flags & DIRECTORY:
                is_whole = row.path not in nested
                below = subdirectories[row.path] if is_whole else self.tree.subdirectories(row.path)
                hardlinks = 2 + below
            elif row.links is not None and links[row.links] > 1:
                hardlinks = groups[row.links] << 32 | links[row.links]
            else:
                hardlinks = 1
            nesting = NESTED_MOUNT if row.path in nested else 0
            if row.path == mount != ROOT:
                nesting = NESTED_ROOT
            path = md5_path(row.path)
            parent = md5_path(parent_of(row.path)) if row.path != ROOT else (0, 0)
            database.execute(
                "INSERT INTO catalog VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), "
                "CAST(? AS TEXT), ?, ?, ?)",
                (
                    *(*path, *parent, hardlinks, row.hash, row.size, row.mode, row.mtime),
                    *(row.mtimens, row.flags | nesting, name_of(row.path), row.symlink),
                    *(row.uid, row.gid, row.xattr),
                ),
            )
            pieces = list(_chunks(row.chunks))
            database.executemany(
                "INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", ((*path, *piece) for piece in pieces)
            )
            _count(row, len(pieces), own)


def _count(row: Row, chunks: int, own: Counter[str]) -> None:
    own["xattr"] += row.xattr is not None
    if row.flags & DIRECTORY:
        own["dir"] += 1
    elif row.flags & SYMLINK:
        own["symlink"] += 1
    elif row.flags & SPECIAL:
        own["special"] += 1
    elif row.flags & FILE:
        own["regular"] += 1
        own["file_size"] += row.size
        if row.flags & CHUNKED:
            own["chunked"] += 1
            own["chunked_size"] += row.size
            own["chunks"] += chunks
        if row.flags & _EXTERNAL:
            own["external"] += 1
            own["external_file_size"] += row.size


# --- reading --------------------------------------------------------------------------------------


def read_catalog(content: bytes, mount: bytes, what: str) -> CatalogContent:
    """A published catalog's entries; blocks.

    Raises:
        FormatError: it is none, or holds what this publisher cannot keep.
    """
    with HostileDatabase(content, what, wants=_TABLES) as database:
        bound = database.rows("SELECT path FROM bind_mountpoints LIMIT 1")
        if "bind_mountpoints" in database.columns and next(bound, None) is not None:
            raise FormatError(f"{what} has bind mount points, which this publisher does not keep")
        nested = {
            _bytes(path): ContentHash.parse(_bytes(name).decode("ascii", "replace"), Suffix.CATALOG)
            for path, name in database.rows("SELECT path, sha1 FROM nested_catalogs")
        }
        counters = {
            _bytes(name).decode("ascii", "replace"): integer(value, what)
            for name, value in database.rows("SELECT counter, value FROM statistics")
        }
        properties = database.properties()
        return CatalogContent(
            rows=list(_rows(database, mount)),
            nested=nested,
            revision=int(properties.get("revision", "0")),
            own=_with_prefix(counters, "self_"),
            subtree=_with_prefix(counters, "subtree_"),
        )


def _rows(database: HostileDatabase, mount: bytes) -> Iterator[Row]:
    chunks: dict[tuple[object, object], bytes] = {}
    for first, second, offset, size, digest in database.rows(
        "SELECT md5path_1, md5path_2, offset, size, hash FROM chunks ORDER BY offset"
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


# --- the small forms ------------------------------------------------------------------------------


def md5_path(path: bytes) -> tuple[int, int]:
    """A path as catalogs key it: MD5 as two signed little-endian numbers."""
    digest = hashlib.md5(path, usedforsecurity=False).digest()
    return (
        int.from_bytes(digest[:8], "little", signed=True),
        int.from_bytes(digest[8:], "little", signed=True),
    )


def pack_chunks(chunks: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Offset, size and digest of each piece, as `Row.chunks` keeps them."""
    return b"".join(_pack_chunk(*chunk) for chunk in chunks)


def _pack_chunk(offset: int, size_bytes: int, digest: bytes) -> bytes:
    return offset.to_bytes(8, "big") + size_bytes.to_bytes(8, "big") + digest


def _chunks(packed: bytes) -> Iterator[tuple[int, int, bytes]]:
    for start in range(0, len(packed), _CHUNK_BYTES):
        piece = packed[start : start + _CHUNK_BYTES]
        yield int.from_bytes(piece[:8], "big"), int.from_bytes(piece[8:16], "big"), piece[16:]


def row_algorithm(row: Row) -> Algorithm:
    """Which hash names a row's objects."""
    return Algorithm(row.flags >> 8 & 7)
