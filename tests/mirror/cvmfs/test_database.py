from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs import database as module
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, hash_text, integer, text
from mirror.errors import FormatError
from tests.support.databases import Entry, Flag, altered, catalog_database
from tests.support.hostile import mutated, overwritten, survives

WANTS = frozenset({"catalog", "chunks", "nested_catalogs", "properties"})
HONEST = catalog_database([Entry(f"/file{number}", Flag.FILE) for number in range(50)])
COUNT = "SELECT name FROM catalog"
FILLING = "INSERT INTO filling VALUES (zeroblob(900000))"
VIRTUAL = (
    "INSERT INTO sqlite_master VALUES"
    " ('table', 'chunks', 'chunks', 0, 'CREATE VIRTUAL TABLE chunks USING fts3(hash)')"
)

FORBIDDEN = [
    "SELECT load_extension('x')",
    "SELECT randomblob(1000000)",
    "SELECT name FROM sqlite_master",
    "SELECT counter FROM statistics",
    "SELECT name FROM catalog, pragma_table_info('catalog')",
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x FROM n) SELECT x FROM n",
    "INSERT INTO properties VALUES ('a', 'b')",
    "UPDATE catalog SET name = 'x'",
    "DELETE FROM catalog",
    "DROP TABLE catalog",
    "CREATE TABLE other (x)",
    "CREATE TEMP TABLE other (x)",
    "ATTACH ':memory:' AS other",
    "PRAGMA writable_schema = ON",
    "BEGIN",
    "VACUUM",
]


def read(content: bytes | Path) -> int:
    """How many entries are in a catalog."""
    with HostileDatabase(content, "it", wants=WANTS) as database:
        database.properties()
        return len(list(database.rows(COUNT)))


def file_of(content: bytes, directory: Path) -> Path:
    """The same in a file."""
    file = directory / "database"
    file.write_bytes(content)
    return file


def test_bytes_and_files_read_the_same(tmp_path: Path) -> None:
    """A small database stays in memory and a large one in its file; both are the same database."""
    assert read(HONEST) == read(file_of(HONEST, tmp_path)) == 50


def test_files_are_left_alone(tmp_path: Path) -> None:
    """Reading changes neither the file nor its directory."""
    file = file_of(HONEST, tmp_path)
    file.chmod(0o444)
    read(file)
    assert file.read_bytes() == HONEST
    assert list(tmp_path.iterdir()) == [file]


def test_columns_tell_what_is_there() -> None:
    """Wanted tables that are absent are in no list, and unwanted ones neither."""
    without = altered(HONEST, "DROP TABLE chunks")
    with HostileDatabase(without, "it", wants=WANTS) as database:
        assert set(database.columns) == {"catalog", "nested_catalogs", "properties"}
        assert database.columns["nested_catalogs"] == {"path", "sha1", "size"}


def test_rows_take_parameters() -> None:
    """Values go into a query by their place, and text comes back as bytes."""
    with HostileDatabase(HONEST, "it", wants=WANTS) as database:
        rows = database.rows(f"{COUNT} WHERE name = ?", "file7")
        assert list(rows) == [(b"file7",)]


def test_properties_are_text_or_numbers() -> None:
    """Properties of another type are passed over."""
    strange = altered(
        HONEST,
        "DELETE FROM properties",
        "INSERT INTO properties VALUES ('text', 'a'), ('number', 1), ('null', NULL), (NULL, 'b')",
        "CREATE TABLE more AS SELECT * FROM properties",
        "INSERT INTO properties VALUES (2.5, 3.5), ('blob', x'ff')",
    )
    with HostileDatabase(strange, "it", wants=WANTS) as database:
        expected = {"text": "a", "number": "1", "2.5": "3.5", "blob": "\udcff"}
        assert database.properties() == expected


def test_no_properties_is_no_fault() -> None:
    """A database without that table has no properties."""
    with HostileDatabase(altered(HONEST, "DROP TABLE properties"), "it", wants=WANTS) as database:
        assert database.properties() == {}


def test_one_thread_opens_and_another_reads() -> None:
    """A database may be handed from thread to thread."""
    found: list[int] = []
    with HostileDatabase(HONEST, "it", wants=WANTS) as database:
        thread = threading.Thread(target=lambda: found.append(len(list(database.rows(COUNT)))))
        thread.start()
        thread.join()
    assert found == [50]


def test_closing_twice_is_harmless() -> None:
    """Leaving the context closes, close may be repeated, and reading afterwards is refused."""
    with HostileDatabase(HONEST, "it", wants=WANTS) as database:
        pass
    with pytest.raises(FormatError):
        list(database.rows(COUNT))
    database.close()


