"""The tree: what lies below what, what changed, what a catalog holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.stratum0.entry import DIRECTORY, FILE, parent_of
from mirror.stratum0.tree import Changes, Row, Tree

TRICKY = [
    *(b"", b"/a", b"/a-b", b"/a.b", b"/a/b", b"/a/b/c", b"/a/\x00", b"/a/\xff", b"/a0", b"/a0/x"),
    *(b"/a b", b"/aa", b"/a-b/x", b"/a.b/x", b"/a/b-c", b"/a/b0", b"/b"),
]
"""Names whose bytes lie around the slash."""


def row(path: bytes, size: int = 0, *, flags: int = DIRECTORY, links: bytes | None = None) -> Row:
    """An entry."""
    return Row(path, flags, None, size, 0o40755, 1, None, b"", 0, 0, None, b"", links)


def file(path: bytes, size: int = 0, links: bytes | None = None) -> Row:
    """A file."""
    return row(path, size, flags=FILE, links=links)


@contextmanager
def loaded(*rows: Row) -> Iterator[Tree]:
    """A tree with this published."""
    with Tree() as tree:
        tree.load(rows)
        yield tree


def paths(tree: Tree) -> set[bytes]:
    """All of them."""
    return {each.path for each in tree.catalog_rows(b"", [])}


def is_below(path: bytes, top: bytes) -> bool:
    """The rule, in the plainest words."""
    return path != top and path.split(b"/")[: top.count(b"/") + 1] == top.split(b"/")


@pytest.mark.parametrize("top", TRICKY[1:])
def test_removing_takes_what_is_below_and_nothing_beside(top: bytes) -> None:
    """``/a`` takes ``/a/b``, and neither ``/a-b`` nor ``/a0``."""
    with loaded(*map(row, TRICKY)) as tree:
        tree.remove(top)
        assert paths(tree) == {each for each in TRICKY if each != top and not is_below(each, top)}
        assert tree.changes().removed == len(TRICKY) - len(paths(tree))


@pytest.mark.parametrize("base", TRICKY)
def test_what_was_not_put_goes_below_the_base_only(base: bytes) -> None:
    """What was put stays, and the base itself, and all that is elsewhere."""
    with loaded(*map(row, TRICKY)) as tree:
        kept = next((each for each in TRICKY if is_below(each, base)), base)
        tree.put(row(kept))
        tree.remove_unkept(base)
        expected = {each for each in TRICKY if each == kept or not is_below(each, base)}
        assert paths(tree) == expected


@given(st.sets(st.sampled_from(TRICKY[1:])), st.sampled_from(TRICKY))
def test_a_catalog_ends_where_nested_ones_begin(nested: set[bytes], mount: bytes) -> None:
    """Its rows are its mount point, what is below, and of nested ones the mount points alone."""
    inside = {each for each in nested if is_below(each, mount)}
    direct = {each for each in inside if not any(is_below(each, other) for other in inside)}
    with loaded(*map(row, TRICKY)) as tree:
        found = [each.path for each in tree.catalog_rows(mount, direct)]
    expected = {
        each
        for each in TRICKY
        if (each == mount or is_below(each, mount))
        and not any(is_below(each, other) for other in direct)
    }
    assert set(found) == expected
    assert len(found) == len(expected)


def test_the_same_again_is_no_change() -> None:
    """An entry put as it is, even if one of the two knows no fraction of its second."""
    with loaded(row(b""), file(b"/a", 1)) as tree:
        tree.put(file(b"/a", 1))
        tree.put(file(b"/a", 1)._replace(mtimens=0))
        assert not tree.changes()
        assert tree.changed_directories() == set()


def test_changes_are_counted_by_how_it_ends() -> None:
    """Added, changed and removed, however often each was touched."""
    with loaded(row(b""), file(b"/a", 1), file(b"/b", 1), file(b"/c", 1)) as tree:
        tree.put(file(b"/new", 1))
        tree.put(file(b"/new", 2))
        tree.put(file(b"/a", 2))
        tree.remove(b"/b")
        tree.remove(b"/c")
        tree.put(file(b"/c", 1))
        assert tree.changes() == Changes(added=1, changed=1, removed=1)


def test_a_file_in_place_of_a_directory_takes_its_place() -> None:
    """And everything below that is gone."""
    with loaded(*map(row, TRICKY)) as tree:
        tree.put(file(b"/a"))
        assert not [each for each in paths(tree) if is_below(each, b"/a")]
        assert b"/a-b/x" in paths(tree)


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (file(b"/d/e/new"), {b"/d/e"}),
        (file(b"/d/e/f", 9), {b"/d/e"}),
        (row(b"/d/e/new"), {b"/d/e/new", b"/d/e", b"/d"}),
        (row(b"/d", 9), {b"/d", b""}),
    ],
)
def test_a_change_touches_the_catalogs_that_hold_its_rows(change: Row, touched: set[bytes]) -> None:
    """The parent's; a directory's own, and its grandparent's, where the link count stands."""
    with loaded(row(b""), row(b"/d"), row(b"/d/e"), file(b"/d/e/f")) as tree:
        tree.put(change)
        assert tree.changed_directories() == touched


def test_names_are_found_whole() -> None:
    """A longer name that ends alike is another one."""
    with loaded(row(b""), file(b"/.mark"), row(b"/a"), file(b"/a/.mark"), file(b"/x.mark")) as tree:
        assert tree.named(b".mark") == {b"", b"/a"}


def test_directories_are_counted_with_what_lies_directly_in_them() -> None:
    """Empty ones too."""
    with loaded(*(row(each) for each in TRICKY if parent_of(each) in TRICKY)) as tree:
        assert tree.directories()[b"/a/b"] == 1
        assert tree.directories()[b"/b"] == 0
        assert tree.subdirectories(b"/a") == tree.directories()[b"/a"]


def test_names_of_one_file_are_told_by_the_first_that_is_left() -> None:
    """One name alone is no hard link, and names that differ are not one file."""
    rows = [file(b"/a", 1, b"/a"), file(b"/b", 1, b"/a"), file(b"/c", 1, b"/a")]
    with loaded(row(b""), *rows, file(b"/d", 2, b"/a")) as tree:
        tree.remove(b"/a")
        tree.settle_links()
        links = {each.path: each.links for each in tree.catalog_rows(b"", [])}
        assert links == {b"": None, b"/b": b"/b", b"/c": b"/b", b"/d": None}


def test_what_is_kept_is_spared() -> None:
    """Without being put."""
    with loaded(row(b""), file(b"/a"), file(b"/b")) as tree:
        tree.keep(b"/a")
        assert tree.is_kept(b"/a")
        assert not tree.is_kept(b"/b")
        tree.remove_unkept(b"")
        assert paths(tree) == {b"", b"/a"}
