"""SQLite files from outside, opened as the hostile input they are (contract B.7 to B.9).

A signed catalog is still a file that a stranger composed, and SQLite will run what its schema says.
So: tables only (no view, no virtual table, no generated column stands behind a name we read), an
authorizer that allows reading those tables and nothing else, no page of it written, a bound on the
work of every query and on the size of every value. A small database is never a file at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.errors import FormatError

Row = tuple[object, ...]

_MAGIC: Final = b"SQLite format 3\0"
_MAX_VALUE_BYTES: Final = 1024 * 1024
_OPERATIONS_A_CHECK: Final = 100_000
_CHECKS_A_BYTE: Final = 2_000
"""One check of 100,000 operations for each 2,000 bytes: 50 operations a byte, and honest catalogs
need fewer than one."""
_ROWS_AT_ONCE: Final = 1_000
_ALLOWED: Final = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ})


class HostileDatabase:
    """Read-only view of an SQLite file nobody vouches for.

    Text comes back as bytes, since names in CVMFS need not be UTF-8. May be handed from thread to
    thread, one at a time. Close it, or use it as a context manager.
    """

    def __init__(self, content: bytes | Path, what: str, *, wants: frozenset[str]) -> None:
        """Open and check the schema.

        Args:
            content: the whole file, or where it lies.
            what: the name of the thing, for errors.
            wants: the tables that will be read; those absent are in none of `columns`.

        Raises:
            FormatError: not an SQLite file, or one of ``wants`` is not a plain table.
        """
        self.what = what
        size_bytes = len(content) if isinstance(content, bytes) else content.stat().st_size
        with self._translated():
            self._connection = _open(content, what)
        try:
            with self._translated():
                self._bound_work(size_bytes)
                self.columns: Mapping[str, frozenset[str]] = self._plain_tables(wants)
                self._connection.set_authorizer(_authorizer(frozenset(self.columns)))
        except BaseException:
            self._connection.close()
            raise

    def rows(self, query: str, *parameters: object) -> Generator[Row, None, None]:
        """Rows of a query over the wanted tables, read a thousand at a time.

        Raises:
            FormatError: the file is damaged, or asks for more work than its size can justify.
        """
        with self._translated():
            cursor = self._connection.cursor()
            try:
                cursor.execute(query, parameters)
                while some := cursor.fetchmany(_ROWS_AT_ONCE):
                    yield from some
            finally:
                with suppress(sqlite3.ProgrammingError):  # its database was closed before it
                    cursor.close()

    def properties(self) -> dict[str, str]:
        """The table ``properties``, as far as it is text or numbers.

        Raises:
            FormatError: as `rows`.
        """
        if "properties" not in self.columns:
            return {}
        found = {}
        for key, value in self.rows("SELECT key, value FROM properties LIMIT 1000"):
            with suppress(FormatError):
                found[text(key, "a property's key")] = text(value, "a property")
        return found

    def close(self) -> None:
        """Let go of the file; harmless when repeated."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _bound_work(self, size_bytes: int) -> None:
        connection = self._connection
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE_BYTES)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA mmap_size = 0")
        checks_left = 1_000 + size_bytes // _CHECKS_A_BYTE

        def is_too_much() -> bool:
            nonlocal checks_left
            checks_left -= 1
            return checks_left < 0

        connection.set_progress_handler(is_too_much, _OPERATIONS_A_CHECK)

    def _plain_tables(self, wants: frozenset[str]) -> dict[str, frozenset[str]]:
        """The columns of each wanted table that is there, after a look at how it is defined."""
        tables: dict[str, frozenset[str]] = {}
        listing = "SELECT name, type, rootpage, sql FROM sqlite_master LIMIT 10000"
        for name, kind, root_page, definition in self._connection.execute(listing):
            # SQLite does not tell cases apart, so neither may we: a table overlooked is a tree
            # not replicated
            table = name.decode("ascii", "replace").lower() if isinstance(name, bytes) else ""
            if table not in wants:
                continue
            is_plain = (
                kind == b"table"
                and isinstance(root_page, int)
                and root_page > 0
                and isinstance(definition, bytes)
                and definition.upper().startswith(b"CREATE TABLE")
            )
            if not is_plain:
                raise FormatError(f"{self.what}: {table} is not a plain table")
            described = self._connection.execute(f'PRAGMA table_xinfo("{table}")').fetchall()
            if any(column[6] for column in described):
                raise FormatError(f"{self.what}: {table} has computed columns")
            tables[table] = frozenset(text(each[1], "a column").lower() for each in described)
        return tables

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            # the second when SQLite's message quotes a damaged schema that is not UTF-8
            said = repr(str(error))[1:-1]  # what it quotes may well be control characters
            raise FormatError(f"{self.what} is not a sound SQLite file: {said:.200}") from error
        except (MemoryError, OverflowError) as error:
            raise FormatError(f"{self.what} is too large to be opened") from error


def _open(content: bytes | Path, what: str) -> sqlite3.Connection:
    if isinstance(content, Path):
        uri = f"{content.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None)
    if not content.startswith(_MAGIC):
        raise FormatError(f"{what} is not a sound SQLite file: it does not begin like one")
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    try:
        connection.deserialize(content)
    except BaseException:
        connection.close()
        raise
    return connection


def _authorizer(tables: frozenset[str]) -> Callable[..., int]:
    def authorize(action: int, first: str | None, *_: str | None) -> int:
        if action not in _ALLOWED:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_READ and (first or "").lower() not in tables:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    return authorize


def text(value: object, what: str) -> str:
    """A text value; bytes that are not UTF-8 survive as surrogates.

    Raises:
        FormatError: if it is neither text nor a number.
    """
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    if isinstance(value, int | float):
        return str(value)
    raise FormatError(f"{what} should be text, not {type(value).__name__}")


def integer(value: object, what: str) -> int:
    """A whole number; NULL counts as 0, as SQLite's own conversion has it.

    Raises:
        FormatError: if it is none.
    """
    if value is None:
        return 0
    if isinstance(value, int):
        return value
    raise FormatError(f"{what} should be a whole number, not {value!r:.40}")


def hash_text(value: object, what: str, suffix: Suffix) -> ContentHash:
    """A content hash kept as text.

    Raises:
        FormatError: if it is none.
    """
    try:
        return ContentHash.parse(text(value, what), suffix)
    except FormatError as error:
        raise FormatError(f"{what}: {error}") from error
