"""Catalogs and histories as SQLite files: of every schema, and spoilt on purpose (B.7, B.8).

An honest one comes from `catalog_database` or `history_database`; a hostile one is an honest one
that `altered` has run some SQL on.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.history import Tag

_NO_HASH: Final = "0" * 40
_PROPERTIES: Final = (
    "CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key))"
)

_CATALOG: Final = (
    "CREATE TABLE catalog (md5path_1 INTEGER, md5path_2 INTEGER, parent_1 INTEGER, "
    "parent_2 INTEGER, hardlinks INTEGER, hash BLOB, size INTEGER, mode INTEGER, "
    "mtime INTEGER, {mtimens}flags INTEGER, name TEXT, symlink TEXT, uid INTEGER, "
    "gid INTEGER, xattr BLOB,  CONSTRAINT pk_catalog PRIMARY KEY (md5path_1, md5path_2))"
)
_INDEX: Final = "CREATE INDEX idx_catalog_parent ON catalog (parent_1, parent_2)"
_CHUNKS: Final = (
    "CREATE TABLE chunks (md5path_1 INTEGER, md5path_2 INTEGER, offset INTEGER, size INTEGER,  "
    "hash BLOB,  CONSTRAINT pk_chunks PRIMARY KEY (md5path_1, md5path_2, offset, size),  "
    "FOREIGN KEY (md5path_1, md5path_2) REFERENCES    catalog(md5path_1, md5path_2))"
)
_NESTED: Final = (
    "CREATE TABLE nested_catalogs (path TEXT, sha1 TEXT{size}, "
    "CONSTRAINT pk_nested_catalogs PRIMARY KEY (path))"
)
_BIND_MOUNTPOINTS: Final = (
    "CREATE TABLE bind_mountpoints (path TEXT, sha1 TEXT, size INTEGER, "
    "CONSTRAINT pk_bind_mountpoints PRIMARY KEY (path))"
)
_STATISTICS: Final = (
    "CREATE TABLE statistics (counter TEXT, value INTEGER, "
    "CONSTRAINT pk_statistics PRIMARY KEY (counter))"
)
_TAGS: Final = (
    "CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, "
    "channel INTEGER, description TEXT, {size}{branch}"
    "CONSTRAINT pk_tags PRIMARY KEY (name){reference})"
)
_BRANCHES: Final = (
    "CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER, "
    "CONSTRAINT pk_branch PRIMARY KEY (branch), "
    "FOREIGN KEY (parent) REFERENCES branches (branch), "
    "CHECK ((branch <> '') OR (parent IS NULL)), "
    "CHECK ((branch = '') OR (parent IS NOT NULL)))"
)
_RECYCLE_BIN: Final = (
    "CREATE TABLE recycle_bin (hash TEXT, flags INTEGER, CONSTRAINT pk_hash PRIMARY KEY (hash))"
)


class Flag(IntFlag):
    """What an entry is."""

    DIRECTORY = 1
    NESTED_MOUNT = 2
    FILE = 4
    NESTED_ROOT = 32
    CHUNKED = 64
    EXTERNAL = 128


@dataclass(frozen=True, slots=True)
class Chunk:
    """A row of table ``chunks``."""

    offset: int
    size: int
    hash: ContentHash


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of table ``catalog``.

    Attributes:
        path: absolute; ``""`` is the repository's root.
        kind: what it is; algorithm and compression are added from the rest.
        hash: its object; None for directories and files in chunks only.
        size: unpacked.
        chunks: of a file in chunks.
        algorithm: of the hash and those of the chunks.
        is_packed: whether the stored bytes are zlib streams.
    """

    path: str
    kind: Flag
    hash: ContentHash | None = None
    size: int = 0
    chunks: tuple[Chunk, ...] = ()
    algorithm: Algorithm = Algorithm.SHA1
    is_packed: bool = True

    @property
    def flags(self) -> int:
        """The kind, bits 8 to 10 for the algorithm, bits 11 to 13 for the compression."""
        return self.kind | self.algorithm << 8 | (not self.is_packed) << 11


@dataclass(frozen=True, slots=True)
class Mount:
    """A row of ``nested_catalogs`` or ``bind_mountpoints``."""

    path: str
    hash: ContentHash
    size: int = 0


