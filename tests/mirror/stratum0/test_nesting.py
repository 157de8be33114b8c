"""Where catalogs begin: the grammar of dirtab, and the arithmetic of size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.stratum0.entry import ROOT, parent_of
from mirror.stratum0.nesting import Dirtab, owner, split_by_size

SMALLEST_SHARE = 200


@pytest.mark.parametrize(
    ("line", "fits", "fits_not"),
    [
        (b"/a/b", [b"/a/b"], [b"/a", b"/a/b/c", b"/a/bb"]),
        (b"/a/b/", [b"/a/b"], [b"/a"]),
        (b"a/b", [b"/a/b"], [b"/x/a/b"]),
        (b"  /a/b \r", [b"/a/b"], []),
        (b"/a/*", [b"/a/b", b"/a/.b", b"/a/b c"], [b"/a", b"/a/b/c"]),
        (b"/a/*/c", [b"/a/b/c"], [b"/a/c", b"/a/b/d/c"]),
        (b"/a/v?", [b"/a/v1", b"/a/v\xff"], [b"/a/v", b"/a/v10", b"/a/v/"]),
        (rb"/a/\*", [b"/a/*"], [b"/a/b"]),
        (rb"/a/\?\\", [rb"/a/?" + b"\\"], [rb"/a/b" + b"\\"]),
        (b"/a/[b]", [b"/a/[b]"], [b"/a/b"]),
        (b"/a/b.c", [b"/a/b.c"], [b"/a/bxc"]),
        (b"/a/*", [b"/a/line\nbreak"], []),
        (b"/a/end\\", [b"/a/end\\"], [b"/a/end"]),
    ],
)
def test_a_line_names_directories(line: bytes, fits: list[bytes], fits_not: list[bytes]) -> None:
    """``*`` and ``?`` stay within one component, a backslash takes their meaning away."""
    dirtab = Dirtab.parse(line + b"\n")
    assert [each for each in fits + fits_not if dirtab.names(each)] == fits


def test_negative_lines_win() -> None:
    """Wherever they stand."""
    dirtab = Dirtab.parse(b"! /sw/old\n/sw/*\n!/sw/*/tmp\n/sw/*/*\n")
    assert dirtab.names(b"/sw/new")
    assert not dirtab.names(b"/sw/old")
    assert not dirtab.names(b"/sw/new/tmp")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# /a\n", b"   \n#\n", b"!/a\n"])
def test_comments_and_blanks_name_nothing(content: bytes) -> None:
    """Nor do negations alone."""
    assert not Dirtab.parse(content).names(b"/a")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_dirtab(content: bytes) -> None:
    """Nothing an operator writes stops a publication."""
    Dirtab.parse(content).names(b"/a/b")


NAMES = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=5)
TREES = st.lists(st.tuples(NAMES, st.integers(0, 30)), max_size=25)


def counted(files: list[tuple[list[bytes], int]]) -> dict[bytes, int]:
    """Directories, each with so many files and its subdirectories."""
    found = {ROOT: 0}
    for names, count in files:
        for length in range(len(names) + 1):
            found.setdefault(b"".join(b"/" + each for each in names[:length]), 0)
        found[b"".join(b"/" + each for each in names)] += count
    for path in [each for each in found if each]:
        found[parent_of(path)] += 1
    return found


def weights(directories: dict[bytes, int], mounts: set[bytes]) -> dict[bytes, int]:
    """Entries of each catalog, its own root not counted."""
    found = dict.fromkeys(mounts, 0)
    for path, count in directories.items():
        found[owner(path, mounts)] += count
    return found


@given(TREES, st.integers(1, 60), st.sets(st.sampled_from([b"/a", b"/b", b"/a/b", b"/c/c"])))
def test_no_catalog_is_larger_than_it_must_be(
    files: list[tuple[list[bytes], int]], largest: int, marked: set[bytes]
) -> None:
    """Above the limit are only those without a directory left that is worth a catalog."""
    directories = counted(files)
    mounts = {ROOT, *(marked & directories.keys())}
    mounts |= split_by_size(directories, mounts, largest)
    for mount, weight in weights(directories, mounts).items():
        left = [each for each in directories if each not in mounts and owner(each, mounts) == mount]
        if weight > largest:
            assert not [each for each in left if directories[each] and parent_of(each) == mount]


@given(TREES, st.integers(1, 60), st.sets(st.sampled_from([b"/a", b"/b", b"/a/b", b"/c/c"])))
def test_mount_points_are_added_only_where_they_help(
    files: list[tuple[list[bytes], int]], largest: int, marked: set[bytes]
) -> None:
    """Without any one of them, the catalog around it would be too large."""
    directories = counted(files)
    mounts = {ROOT, *(marked & directories.keys())}
    added = split_by_size(directories, mounts, largest)
    assert not added & mounts
    assert added <= directories.keys()
    for each in added:
        without = (mounts | added) - {each}
        assert weights(directories, without)[owner(each, without)] > largest


@given(TREES, st.integers(1, 60))
def test_the_split_is_the_same_again(files: list[tuple[list[bytes], int]], largest: int) -> None:
    """In whatever order directories come."""
    directories = counted(files)
    backwards = dict(reversed(directories.items()))
    assert split_by_size(directories, [], largest) == split_by_size(backwards, [], largest)


def test_a_small_repository_is_one_catalog() -> None:
    """The limit is the reference's: 200,000 entries."""
    directories = {ROOT: 1, b"/a": 199_999}
    assert split_by_size(directories, []) == set()
    assert split_by_size(directories | {b"/a": 200_000}, []) == {b"/a"}


def test_what_is_hardly_worth_it_is_not_split_off() -> None:
    """A flat directory stays too large rather than breaking into crumbs."""
    directories = {ROOT: 10_000, **{b"/%d" % number: 1 for number in range(5000)}}
    assert split_by_size(directories, [], 1000) == set()
    assert SMALLEST_SHARE * 5 == 1000


@pytest.mark.parametrize(
    ("path", "expected"), [(b"/a/b/c", b"/a/b"), (b"/a/bc", b"/a"), (b"/x/y", ROOT), (ROOT, ROOT)]
)
def test_a_directory_belongs_to_the_nearest_mount_point(path: bytes, expected: bytes) -> None:
    """Itself, or the first above."""
    assert owner(path, {ROOT, b"/a", b"/a/b"}) == expected