# --- what stands behind a name ----------------------------------------------------------------


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER TABLE chunks RENAME TO other", "CREATE VIEW chunks AS SELECT * FROM other"),
        ("DROP TABLE chunks", "CREATE VIEW chunks AS SELECT randomblob(1000000000) AS hash"),
        ("DROP TABLE chunks", VIRTUAL),
    ],
)
def test_only_tables_are_read(statements: tuple[str, ...], tmp_path: Path) -> None:
    """A view or a virtual table that stands where a table should is refused."""
    hostile = altered(HONEST, *statements)
    for content in (hostile, file_of(hostile, tmp_path)):
        with pytest.raises(FormatError, match="chunks is not a plain table"):
            read(content)


def test_what_is_refused_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is refused for its schema leaves nothing open."""
    opened: list[sqlite3.Connection] = []
    hostile = altered(HONEST, "DROP TABLE chunks", VIRTUAL)

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


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_computed_columns_are_refused(kind: str) -> None:
    """A column that is an expression is not data."""
    hostile = altered(
        HONEST,
        "DROP TABLE chunks",
        f"CREATE TABLE chunks (a BLOB, hash BLOB AS (zeroblob(a)) {kind})",
    )
    with pytest.raises(FormatError, match="chunks has computed columns"):
        read(hostile)


def test_hostile_tables_that_nobody_reads_do_no_harm() -> None:
    """Views and tables with other names may be there; nothing of them is run."""
    odd = altered(
        HONEST,
        "CREATE VIEW other AS SELECT * FROM catalog",
        "CREATE TABLE computed (a, b AS (a + 1))",
    )
    assert read(odd) == 50


def test_triggers_never_run() -> None:
    """Nothing is written, so a trigger has nothing to answer to."""
    trigger = "CREATE TRIGGER boom AFTER INSERT ON catalog BEGIN DELETE FROM catalog; END"
    assert read(altered(HONEST, trigger)) == 50


@pytest.mark.parametrize("query", FORBIDDEN)
def test_nothing_but_reading_wanted_tables_is_allowed(query: str) -> None:
    """Queries call no function, read no other table, recurse, write or change a setting."""
    with (
        HostileDatabase(HONEST, "it", wants=WANTS) as database,
        pytest.raises(FormatError, match=r"not authorized|prohibited|denied"),
    ):
        list(database.rows(query))


def test_every_safety_catch_is_on(tmp_path: Path) -> None:
    """Behind the authorizer SQLite's own catches are on as well."""
    with HostileDatabase(file_of(HONEST, tmp_path), "it", wants=WANTS) as database:
        connection = database._connection
        connection.set_authorizer(None)
        names = ("trusted_schema", "query_only", "cell_size_check", "mmap_size")
        settings = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        assert settings == [0, 1, 1, 0]
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 0


# --- how much ---------------------------------------------------------------------------------


def test_work_is_bounded() -> None:
    """A query whose work has no relation to the size of the file is stopped."""
    query = (
        "SELECT a.name FROM catalog a, catalog b, catalog c, catalog d, catalog e, catalog f"
        " WHERE a.size + b.size + c.size + d.size + e.size + f.size = 1"
    )
    with (
        HostileDatabase(HONEST, "it", wants=WANTS) as database,
        pytest.raises(FormatError, match="interrupted"),
    ):
        list(database.rows(query))


def test_bound_on_work_grows_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that is too much for a small file is allowed in a large one."""
    monkeypatch.setattr(module, "_OPERATIONS_A_CHECK", 1)
    monkeypatch.setattr(module, "_CHECKS_A_BYTE", 1)
    query = "SELECT a.name FROM catalog a, catalog b, catalog c WHERE a.size + b.size + c.size = 1"
    large = altered(HONEST, "CREATE TABLE filling (x)", *[FILLING] * 5)
    with HostileDatabase(large, "it", wants=WANTS) as database:
        assert list(database.rows(query)) == []
    with (
        HostileDatabase(HONEST, "it", wants=WANTS) as database,
        pytest.raises(FormatError, match="interrupted"),
    ):
        list(database.rows(query))


def test_large_values_are_refused(tmp_path: Path) -> None:
    """No single value may be larger than a mebibyte."""
    hostile = altered(HONEST, "UPDATE catalog SET name = zeroblob(1048577)")
    for content in (hostile, file_of(hostile, tmp_path)):
        with pytest.raises(FormatError, match="too big"):
            read(content)


def test_out_of_memory_is_a_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not fit into memory is refused, and its connection is closed."""
    opened: list[sqlite3.Connection] = []

    class Tiny(sqlite3.Connection):
        def deserialize(self, *_: object, **__: object) -> None:
            opened.append(self)
            raise MemoryError

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=Tiny))
    with pytest.raises(FormatError, match="it is too large"):
        read(HONEST)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"SQLite format 3", b"SQLite format 4\0" + HONEST[16:]])
