"""Catalogs that are validly signed for, and are no catalogs, or lead astray."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from typing import Final

import pytest

from mirror.cvmfs.paths import object_path
from tests.support.databases import Mount, altered, catalog_database
from tests.support.siege import Siege

HONEST: Final = catalog_database()
DIGITS: Final = "ab" * 20
COLUMNS: Final = "md5path_1, md5path_2, hash, size, flags, name"
INSERT: Final = f"INSERT INTO catalog ({COLUMNS}) VALUES (1, 2, {{}}, 1, 4, 'file')"
NUMBERS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
ENDLESS: Final = f"{NUMBERS} SELECT '/' || i AS path, '{DIGITS}' AS sha1, 1 AS size FROM n"


def empty_database() -> bytes:
    """An SQLite file without any table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 1")  # else there would be no file at all
        return connection.serialize()


@pytest.mark.parametrize(
    ("database", "word"),
    [
        (b"", "not a sound SQLite file"),
        (b"#!/bin/sh\nrm -rf /\n" * 100, "not a sound SQLite file"),
        (HONEST[:1000], "not a sound SQLite file"),
        (HONEST[:100] + b"\xff" * (len(HONEST) - 100), "not a sound SQLite file"),
        (empty_database(), "no table 'catalog'"),
        (altered(HONEST, "DROP TABLE catalog"), "no table 'catalog'"),
        (altered(HONEST, "UPDATE properties SET value = '99' WHERE key = 'schema'"), "schema"),
    ],
    ids=["nothing", "script", "half", "noise", "no tables", "no catalog", "from the future"],
)
def test_no_catalog_at_all(siege: Siege, database: bytes, word: str) -> None:
    """What does not open as a catalog is refused by its name, though its hash is signed."""
    name = siege.offer_catalog(database)
    siege.assert_repelled(4, "SnapshotFailed", object_path(name), word)
    siege.assert_recovers()


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (HONEST, "not a zlib stream"),
        (b"", "cut short"),
        (zlib.compress(HONEST)[:-10], "cut short"),
        (zlib.compress(HONEST) + b"more", "behind the end of its zlib stream"),
        (zlib.compress(HONEST) * 2, "behind the end of its zlib stream"),
    ],
    ids=["unpacked", "nothing", "half", "more", "twice"],
)
def test_no_single_zlib_stream(siege: Siege, stored: bytes, word: str) -> None:
    """A catalog is one whole zlib stream with nothing behind it."""
    name = siege.offer_root(stored, len(HONEST))
    siege.assert_repelled(4, "SnapshotFailed", object_path(name), word)
    siege.assert_recovers()


@pytest.mark.parametrize(
    "path",
    [
        "/../x",
        "/a/../../etc",
        "/a/./b",
        "/a//b",
        "/a/",
        "relative",
        "",
        "/",
        "/a\0b",
        "/" + "x" * 5000,
    ],
)
def test_mount_point_trick(siege: Siege, path: str) -> None:
    """A mount point is an absolute, plain path; whatever else it says is never followed."""
    nested = siege.repository.add_catalog(HONEST)
    siege.offer_catalog(catalog_database(nested=[Mount(path, nested, len(HONEST))]))
    siege.stratum0.requests.clear()
    siege.assert_repelled(4, "SnapshotFailed", "does not lie below '/'")
    assert object_path(nested) not in siege.stratum0.paths
    siege.assert_recovers()


@pytest.mark.parametrize("path", ["/app", "/other/x", "/apple/x", "/app/../x", "/"])
def test_mount_point_outside_its_parent(siege: Siege, path: str) -> None:
    """A nested catalog lies below the one that it is nested in: not beside it, nor at its place."""
    hostile = catalog_database(
        nested=[Mount(path, siege.repository.add_catalog(HONEST), len(HONEST))], root_prefix="/app"
    )
    nested = Mount("/app", siege.repository.add_catalog(hostile), len(hostile))
    siege.offer_catalog(catalog_database(nested=[nested]))
    siege.assert_repelled(
        4, "SnapshotFailed", object_path(nested.hash), "does not lie below '/app'"
    )
    siege.assert_recovers()


