from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.cvmfs.catalog import Catalog, NestedRef, ObjectRef
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import REFLOG, object_path
from mirror.cvmfs.reflog import Reflog
from mirror.errors import FormatError
from tests.support.databases import Chunk, Entry, Flag, Mount, altered, catalog_database
from tests.support.fixture import REVISIONS
from tests.support.hostile import mutated, overwritten, survives


def name(number: int, suffix: Suffix = Suffix.NONE) -> ContentHash:
    """The hash of something."""
    return ContentHash.of(Algorithm.SHA1, str(number).encode(), suffix)


FILE = Entry("/file", Flag.FILE, name(1), 100)
CHUNKED = Entry(
    "/chunked",
    Flag.FILE | Flag.CHUNKED,
    None,
    200,
    (Chunk(0, 150, name(2, Suffix.PARTIAL)), Chunk(150, 50, name(3, Suffix.PARTIAL))),
)
DIRECTORY = Entry("/sub", Flag.DIRECTORY | Flag.NESTED_MOUNT)
NESTED = Mount("/sub", name(4, Suffix.CATALOG), 4096)
BOUND = Mount("/bound", name(5, Suffix.CATALOG), 4096)
HONEST = catalog_database([FILE, CHUNKED, DIRECTORY], nested=[NESTED], bind_mountpoints=[BOUND])


def read(
    content: bytes | Path, mount_point: str = "", limits: Limits | None = None
) -> tuple[list[ObjectRef], list[NestedRef]]:
    """All that a catalog refers to."""
    with Catalog(content, mount_point, "it", limits) as catalog:
        return list(catalog.objects()), catalog.nested_catalogs()


def objects(*entries: Entry) -> list[ObjectRef]:
    """The objects of a catalog with these entries."""
    return read(catalog_database(entries))[0]


# --- what it refers to --------------------------------------------------------------------------


def test_objects_of_entries_and_chunks() -> None:
    """Files refer to their object, files in chunks to their chunks, directories to nothing."""
    assert objects(FILE, CHUNKED, DIRECTORY) == [
        ObjectRef(name(1), 100, is_packed=True),
        ObjectRef(name(2, Suffix.PARTIAL), 150, is_packed=True),
        ObjectRef(name(3, Suffix.PARTIAL), 50, is_packed=True),
    ]


def test_files_and_bytes_read_the_same(tmp_path: Path) -> None:
    """A catalog may lie in a file."""
    (tmp_path / "catalog").write_bytes(HONEST)
    assert read(tmp_path / "catalog") == read(HONEST)


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("is_packed", [True, False])
def test_flags_tell_algorithm_and_compression(algorithm: Algorithm, is_packed: bool) -> None:
    """Bits of an entry's flags hold for its object and for its chunks."""
    bulk = ContentHash.of(algorithm, b"whole")
    chunk = ContentHash.of(algorithm, b"part", Suffix.PARTIAL)
    kind = Flag.FILE | Flag.CHUNKED
    entry = Entry("/file", kind, bulk, 9, (Chunk(0, 9, chunk),), algorithm, is_packed)
    assert objects(entry) == [ObjectRef(bulk, 9, is_packed), ObjectRef(chunk, 9, is_packed)]


def test_external_files_are_not_ours() -> None:
    """External files are fetched elsewhere by clients, and so are their chunks."""
    external = Entry("/e", Flag.FILE | Flag.EXTERNAL, name(1), 100)
    kind = Flag.FILE | Flag.EXTERNAL | Flag.CHUNKED
    in_chunks = Entry("/c", kind, None, 100, (Chunk(0, 100, name(2)),))
    assert objects(external, in_chunks) == []


def test_directories_with_a_hash_are_micro_catalogs() -> None:
    """The hash of a directory is that of an object with suffix L."""
    directory = Entry("/d", Flag.DIRECTORY, name(1), 100)
    assert objects(directory) == [ObjectRef(name(1, Suffix.MICRO_CATALOG), 100, is_packed=True)]


@pytest.mark.parametrize("value", ["NULL", "x''", "''"])
def test_no_hash_is_no_object(value: str) -> None:
    """An empty hash, of an entry or a chunk, refers to nothing."""
    empty = altered(
        HONEST, f"UPDATE catalog SET hash = {value}", f"UPDATE chunks SET hash = {value}"
    )
    assert read(empty)[0] == []


def test_chunks_without_an_entry_are_nobodys() -> None:
    """A chunk of a file that is not there is not referred to."""
    orphaned = altered(HONEST, "DELETE FROM catalog WHERE name = 'chunked'")
    assert [ref.hash for ref in read(orphaned)[0]] == [name(1)]