def test_other_files_are_refused(content: bytes) -> None:
    """What does not begin like an SQLite file is none."""
    with pytest.raises(FormatError, match="does not begin like one"):
        read(content)


def test_other_files_on_disk_are_refused(tmp_path: Path) -> None:
    """The same holds for files on disk, whatever their length."""
    for content in (b"nonsense", b"nonsense" * 1000):
        with pytest.raises(FormatError, match="not a sound SQLite file"):
            read(file_of(content, tmp_path))


@pytest.mark.parametrize("length", [17, 100, 512, 4096, 4097, len(HONEST) - 4096])
def test_files_cut_short_are_refused(length: int, tmp_path: Path) -> None:
    """A database without all its pages is not sound."""
    for content in (HONEST[:length], file_of(HONEST[:length], tmp_path)):
        with pytest.raises(FormatError, match="not a sound SQLite file"):
            read(content)


def test_write_ahead_mode_leaves_no_traces(tmp_path: Path) -> None:
    """A header that asks for a write-ahead log creates no file beside the database."""
    hostile = HONEST[:18] + b"\2\2" + HONEST[20:]
    file = file_of(hostile, tmp_path)
    assert read(file) == 50
    assert list(tmp_path.iterdir()) == [file]
    with pytest.raises(FormatError, match="not a sound SQLite file"):
        read(hostile)


def test_a_log_beside_the_file_is_not_played(tmp_path: Path) -> None:
    """Journals that lie beside a database are not ours and are not read."""
    file = file_of(HONEST, tmp_path)
    for suffix in ("-journal", "-wal"):
        file.with_name(file.name + suffix).write_bytes(b"nonsense" * 1000)
    assert read(file) == 50


def test_damaged_schema_is_quoted_safely() -> None:
    """What SQLite quotes of a damaged schema may be no text at all, and is still one line."""
    for name in (b"\xff\xfe", b"\n\x1b["):
        hostile = altered(HONEST, "CREATE TABLE odd_name (x)").replace(b"odd_name (", b"odd_name )")
        survives(read, hostile.replace(b"odd_name", (name * 8)[:8]))
        with pytest.raises(FormatError, match="not a sound SQLite file"):
            read(hostile.replace(b"odd_name", (name * 8)[:8]))


@given(st.binary() | mutated(HONEST) | overwritten(HONEST))
def test_any_bytes_are_a_database_or_refused(content: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(read, content)


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"), [(b"abc", "abc"), (b"\xff", "\udcff"), (5, "5"), (2.5, "2.5")]
)
def test_text_and_numbers_are_text(value: object, expected: str) -> None:
    """SQLite converts between the two, and so do we; bytes that are not UTF-8 survive."""
    assert text(value, "it") == expected


def test_null_is_no_text() -> None:
    """A NULL where text should be is refused."""
    with pytest.raises(FormatError, match="it should be text, not NoneType"):
        text(None, "it")


@pytest.mark.parametrize(("value", "expected"), [(5, 5), (-1, -1), (None, 0)])
def test_integers_are_integers(value: object, expected: int) -> None:
    """NULL counts as 0, as SQLite has it."""
    assert integer(value, "it") == expected


@pytest.mark.parametrize("value", [b"5", 2.5, b"x" * 1000])
def test_other_values_are_no_integers(value: object) -> None:
    """Text and fractions are refused, and quoted in short."""
    with pytest.raises(FormatError, match="it should be a whole number") as refused:
        integer(value, "it")
    assert len(str(refused.value)) < 100


def test_hashes_are_kept_as_text() -> None:
    """A hash as text gets the suffix of its role."""
    name = ContentHash(Algorithm.RMD160, b"\xaa" * 20, Suffix.CATALOG)
    assert hash_text(name.text.encode(), "it", Suffix.CATALOG) == name


@pytest.mark.parametrize("value", [None, b"", b"x", 5, b"\xaa" * 20])
def test_other_values_are_no_hashes(value: object) -> None:
    """Everything else is refused under the name of the field."""
    with pytest.raises(FormatError, match=r"^it: "):
        hash_text(value, "it", Suffix.CATALOG)
