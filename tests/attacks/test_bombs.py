"""What is small on the line and large behind it: unpacked, or counted."""

from __future__ import annotations

import zlib

import pytest

from mirror.cvmfs.content_hash import Suffix
from mirror.cvmfs.paths import object_path
from tests.support.databases import Mount, altered, catalog_database
from tests.support.siege import Siege

MIB = 1024 * 1024


def zeros(size_mib: int) -> bytes:
    """So many MiB, packed to a thousandth of that."""
    packer = zlib.compressobj()
    packed = [packer.compress(bytes(MIB)) for _ in range(size_mib)]
    return b"".join([*packed, packer.flush()])


def test_root_catalog(siege: Siege) -> None:
    """A catalog is unpacked up to the size that the manifest states, with room to spare."""
    siege.offer_root(zeros(100), 4096)
    siege.assert_repelled(4, "SnapshotFailed", "the catalog", "unpacks to more than")
    siege.assert_recovers()


def test_nested_catalog(siege: Siege) -> None:
    """A nested catalog is unpacked up to the size that its parent states, with room to spare."""
    bomb = siege.repository.add_object(zeros(100), Suffix.CATALOG, is_packed=False)
    siege.offer_catalog(catalog_database(nested=[Mount("/bomb", bomb, 4096)]))
    siege.assert_repelled(4, "SnapshotFailed", object_path(bomb), "/bomb", "unpacks to more than")
    siege.assert_recovers()


def test_history(siege: Siege) -> None:
    """A history is unpacked up to the limit for histories."""
    bomb = siege.repository.add_object(zeros(257), Suffix.HISTORY, is_packed=False)
    siege.repository.resign(H=bomb.text)
    siege.assert_repelled(4, "FormatError", "the history", "unpacks to more than")
    siege.assert_recovers()


@pytest.mark.parametrize(
    ("stored", "word"),
    [(zeros(100), "unpacks to more than"), (b"{}", "not a zlib stream")],
    ids=["bomb", "unpacked"],
)
def test_meta_info(siege: Siege, stored: bytes, word: str) -> None:
    """What our clients would have to unpack is not handed on to them if we would not unpack it."""
    bomb = siege.repository.add_object(stored, Suffix.META_INFO, is_packed=False)
    siege.repository.resign(M=bomb.text)
    siege.assert_repelled(4, "FormatError", "the meta info", word)
    siege.assert_recovers()


def test_a_million_nested_catalogs(siege: Siege) -> None:
    """A catalog in which there are more catalogs than any has ever had is not followed."""
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000)"
    rows = f"{numbers} SELECT '/' || i, '{'ab' * 20}', 0 FROM n"
    no_key = "DROP TABLE nested_catalogs", "CREATE TABLE nested_catalogs (path, sha1, size)"
    database = altered(catalog_database(), *no_key, f"INSERT INTO nested_catalogs {rows}")
    siege.offer_root(zlib.compress(database, 1), len(database))
    siege.assert_repelled(4, "SnapshotFailed", "more than 100000 nested catalogs")
    siege.assert_recovers()


@pytest.mark.parametrize("verb", ["", "--dry-run", "--repair"])
def test_many_paths_through_few_catalogs(siege: Siege, verb: str) -> None:
    """Where each catalog is nested twice in the one above, a billion paths are 31 catalogs."""
    below = catalog_database()
    paths = [object_path(siege.repository.add_catalog(below))]
    for level in range(30, 0, -1):
        name, size = siege.repository.add_catalog(below), len(below)
        mounts = [Mount("/a" * (2 * level - 1), name, size), Mount("/a" * 2 * level, name, size)]
        below = catalog_database(nested=mounts)
        paths.append(object_path(siege.repository.add_catalog(below)))
    siege.offer_catalog(below)
    assert siege.snapshot(*filter(None, [verb])).exit_code == 0
    assert sorted(path for path in siege.stratum0.paths if path in paths) == sorted(paths)


@pytest.mark.parametrize(("levels", "is_taken"), [(256, True), (257, False)])
def test_nested_too_deep(siege: Siege, levels: int, is_taken: bool) -> None:
    """Catalogs below one another are followed down to the limit and no further."""
    below = catalog_database()
    for level in range(levels, 0, -1):
        mount = Mount("/d" * level, siege.repository.add_catalog(below), len(below))
        below = catalog_database(nested=[mount])
    siege.offer_catalog(below)
    if is_taken:
        siege.assert_accepted()
    else:
        siege.assert_repelled(4, "SnapshotFailed", "nested more than 256 deep")
        siege.assert_recovers()