def test_nested_catalogs_and_no_bind_mountpoints() -> None:
    """Nested catalogs are followed; bind mount points are never even looked at."""
    assert read(HONEST)[1] == [NestedRef("/sub", name(4, Suffix.CATALOG), 4096)]


def test_stored_size_has_room_to_spare() -> None:
    """What is stored may be a little larger than what it unpacks to, but never endless."""
    assert ObjectRef(name(1), 0, is_packed=True).max_stored_bytes == 1024 * 1024
    assert ObjectRef(name(1), 10**9, is_packed=True).max_stored_bytes > 10**9


# --- what it says of itself ---------------------------------------------------------------------


def test_properties() -> None:
    """Revision, time and predecessor are told."""
    before = name(9, Suffix.CATALOG)
    database = catalog_database(revision=7, last_modified=1_700_000_000, previous=before)
    with Catalog(database, "/sub", "it") as catalog:
        assert (catalog.revision, catalog.last_modified) == (7, 1_700_000_000)
        assert catalog.previous_revision == before
        assert catalog.mount_point == "/sub"


@pytest.mark.parametrize("value", ["NULL", "''", f"'{'0' * 40}'"])
def test_first_revision_has_no_predecessor(value: str) -> None:
    """Nothing, and a hash of zeros, is how publishers write none."""
    change = f"UPDATE properties SET value = {value} WHERE key = 'previous_revision'"
    with Catalog(altered(HONEST, change), "", "it") as catalog:
        assert catalog.previous_revision is None


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "", "9" * 20, "\N{SUPERSCRIPT TWO}"])
def test_strange_numbers_are_unknown(value: str) -> None:
    """A revision that is no number of 64 bits is none; nothing hangs from it."""
    change = f"UPDATE properties SET value = '{value}' WHERE key = 'revision'"
    with Catalog(altered(HONEST, change), "", "it") as catalog:
        assert catalog.revision == 0


# --- every age ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "revision"),
    [(0.9, 0), (1.0, 0), (1.2, 0), (2.0, 0), (2.4, 0)] + [(2.5, number) for number in range(8)],
)
def test_every_schema_is_read(schema: float, revision: int) -> None:
    """Tables and columns that an age did not have yet are missed by nobody."""
    database = catalog_database(
        [FILE, CHUNKED], nested=[NESTED], schema=schema, schema_revision=revision
    )
    found, nested = read(database)
    assert [ref.hash for ref in found] == [
        name(1),
        name(2, Suffix.PARTIAL),
        name(3, Suffix.PARTIAL),
    ][: 3 if schema >= 2.4 else 1]
    assert nested == [NestedRef("/sub", NESTED.hash, 4096 if revision >= 1 else None)]


def test_no_nested_table_is_no_nested_catalogs() -> None:
    """A catalog without that table has nothing nested, and one without schema is of an old age."""
    old = altered(HONEST, "DROP TABLE nested_catalogs", "DELETE FROM properties")
    assert read(old)[1] == []


@pytest.mark.parametrize("schema", ["0.8", "2.6", "3.0", "-1", "inf", "nan", "x", ""])
def test_unknown_schemas_are_refused(schema: str) -> None:
    """What nobody has specified yet is not guessed at."""
    change = f"UPDATE properties SET value = '{schema}' WHERE key = 'schema'"
    with pytest.raises(FormatError, match="it has schema"):
        read(altered(HONEST, change))


@pytest.mark.parametrize("schema", ["2.5", "2.50001", "2.4999"])
def test_schemas_are_printed_floats(schema: str) -> None:
    """A schema off by a rounding error is the schema."""
    change = f"UPDATE properties SET value = '{schema}' WHERE key = 'schema'"
    assert read(altered(HONEST, change)) == read(HONEST)


def walk(directory: Path, root: ContentHash, mount_point: str = "") -> Iterator[str]:
    """Paths of all that is below a catalog of the fixture, itself included."""
    yield object_path(root)
    packed = (directory / object_path(root)).read_bytes()
    found, nested = read(zlib.decompress(packed), mount_point)
    yield from (object_path(ref.hash) for ref in found)
    for ref in nested:
        assert ref.size_bytes
        yield from walk(directory, ref.hash, ref.mount_point)


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_catalogs(fixture_repository: Path, revision: str) -> None:
    """From the roots of the real publisher's catalogs every object it left on disk is reached."""
    directory = fixture_repository / revision
    reflog = Reflog.parse((directory / REFLOG).read_bytes(), Fqrn("software.example.org"))
    reached = {object_path(ref) for ref in reflog.refs}
    for ref in reflog.refs:
        if ref.suffix is Suffix.CATALOG:
            reached.update(walk(directory, ref))
    on_disk = {str(file.relative_to(directory)) for file in directory.glob("data/??/*")}
    assert reached == on_disk


