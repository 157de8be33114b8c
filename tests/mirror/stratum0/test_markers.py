"""Markers that a publisher makes: there while a catalog begins there, and no part of the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.stratum0.publishing import PublicationOptions
from mirror.stratum0.source import DirectorySource
from tests.support.keys import Keys
from tests.support.origin import Origin
from tests.support.recorded import catalog_tables, catalogs, rebuild

BY_DIRTAB: dict[bytes, bytes | None] = {b"/.cvmfsdirtab": b"/sw/*\n", b"/sw/a/f": b"", b"/b/f": b""}
MADE = {b".cvmfscatalog", b".cvmfsautocatalog"}


@pytest.fixture
def origin(keys: Keys, tmp_path: Path) -> Origin:
    """Begun with what dirtab makes a nested catalog of."""
    origin = Origin(tmp_path, keys)
    origin.publish(BY_DIRTAB)
    return origin


def markers(origin: Origin) -> set[tuple[bytes, object]]:
    """Mount point and name of each marker."""
    return {
        (mount, row["name"])
        for mount, name in catalogs(origin.root).items()
        for row in catalog_tables(origin.root, name)["catalog"]
        if row["name"] in MADE
    }


def test_a_catalog_that_nobody_marked_is_marked(origin: Origin) -> None:
    """With the two files of the reference's own balancer."""
    assert markers(origin) == {(b"/sw/a", name) for name in MADE}


def test_what_a_publisher_made_is_no_change(origin: Origin) -> None:
    """The same source again publishes nothing, though it has no such files."""
    assert origin.publish(BY_DIRTAB).was_unchanged
    assert origin.publish({b"/b/g": b""}, PublicationOptions(overlays=True)).changes.added == 1
    assert (b"/sw/a", b".cvmfscatalog") in markers(origin)


def test_a_mount_point_that_is_none_any_more_loses_its_mark(origin: Origin) -> None:
    """Else it would stay one for ever."""
    origin.publish(BY_DIRTAB | {b"/.cvmfsdirtab": b"/b\n"})
    assert markers(origin) == {(b"/b", name) for name in MADE}


def test_a_directory_takes_its_marks_along(origin: Origin) -> None:
    """When it is removed, or becomes a file."""
    origin.publish({b"/.cvmfsdirtab": b"/sw/*\n", b"/sw/a": b"a file"})
    assert markers(origin) == set()
    assert catalogs(origin.root).keys() == {b""}


def test_a_mark_of_ones_own_takes_the_place_of_a_made_one(origin: Origin) -> None:
    """Then it stays without dirtab too."""
    marked = {b"/sw/a/f": b"", b"/sw/a/.cvmfscatalog": b""}
    origin.publish(marked)
    assert markers(origin) == {(b"/sw/a", b".cvmfscatalog")}
    assert origin.publish(marked).was_unchanged


def test_size_decides_the_same_again(keys: Keys, tmp_path: Path) -> None:
    """What one publication put does not push the next one to decide otherwise."""
    origin = Origin(tmp_path, keys)
    options = PublicationOptions(largest_catalog=10)
    tree: dict[bytes, bytes | None] = {b"/%d/%d" % (n % 4, n): b"" for n in range(40)}
    origin.publish(tree, options)
    before = catalogs(origin.root)
    assert len(before) > 2
    origin.publish(tree | {b"/0/0": b"changed"}, options)
    assert catalogs(origin.root).keys() == before.keys()


def test_a_copy_of_what_was_published_can_be_published(origin: Origin, tmp_path: Path) -> None:
    """With the made marks in it, as a copy of a mounted repository has them."""
    rebuild(origin.root, tmp_path / "copy")
    assert origin.publish(DirectorySource(tmp_path / "copy")).was_unchanged
    (tmp_path / "copy" / "b" / "f").write_text("changed")
    origin.publish(tmp_path / "copy")
    assert markers(origin) == {(b"/sw/a", name) for name in MADE}
