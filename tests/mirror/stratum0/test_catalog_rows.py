"""Catalogs of every age read back, and those that this publisher cannot keep refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.errors import FormatError
from mirror.stratum0.catalog_rows import pack_chunks, read_catalog, row_algorithm, unpack_chunks
from tests.support.databases import Entry, Flag, Mount, altered, catalog_database

HASH = ContentHash.of(Algorithm.SHAKE128, b"x")
NESTED = Mount("/n", ContentHash.of(Algorithm.SHAKE128, b"n", Suffix.CATALOG), 9)
ENTRIES = [
    Entry("", Flag.DIRECTORY),
    Entry("/a", Flag.FILE, HASH, 3, algorithm=Algorithm.SHAKE128),
    Entry("/n", Flag.DIRECTORY | Flag.NESTED_MOUNT),
]


@pytest.mark.parametrize(
    ("schema", "revision"), [(2.5, 7), (2.5, 6), (2.5, 3), (2.5, 1), (2.5, 0), (2.4, 0)]
)
def test_old_catalogs_are_continued(schema: float, revision: int) -> None:
    """What an age had no table or column for is not known, or none."""
    database = catalog_database(ENTRIES, nested=[NESTED], schema=schema, schema_revision=revision)
    found = read_catalog(database, b"", "x")
    assert [row.path for row in found.rows] == [b"", b"/a", b"/n"]
    assert {row.mtimens for row in found.rows} == {None}
    assert found.nested == {b"/n": NESTED.hash}
    assert found.revision == 1


def test_the_oldest_catalogs_must_be_renewed() -> None:
    """Without counters those above them cannot be counted."""
    with pytest.raises(FormatError, match="cvmfs_server migrate"):
        read_catalog(catalog_database(ENTRIES, schema=2.0, schema_revision=0), b"", "x")


def test_what_a_row_says_is_kept() -> None:
    """Hash, size, algorithm; nothing about nesting, which is decided anew."""
    rows = {row.path: row for row in read_catalog(catalog_database(ENTRIES), b"", "x").rows}
    assert (rows[b"/a"].hash, rows[b"/a"].size) == (HASH.digest, 3)
    assert row_algorithm(rows[b"/a"]) == Algorithm.SHAKE128
    assert rows[b"/n"].flags == Flag.DIRECTORY


def test_a_nested_catalogs_own_root_stands_in_its_parent() -> None:
    """So it is read there, and not twice."""
    database = catalog_database([Entry("/n", Flag.DIRECTORY | Flag.NESTED_ROOT), *ENTRIES[1:2]])
    with_root = altered(database, "UPDATE catalog SET name = 'n' WHERE flags & 32")
    assert read_catalog(with_root, b"/n", "x").rows == []


def test_bind_mount_points_are_refused() -> None:
    """This publisher would lose them."""
    database = catalog_database(ENTRIES, bind_mountpoints=[NESTED])
    with pytest.raises(FormatError, match="bind mount points, which this publisher does not keep"):
        read_catalog(database, b"", "x")


def test_a_catalog_of_another_place_is_refused() -> None:
    """It has no entry for its own mount point."""
    with pytest.raises(FormatError, match="no entry for its own mount point"):
        read_catalog(catalog_database(ENTRIES[1:]), b"/elsewhere", "x")


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE catalog SET size = 'x'",
        "UPDATE nested_catalogs SET sha1 = 'x'",
        "UPDATE statistics SET value = 'x'",
        "UPDATE properties SET value = 'x' WHERE key = 'revision'",
        "DROP TABLE catalog",
    ],
)
def test_spoilt_catalogs_are_refused(spoil: str) -> None:
    """Rather than published on."""
    database = altered(catalog_database(ENTRIES, nested=[NESTED]), spoil)
    with pytest.raises(FormatError):
        read_catalog(database, b"", "x")


@given(
    st.lists(
        st.tuples(st.integers(0, 2**63), st.integers(0, 2**63), st.binary(min_size=20, max_size=20))
    )
)
def test_chunks_come_back(chunks: list[tuple[int, int, bytes]]) -> None:
    """Offset, size and digest of each, in their order."""
    assert list(unpack_chunks(pack_chunks(chunks))) == chunks