# --- what is refused ----------------------------------------------------------------------------


def test_no_catalog_table_is_no_catalog() -> None:
    """A database of another kind is refused."""
    with pytest.raises(FormatError, match="it has no table 'catalog'"):
        read(altered(HONEST, "DROP TABLE catalog"))


def test_closed_catalogs_are_not_read() -> None:
    """Leaving the context closes the file."""
    with Catalog(HONEST, "", "it") as catalog:
        pass
    with pytest.raises(FormatError):
        catalog.nested_catalogs()


def test_what_is_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog that cannot be opened leaves nothing open."""
    opened: list[sqlite3.Connection] = []
    hostile = altered(HONEST, "DROP TABLE catalog")

    def remember(
        name: str, *, check_same_thread: bool, isolation_level: None
    ) -> sqlite3.Connection:
        opened.append(connect(name))
        return opened[0]

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", remember)
    with pytest.raises(FormatError):
        read(hostile)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("catalog SET hash = x'abcd'", "hash is not 20 bytes"),
        ("catalog SET hash = 'text of twenty-one by'", "hash is not 20 bytes"),
        ("catalog SET hash = 5", "hash is not 20 bytes"),
        ("catalog SET size = 'large'", "size should be a whole number"),
        ("catalog SET size = -1", "size is -1"),
        ("catalog SET size = 1.5", "size should be a whole number"),
        ("catalog SET flags = 'x'", "flags should be a whole number"),
        ("catalog SET flags = 772", "unknown hash algorithm 3"),
        ("catalog SET flags = -252", "unknown hash algorithm 7"),
        ("chunks SET hash = x'abcd'", "hash is not 20 bytes"),
        ("chunks SET size = 'large'", "size should be a whole number"),
        ("chunks SET size = -1", "size is -1"),
        ("nested_catalogs SET path = NULL", "mount point should be text"),
        ("nested_catalogs SET sha1 = NULL", "nested catalog's hash should be text"),
        ("nested_catalogs SET sha1 = 'abcd'", "a nested catalog's hash: .* is no content hash"),
        ("nested_catalogs SET sha1 = 5", "a nested catalog's hash: .* is no content hash"),
        ("nested_catalogs SET size = 'large'", "size of a nested catalog should be"),
        ("properties SET value = 'x' WHERE key = 'previous_revision'", "previous_revision: 'x'"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(change: str, says: str) -> None:
    """SQLite keeps any value in any column; we do not take it."""
    with pytest.raises(FormatError, match=f"it: .*{says}"):
        read(altered(HONEST, f"UPDATE {change}"))


@pytest.mark.parametrize("column", ["path", "sha1"])
def test_missing_columns_are_refused(column: str) -> None:
    """A table without a column that every age had is not sound."""
    change = f"ALTER TABLE nested_catalogs RENAME COLUMN {column} TO other"
    with pytest.raises(FormatError, match=f"no such column: {column}"):
        read(altered(HONEST, change))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/a",
        "/a/",
        "/ab",
        "/abc",
        "/b/a",
        "a/b",
        "/a//b",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/a/b/",
        "/a/./b",
        "/A/b",
        "/a/" + "x" * 4096,
    ],
)
def test_nested_catalogs_lie_below(path: str) -> None:
    """A mount point that is not below its catalog's, or that walks in the tree, is refused."""
    database = catalog_database(nested=[Mount(path, NESTED.hash)])
    with pytest.raises(FormatError, match="does not lie below '/a'"):
        read(database, "/a")


def test_mount_points_end_no_string() -> None:
    """A zero byte in a mount point is refused."""
    change = "UPDATE nested_catalogs SET path = CAST(x'2f610062' AS TEXT)"
    with pytest.raises(FormatError, match="does not lie below '/'"):
        read(altered(HONEST, change))


@pytest.mark.parametrize("path", ["/a/b", "/a/b/c", "/a/..b", "/a/.b", "/a/b c\n"])
def test_odd_mount_points_are_mount_points(path: str) -> None:
    """Directories may have any name that is one."""
    database = catalog_database(nested=[Mount(path, NESTED.hash)])
    assert read(database, "/a")[1] == [NestedRef(path, NESTED.hash, None)]


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(catalog_entries=1), "more than 1 entries,"),
        (Limits(catalog_entries=3), "more than 3 entries and chunks,"),
        (Limits(nested_catalogs=1), "more than 1 nested catalogs"),
        (Limits(path_bytes=3), "does not lie below"),
    ],
)
def test_everything_has_a_limit(limits: Limits, says: str) -> None:
    """Entries, chunks, nested catalogs and the length of their names are bounded."""
    entries = [FILE, Entry("/other", Flag.FILE, name(6)), CHUNKED]
    database = catalog_database(entries, nested=[NESTED, Mount("/tub", NESTED.hash)])
    with pytest.raises(FormatError, match=says):
        read(database, limits=limits)


