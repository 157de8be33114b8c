"""Trees → catalog files, as the reference publisher writes them (contract B.7).

Only catalogs whose rows changed are written, and those above them, since they name their children
by hash; all others keep theirs. Children are written before parents.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from mirror.cvmfs.content_hash import ContentHash
from mirror.stratum0.catalog_rows import md5_path, unpack_chunks
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

_COUNTERS: Final = (
    *("chunked", "chunked_size", "chunks", "dir", "external", "external_file_size"),
    *("file_size", "nested", "regular", "special", "symlink", "xattr"),
)
_TTL_S: Final = 240
_NO_PREDECESSOR: Final = "0" * 40
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
        yield (
            "previous_revision",
            before.hash.text if before else _NO_PREDECESSOR,
        )

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
            pieces = list(unpack_chunks(row.chunks))
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