@pytest.mark.parametrize("value", ["../../etc/passwd", "x'00'", "", DIGITS.upper(), DIGITS + "C"])
def test_nested_hash_trick(siege: Siege, value: str) -> None:
    """A nested catalog is named by a hash and by nothing that could become another path."""
    literal = value if value.startswith("x'") else f"'{value}'"
    row = f"INSERT INTO nested_catalogs VALUES ('/app', {literal}, 100)"
    siege.offer_catalog(altered(HONEST, row))
    siege.assert_repelled(4, "SnapshotFailed", "a nested catalog's hash")
    siege.assert_recovers()


@pytest.mark.parametrize("value", ["x'00'", "zeroblob(19)", "zeroblob(21)", "'text'", "7"])
def test_entry_hash_of_wrong_length(siege: Siege, value: str) -> None:
    """An entry's hash has 20 bytes."""
    name = siege.offer_catalog(altered(HONEST, INSERT.format(value)))
    siege.assert_repelled(4, "SnapshotFailed", object_path(name), "is not 20 bytes")
    siege.assert_recovers()


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [
        ("size", "-1", "size is -1"),
        ("size", "'many'", "whole number"),
        ("flags", "1.5", "whole number"),
        ("flags", "4 + (7 << 8)", "unknown hash algorithm 7"),
        ("hash", "zeroblob(2000000)", "sound SQLite file"),
    ],
)
def test_entry_that_is_none(siege: Siege, column: str, value: str, word: str) -> None:
    """Every number in a catalog is looked at before it is used."""
    rows = INSERT.format("zeroblob(20)"), f"UPDATE catalog SET {column} = {value}"
    siege.offer_catalog(altered(HONEST, *rows))
    siege.assert_repelled(4, "SnapshotFailed", word)
    siege.assert_recovers()


@pytest.mark.parametrize(
    "statements",
    [
        ["ALTER TABLE catalog RENAME TO c", "CREATE VIEW catalog AS SELECT * FROM c"],
        ["DROP TABLE nested_catalogs", f"CREATE VIEW nested_catalogs AS {ENDLESS}"],
        ["DROP TABLE chunks", "CREATE VIRTUAL TABLE chunks USING fts5(hash, size)"],
        ["DROP TABLE properties", "CREATE VIRTUAL TABLE properties USING rtree(key, a, b)"],
        [
            "DROP TABLE nested_catalogs",
            "CREATE TRIGGER nested_catalogs AFTER INSERT ON catalog BEGIN DELETE FROM chunks; END",
        ],
    ],
    ids=["view", "endless view", "full-text table", "r-tree", "trigger"],
)
def test_something_else_than_a_table(siege: Siege, statements: list[str]) -> None:
    """Only plain tables are read: whatever else bears their name would run the publisher's code."""
    siege.offer_catalog(altered(HONEST, *statements))
    siege.assert_repelled(4, "SnapshotFailed", "is not a plain table")
    siege.assert_recovers()


def test_computed_column(siege: Siege) -> None:
    """A table whose column computes its values is no plain one either."""
    columns = "md5path_1, md5path_2, flags, size, hash AS (zeroblob(1000000000))"
    siege.offer_catalog(altered(HONEST, "DROP TABLE catalog", f"CREATE TABLE catalog ({columns})"))
    siege.assert_repelled(4, "SnapshotFailed", "computed columns")
    siege.assert_recovers()


def test_trigger_beside_a_table_is_no_attack(siege: Siege) -> None:
    """What is never written to never fires."""
    trigger = "CREATE TRIGGER t AFTER UPDATE ON catalog BEGIN DELETE FROM catalog; END"
    siege.offer_catalog(altered(HONEST, trigger))
    siege.assert_accepted()
