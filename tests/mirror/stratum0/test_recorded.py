"""A recorded publication of the real cvmfs_server, done again by ours: equal cell by cell."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest

from mirror.stratum0.publishing import PublicationOptions
from tests.support.keys import FIXTURE_NAME, Keys
from tests.support.origin import Origin
from tests.support.recorded import (
    TABLES,
    Tables,
    catalog_tables,
    catalogs,
    history_rows,
    manifest_fields,
    rebuild,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the recorded files belong to root")

MAY_DIFFER: Final = MappingProxyType(
    {
        ("catalog", "mtimens"): "the real publisher ran without fractions of a second: NULL, not 0",
        ("nested_catalogs", "sha1"): "what is nested holds cells of this table",
        ("properties", "last_modified"): "when it was published",
        ("properties", "previous_revision"): "the catalog before holds cells of this table",
    }
)
"""Table and column, or key of a property → why it cannot be equal. All else must be."""

MANIFEST_MAY_DIFFER: Final = MappingProxyType(
    {
        "C": "the root catalog holds cells of the table above",
        "H": "the history holds root catalogs and times",
        "T": "when it was published",
        "M": "cvmfs_server writes the same keys in other words",
        "Y": "the reflog holds all of these",
    }
)
TAGS: Final = (None, "v1.0", "v1.1", None, "v2.0", None)
REVISIONS: Final = range(1, 7)


@dataclass(frozen=True, slots=True)
class Pair:
    """A revision, as recorded and as published here: tables by mount point, and the rest."""

    real: dict[bytes, tuple[str, Tables]]
    ours: dict[bytes, tuple[str, Tables]]
    manifests: tuple[dict[str, str], dict[str, str]]
    tags: tuple[list[dict[str, object]], list[dict[str, object]]]


@pytest.fixture(scope="module")
def pairs(fixture_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Pair]:
    """All revisions that have a number of their own, published one after the other."""
    directory = tmp_path_factory.mktemp("recorded")
    origin = Origin(directory, Keys.from_fixture(), FIXTURE_NAME)
    found: dict[int, Pair] = {}
    for revision, tag in zip(REVISIONS, TAGS, strict=True):
        real = fixture_repository / f"rev{revision}"
        rebuild(real, directory / f"source{revision}")
        origin.publish(directory / f"source{revision}", PublicationOptions(tag=tag))
        found[revision] = Pair(
            *(whole(real), whole(origin.root)),
            (manifest_fields(real), manifest_fields(origin.root)),
            (history_rows(real, "tags"), history_rows(origin.root, "tags")),
        )
    return found


def whole(root: Path) -> dict[bytes, tuple[str, Tables]]:
    """Mount point → hash and tables."""
    return {mount: (name, catalog_tables(root, name)) for mount, name in catalogs(root).items()}


def differing(real: Tables, ours: Tables) -> Iterator[tuple[str, str]]:
    """Table and column, or key of a property, of every cell that differs."""
    for table in TABLES:
        for left, right in zip(real[table], ours[table], strict=True):
            assert list(left) == list(right)
            for column in left:
                if left[column] != right[column]:
                    key = left["key"] if table == "properties" else column
                    yield table, key.decode() if isinstance(key, bytes) else column


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_cell_of_every_catalog_is_the_real_publishers(
    pairs: dict[int, Pair], revision: int
) -> None:
    """Names, hashes, chunks, modes, times, flags, links, counters: all but the table above."""
    pair = pairs[revision]
    assert pair.real.keys() == pair.ours.keys()
    for mount, (_, tables) in pair.real.items():
        assert set(differing(tables, pair.ours[mount][1])) <= MAY_DIFFER.keys()


def test_what_is_compared_has_everything(pairs: dict[int, Pair]) -> None:
    """The recording holds chunks, links, a fifo, an empty file and deep nesting."""
    tables = [tables for pair in pairs.values() for _, tables in pair.real.values()]
    flags = {row["flags"] for each in tables for row in each["catalog"]}
    assert {1, 3, 33, 4, 12, 20, 68} <= flags
    assert sum(len(each["chunks"]) for each in tables) == 8
    assert max(mount.count(b"/") for pair in pairs.values() for mount in pair.real) == 13


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_the_same_catalogs_are_written_again(pairs: dict[int, Pair], revision: int) -> None:
    """A catalog keeps its hash from one revision to the next where the real one does."""
    now, before = pairs[revision], pairs[revision - 1]
    kept = {
        mount
        for mount, (name, _) in now.real.items()
        if mount in before.real and before.real[mount][0] == name
    }
    ours = {
        mount
        for mount, (name, _) in now.ours.items()
        if mount in before.ours and before.ours[mount][0] == name
    }
    assert ours == kept
    assert kept or revision == 2


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_differs_is_as_it_should_be(pairs: dict[int, Pair], revision: int) -> None:
    """Nested catalogs are named by their own hash, and fractions are none."""
    for _, tables in pairs[revision].ours.values():
        for row in tables["nested_catalogs"]:
            path, name = row["path"], row["sha1"]
            assert isinstance(path, bytes)
            assert isinstance(name, bytes)
            assert pairs[revision].ours[path][0] == name.decode()
        assert {row["mtimens"] for row in tables["catalog"]} == {0}


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_a_catalog_names_the_one_before_it(pairs: dict[int, Pair], revision: int) -> None:
    """``previous_revision`` is what the mount point had when the real publisher wrote it too."""
    now, before = pairs[revision].ours, pairs[revision - 1].ours
    for mount, (name, tables) in now.items():
        if mount in before and before[mount][0] != name:
            properties = {row["key"]: row["value"] for row in tables["properties"]}
            assert properties[b"previous_revision"] == before[mount][0].encode()


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_manifest_has_the_real_publishers_lines(pairs: dict[int, Pair], revision: int) -> None:
    """In the same order; root size, revision, name, certificate and flags are equal."""
    real, ours = pairs[revision].manifests
    assert list(ours) == list(real)
    assert {key for key in real if ours[key] != real[key]} == MANIFEST_MAY_DIFFER.keys()


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_tags_are_the_real_publishers(pairs: dict[int, Pair], revision: int) -> None:
    """Same names, numbers, sizes, channel and branch."""
    real, ours = pairs[revision].tags
    for rows in (real, ours):
        for row in rows:
            name = row["name"]
            assert isinstance(name, bytes)
            row["name"] = name.partition(b"-2")[0]  # generic-<date>
    columns = ("name", "revision", "channel", "size", "branch")
    assert sorted([[row[each] for each in columns] for row in ours], key=repr) == sorted(
        [[row[each] for each in columns] for row in real], key=repr
    )
