"""Catalogs: written and read back alike, and only those that must be."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.stratum0.catalog_rows import md5_path, pack_chunks, read_catalog
from mirror.stratum0.catalogs import CatalogWriter, PublishedCatalog
from mirror.stratum0.entry import CHUNKED, DIRECTORY, FILE, SPECIAL, SYMLINK
from mirror.stratum0.tree import Row, Tree


def entry(path: bytes, flags: int = FILE, size: int = 0, **more: Any) -> Row:  # noqa: ANN401 - columns
    """A row; directories need say nothing else."""
    row = Row(path, flags, None, size, 0o755, 5, 7, b"", 1, 2, None, b"", None)
    return row._replace(**more)


def chunked(path: bytes) -> Row:
    """A file of two pieces."""
    pieces = pack_chunks([(0, 10, b"a" * 20), (10, 5, b"b" * 20)])
    return entry(path, FILE | CHUNKED, 15, chunks=pieces)


ROWS = [
    entry(b"", DIRECTORY),
    entry(b"/d", DIRECTORY, xattr=b"\x01\x01\x01\x00u"),
    entry(b"/d/file", size=3, hash=b"h" * 20),
    entry(b"/d/one", size=1, hash=b"l" * 20, links=b"/d/one"),
    entry(b"/d/two", size=1, hash=b"l" * 20, links=b"/d/one"),
    chunked(b"/d/large"),
    entry(b"/n", DIRECTORY, mtime=-5, mtimens=999),
    entry(b"/n/m", DIRECTORY),
    entry(b"/n/m/\xff\n", FILE | SYMLINK, 2, symlink=b"\xfe\n"),
    entry(b"/n/device", FILE | SPECIAL, 2051, mtimens=None),
]
MOUNTS = frozenset({b"", b"/n", b"/n/m"})


@dataclass
class Kept:
    """A store that keeps unpacked catalogs."""

    contents: dict[ContentHash, bytes] = field(default_factory=dict)

    def store(self, content: bytes) -> ContentHash:
        """Keep one."""
        name = ContentHash(Algorithm.SHA1, hashlib.sha1(content).digest(), Suffix.CATALOG)
        self.contents[name] = content
        return name

    def write(self, tree: Tree, mounts: Iterable[bytes], before: Published) -> Published:
        """Write a tree's catalogs at a time that only goes forward."""
        return CatalogWriter(tree, before, len(self.contents), self.store).write(frozenset(mounts))

    def rows(self, published: Published) -> list[Row]:
        """All entries, read back."""
        found: list[Row] = []
        for mount, each in published.items():
            found += read_catalog(self.contents[each.hash], mount, "x").rows
        return sorted(found)


Published = dict[bytes, PublishedCatalog]
NOTHING: Published = {}


def first(kept: Kept, rows: list[Row], mounts: Iterable[bytes] = MOUNTS) -> Published:
    """Publish these."""
    with Tree() as tree:
        for row in rows:
            tree.put(row)
        return kept.write(tree, mounts, NOTHING)


def loaded(kept: Kept, published: Published) -> Tree:
    """What is published, to be changed."""
    tree = Tree()
    tree.load(kept.rows(published))
    return tree


def test_what_is_written_is_read_back() -> None:
    """Every column of every kind of entry, and each exactly once."""
    kept = Kept()
    assert kept.rows(first(kept, ROWS)) == sorted(ROWS)


@given(st.sets(st.sampled_from([b"/d", b"/n", b"/n/m"])), st.sets(st.sampled_from(range(1, 10))))
def test_any_nesting_of_any_part_is_read_back(mounts: set[bytes], chosen: set[int]) -> None:
    """Wherever catalogs begin."""
    rows = [row for number, row in enumerate(ROWS) if number in chosen or row.flags & DIRECTORY]
    names = Counter(row.links for row in rows)
    rows = [row if names[row.links] > 1 else row._replace(links=None) for row in rows]
    kept = Kept()
    assert kept.rows(first(kept, rows, {b"", *mounts})) == sorted(rows)