def test_limits_are_exact() -> None:
    """As much as the limit allows is allowed."""
    limits = Limits(catalog_entries=3, nested_catalogs=1, path_bytes=4)
    assert read(HONEST, limits=limits) == read(HONEST)


@settings(max_examples=200)
@given(st.binary() | mutated(HONEST) | overwritten(HONEST))
def test_any_bytes_are_a_catalog_or_refused(content: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(read, content)


@settings(max_examples=200)
@given(st.data())
def test_damaged_real_catalogs_are_read_or_refused(
    fixture_repository: Path, data: st.DataObject
) -> None:
    """The same holds for what the real publisher made."""
    catalogs = sorted((fixture_repository / "rev3").glob("data/??/*C"))[:8]
    packed = data.draw(st.sampled_from(catalogs)).read_bytes()
    survives(read, data.draw(overwritten(zlib.decompress(packed))))


def test_table_names_in_other_cases_are_read() -> None:
    """SQLite does not tell cases apart: a table overlooked would be a tree not replicated."""
    nested = Mount("/sub", ContentHash.of(Algorithm.SHA1, b"x", Suffix.CATALOG), 4096)
    database = catalog_database([], nested=[nested])
    renamed = altered(
        database,
        "ALTER TABLE nested_catalogs RENAME TO elsewhere",
        "ALTER TABLE elsewhere RENAME TO NESTED_Catalogs",
    )
    with Catalog(renamed, "", "a catalog") as catalog:
        assert [each.mount_point for each in catalog.nested_catalogs()] == ["/sub"]


# --- what is new in it ----------------------------------------------------------------------------


def news(now: bytes, before: bytes) -> set[ContentHash]:
    """The objects that one catalog refers to and an older one does not, at the same places."""
    with Catalog(now, "", "it") as catalog, Catalog(before, "", "it") as older:
        return {ref.hash for ref in catalog.objects(older)}


def test_nothing_is_new_in_the_same_catalog() -> None:
    """Every entry and every chunk is known."""
    assert news(HONEST, HONEST) == set()


def test_everything_is_new_where_nothing_was() -> None:
    """Nothing is left out."""
    assert news(HONEST, catalog_database([])) == {ref.hash for ref in read(HONEST)[0]}


@pytest.mark.parametrize("other", [Entry("/file", Flag.FILE, name(9), 100), DIRECTORY])
def test_what_changed_is_new(other: Entry) -> None:
    """Other content at the same path, or the first content there."""
    before = catalog_database([other, CHUNKED])
    assert news(HONEST, before) == {name(1)}


def test_a_changed_chunk_is_new() -> None:
    """The others of the file are not."""
    before = Entry(
        "/chunked",
        Flag.FILE | Flag.CHUNKED,
        None,
        200,
        (Chunk(0, 150, name(2, Suffix.PARTIAL)), Chunk(150, 50, name(8, Suffix.PARTIAL))),
    )
    assert news(HONEST, catalog_database([FILE, before])) == {name(3, Suffix.PARTIAL)}


def test_other_flags_make_another_object() -> None:
    """The same digest may stand for a chunk, or be of another algorithm."""
    before = Entry("/file", Flag.FILE | 1 << 8, name(1), 100)
    assert news(HONEST, catalog_database([before, CHUNKED])) == {name(1)}


@given(
    st.dictionaries(st.integers(0, 30), st.integers(0, 5)),
    st.dictionaries(st.integers(0, 30), st.integers(0, 5)),
)
def test_what_is_new_is_the_difference(now: dict[int, int], before: dict[int, int]) -> None:
    """Whatever comes, goes or changes, in whatever order the paths hash."""

    def database(files: dict[int, int]) -> bytes:
        entries = [
            Entry(f"/{path}", Flag.FILE, name(path * 10 + content), 1)
            for path, content in files.items()
        ]
        return catalog_database(entries)

    expected = {name(path * 10 + each) for path, each in now.items() if before.get(path) != each}
    assert news(database(now), database(before)) == expected


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE catalog SET md5path_1 = 'text'",
        "UPDATE catalog SET md5path_1 = md5path_1 || 'x'",
        "DROP TABLE chunks",
        "UPDATE catalog SET flags = 'x', hash = 7",
    ],
)
def test_an_older_catalog_of_any_kind_hides_nothing(damage: str) -> None:
    """What it does not say in the same words is new."""
    found = news(HONEST, altered(HONEST, damage))
    everything = {ref.hash for ref in read(HONEST)[0]}
    assert found <= everything
    if "chunks" not in damage:
        assert found == everything