def catalog_database(
    entries: Iterable[Entry] = (),
    *,
    nested: Iterable[Mount] = (),
    bind_mountpoints: Iterable[Mount] = (),
    root_prefix: str = "",
    revision: int = 1,
    last_modified: int = 1_700_000_000,
    previous: ContentHash | None = None,
    schema: float = 2.5,
    schema_revision: int = 7,
) -> bytes:
    """A catalog as the publisher of that schema wrote it; what it had no table for is left out."""
    entries = list(entries)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for statement in _catalog_tables(schema, schema_revision):
            database.execute(statement)
        _insert(database, "properties", _catalog_properties(schema, schema_revision, root_prefix))
        _insert(
            database,
            "properties",
            [
                ("revision", str(revision)),
                ("last_modified", str(last_modified)),
                ("previous_revision", previous.text if previous else _NO_HASH),
            ],
        )
        _insert(database, "catalog", [_row(entry, schema_revision) for entry in entries])
        mounts = [(mount.path, mount.hash.text, mount.size) for mount in nested]
        _insert(database, "nested_catalogs", [m if schema_revision >= 1 else m[:2] for m in mounts])
        if schema_revision >= 4:
            binds = [(mount.path, mount.hash.text, mount.size) for mount in bind_mountpoints]
            _insert(database, "bind_mountpoints", binds)
        if schema >= 2.4:
            _insert(database, "chunks", [row for entry in entries for row in _chunk_rows(entry)])
            _insert(database, "statistics", _statistics(entries, len(mounts)))
        return database.serialize()


def history_database(fqrn: str, tags: Iterable[Tag], *, schema_revision: int = 3) -> bytes:
    """A history; revision 0 had no sizes, and those below 3 no branches."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        size = "size INTEGER, " if schema_revision >= 1 else ""
        branch = "branch TEXT, " if schema_revision >= 3 else ""
        reference = ", FOREIGN KEY (branch) REFERENCES branches (branch)" if branch else ""
        for statement in (_PROPERTIES, *((_BRANCHES, _RECYCLE_BIN) if branch else ())):
            database.execute(statement)
        database.execute(_TAGS.format(size=size, branch=branch, reference=reference))
        rows = [("schema", "1.0"), ("schema_revision", str(schema_revision)), ("fqrn", fqrn)]
        _insert(database, "properties", rows)
        tail = (0,) * bool(size) + ("",) * bool(branch)
        for tag in tags:
            head = (tag.name, tag.root_catalog.text, tag.revision, tag.timestamp, 0)
            _insert(database, "tags", [(*head, tag.description, *tail)])
        return database.serialize()


def altered(database: bytes, *statements: str) -> bytes:
    """The same database after some SQL, the schema itself included."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(database)
        connection.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            connection.execute(statement)
        return connection.serialize()


def md5_path(path: str) -> tuple[int, int]:
    """How catalogs name a path: its MD5 as two signed integers."""
    first, second = struct.unpack("<qq", hashlib.md5(path.encode()).digest())
    return first, second


def _catalog_tables(schema: float, revision: int) -> list[str]:
    mtimens = "mtimens INTEGER, " if revision >= 7 else ""
    size = ", size INTEGER" if revision >= 1 else ""
    tables = [_PROPERTIES, _CATALOG.format(mtimens=mtimens), _INDEX, _NESTED.format(size=size)]
    if schema >= 2.4:
        tables += [_CHUNKS, _STATISTICS]
    if revision >= 4:
        tables.append(_BIND_MOUNTPOINTS)
    return tables


def _catalog_properties(schema: float, revision: int, root_prefix: str) -> list[tuple[str, str]]:
    found = [("schema", str(schema)), ("schema_revision", str(revision))]
    return [*found, ("root_prefix", root_prefix)] if root_prefix else found


def _row(entry: Entry, revision: int) -> tuple[object, ...]:
    parent, _, name = entry.path.rpartition("/")
    place = (*md5_path(entry.path), *(md5_path(parent) if entry.path else (0, 0)))
    digest = entry.hash.digest if entry.hash else None
    mode = 0o40755 if entry.kind & Flag.DIRECTORY else 0o100644
    mtimens = (None,) if revision >= 7 else ()
    stat = (mode, 1_700_000_000, *mtimens)
    return (*place, 1, digest, entry.size, *stat, entry.flags, name, "", 0, 0, None)


def _chunk_rows(entry: Entry) -> list[tuple[object, ...]]:
    return [(*md5_path(entry.path), c.offset, c.size, c.hash.digest) for c in entry.chunks]


def _statistics(entries: Sequence[Entry], nested: int) -> list[tuple[str, int]]:
    files = [entry for entry in entries if entry.kind & Flag.FILE]
    counters = {
        "regular": len(files),
        "symlink": 0,
        "dir": len(entries) - len(files),
        "nested": nested,
        "chunked": sum(bool(entry.chunks) for entry in files),
        "chunked_size": sum(entry.size for entry in files if entry.chunks),
        "chunks": sum(len(entry.chunks) for entry in files),
        "file_size": sum(entry.size for entry in files),
        "xattr": 0,
        "external": sum(bool(entry.kind & Flag.EXTERNAL) for entry in files),
        "external_file_size": sum(e.size for e in files if e.kind & Flag.EXTERNAL),
        "special": 0,
    }
    of_itself = [(f"self_{name}", value) for name, value in counters.items()]
    return of_itself + [(f"subtree_{name}", 0) for name in counters]


def _insert(database: sqlite3.Connection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