@pytest.mark.parametrize(
    ("change", "rewritten"),
    [
        (entry(b"/d/file", size=4), {b""}),
        (entry(b"/n/m/new"), MOUNTS),
        (entry(b"/n/new"), {b"", b"/n"}),
        (entry(b"/n/m", DIRECTORY, mtime=6), MOUNTS),
        (entry(b"/n/m/new", DIRECTORY), MOUNTS),
        (entry(b"/d", mtime=6), {b""}),
    ],
)
def test_only_what_changed_is_written_again(change: Row, rewritten: set[bytes]) -> None:
    """The catalog of the entry, and those above, which name it; all others keep their hash."""
    kept = Kept()
    before = first(kept, ROWS)
    with loaded(kept, before) as tree:
        tree.put(change)
        after = kept.write(tree, MOUNTS, before)
    assert {mount for mount in MOUNTS if after[mount] != before[mount]} == rewritten


def test_a_catalog_counts_how_often_it_was_written() -> None:
    """And names the one before; a new mount point begins at 1, without any."""
    kept = Kept()
    before = first(kept, ROWS, {b"", b"/n"})
    with loaded(kept, before) as tree:
        tree.put(entry(b"/n/new"))
        after = kept.write(tree, MOUNTS, before)
    revisions = {mount: each.revision for mount, each in after.items()}
    assert revisions == {b"": 2, b"/n": 2, b"/n/m": 1}
    assert properties(kept, after, b"/n")["previous_revision"] == before[b"/n"].hash.text
    assert properties(kept, after, b"/n/m")["previous_revision"] == "0" * 40
    assert properties(kept, before, b"")["previous_revision"] == "0" * 40


def properties(kept: Kept, published: Published, mount: bytes) -> dict[str, str]:
    """Of one catalog."""
    return dict(query(kept, published, mount, "SELECT key, value FROM properties"))


def query(kept: Kept, published: Published, mount: bytes, text: str) -> list[Any]:
    """Ask a catalog as it is stored."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(kept.contents[published[mount].hash])
        return database.execute(text).fetchall()


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_mount_point_that_comes_or_goes_moves_its_rows(change: str) -> None:
    """It and what is around it is written; what is below keeps its hash."""
    few, many = {b"", b"/n/m"}, MOUNTS
    old, new = (few, many) if change == "added" else (many, few)
    kept = Kept()
    before = first(kept, ROWS, old)
    with loaded(kept, before) as tree:
        after = kept.write(tree, new, before)
    assert kept.rows(after) == sorted(ROWS)
    assert after[b"/n/m"] == before[b"/n/m"]
    assert after.keys() == new


def test_counters_add_up() -> None:
    """Own ones by counting rows, those of the subtree by adding what is nested."""
    published = first(Kept(), ROWS)
    total = published[b""].total
    # mount points stand in two catalogs, and count as directories in both
    assert {kind: total[kind] for kind in ("dir", "regular", "symlink", "special", "nested")} == {
        "dir": 4 + 2,
        "regular": 4,
        "symlink": 1,
        "special": 1,
        "nested": 2,
    }
    assert (total["file_size"], total["chunked"], total["chunks"]) == (3 + 1 + 1 + 15, 1, 2)
    assert (total["chunked_size"], total["xattr"]) == (15, 1)
    assert published[b""].total == sum(
        (Counter(each.own) for each in published.values()), Counter()
    )


def test_mount_points_stand_in_both_catalogs() -> None:
    """With their flags, and the same link count: two and the directories in them."""
    kept = Kept()
    published = first(kept, ROWS)
    name = "SELECT flags, hardlinks FROM catalog WHERE name = 'n'"
    assert query(kept, published, b"", name) == [(DIRECTORY | 2, 3)]
    assert query(kept, published, b"/n", name) == [(DIRECTORY | 32, 3)]
    assert properties(kept, published, b"/n")["root_prefix"] == "/n"


def test_hard_links_are_a_group_and_a_count() -> None:
    """The group in the upper half, how many names it has in the lower."""
    kept = Kept()
    published = first(kept, ROWS)
    text = "SELECT name, hardlinks FROM catalog WHERE parent_1 <> 0 AND flags = 4"
    links = dict(query(kept, published, b"", text))
    assert links == {"one": 1 << 32 | 2, "two": 1 << 32 | 2, "file": 1}


def test_paths_are_keyed_as_the_reference_keys_them() -> None:
    """MD5 in two signed halves, little end first; the root is the empty path."""
    assert md5_path(b"") == (338333539836370388, 9098107892288553193)
    assert md5_path(b"/docs") == (7120690891335334581, -8448924920851960511)
