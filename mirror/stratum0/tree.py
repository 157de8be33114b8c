"""The whole repository while it changes, in a temporary database: 10⁷ entries need no memory.

A publication loads the entries that are published now, lays the new ones over them, removes what is
gone, and asks which directories changed; `catalogs` then writes only the catalogs concerned. Rows
are keyed by path, so that a subtree is a range: everything below ``/a`` lies between ``/a/`` and
``/a0``, the byte behind the slash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self

from mirror.stratum0.entry import DIRECTORY, ROOT, parent_of

_SCHEMA: Final = """
CREATE TABLE entries (
    path BLOB PRIMARY KEY, parent BLOB, flags INTEGER, hash BLOB, size INTEGER, mode INTEGER,
    mtime INTEGER, mtimens INTEGER, symlink BLOB, uid INTEGER, gid INTEGER, xattr BLOB,
    chunks BLOB, links BLOB, is_kept INTEGER DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX by_parent ON entries (parent);
CREATE TABLE changed (directory BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Row(NamedTuple):
    """An entry as the tree keeps it.

    Attributes:
        path: below the root.
        flags: kind, algorithm, compression, chunks; nothing about nesting.
        hash: digest of the content; None if there is none, or it is in chunks.
        size: of a file's content; of a link's target; a device's number.
        mode: as stat tells.
        mtime: whole seconds.
        mtimens: what is behind the point; None if not known.
        symlink: where a symbolic link points.
        uid: owner.
        gid: group.
        xattr: packed; None for none.
        chunks: offset and size (8 bytes each) and digest of each piece, one after the other.
        links: the first of a file's names within its directory; None if it has but one there.
    """

    path: bytes
    flags: int
    hash: bytes | None
    size: int
    mode: int
    mtime: int
    mtimens: int | None
    symlink: bytes
    uid: int
    gid: int
    xattr: bytes | None
    chunks: bytes
    links: bytes | None


_COLUMNS: Final = ", ".join(Row._fields)


@dataclass(slots=True)
class Changes:
    """How many entries a publication touched."""

    added: int = 0
    changed: int = 0
    removed: int = 0

    def __bool__(self) -> bool:
        """Whether there was anything."""
        return bool(self.added or self.changed or self.removed)


def _is_same(before: Row, now: Row) -> bool:
    """Whether a client sees no difference: what is not known of a second is shown as nothing."""
    return before == now or before._replace(mtimens=before.mtimens or 0) == now._replace(
        mtimens=now.mtimens or 0
    )


class Tree:
    """Entries by path; use as a context manager."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript("PRAGMA journal_mode = OFF; PRAGMA cache_size = -65536;")
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")
        self.changes = Changes()

    # --- filling ----------------------------------------------------------------------------------

    def load(self, rows: Iterable[Row]) -> None:
        """Take in what is published now."""
        self._database.executemany(
            f"INSERT INTO entries ({_COLUMNS}, parent) VALUES ({'?, ' * len(Row._fields)}?)",  # noqa: S608 - our own columns
            ((*row, parent_of(row.path)) for row in rows),
        )

    def put(self, row: Row) -> None:
        """Lay a new entry over what is there, and keep it."""
        before = self.get(row.path)
        if before is not None and _is_same(before, row):
            self.keep(row.path)
            return
        if before is None:
            self.changes.added += 1
        else:
            self.changes.changed += 1
            if before.flags & DIRECTORY and not row.flags & DIRECTORY:
                self.remove_below(row.path)
        self._database.execute(
            f"INSERT OR REPLACE INTO entries ({_COLUMNS}, parent, is_kept)"  # noqa: S608 - our own columns
            f" VALUES ({'?, ' * len(Row._fields)}?, 1)",
            (*row, parent_of(row.path)),
        )
        self._touch(row)

    def keep(self, path: bytes) -> None:
        """Leave an entry as it is: `remove_unkept` is to spare it."""
        self._database.execute("UPDATE entries SET is_kept = 1 WHERE path = ?", (path,))

    def is_kept(self, path: bytes) -> bool:
        """Whether an entry was put or kept since the tree was loaded."""
        query = "SELECT 1 FROM entries WHERE path = ? AND is_kept"
        return self._database.execute(query, (path,)).fetchone() is not None

    def remove(self, path: bytes) -> None:
        """Remove an entry and everything below it."""
        self.remove_below(path)
        row = self.get(path)
        if row is not None:
            self._drop([row])

    def remove_below(self, path: bytes) -> None:
        """Remove everything below a directory."""
        self._drop(self._range(path))

    def remove_unkept(self, base: bytes) -> None:
        """Remove what lies below ``base`` and was not put since the tree was loaded."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE path > ? AND path < ? AND NOT is_kept",  # noqa: S608 - our own columns
            (base + b"/", base + b"0"),
        )
        self._drop([Row(*row) for row in rows])

    # --- reading ----------------------------------------------------------------------------------

    def get(self, path: bytes) -> Row | None:
        """The entry at a path."""
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE path = ?",  # noqa: S608 - our own columns
            (path,),
        ).fetchone()
        return None if found is None else Row(*found)

    def catalog_rows(self, mount: bytes, nested: Iterable[bytes]) -> Iterator[Row]:
        """The entries of one catalog: its mount point, and below it as far as no other begins.

        Args:
            mount: where it begins.
            nested: the mount points right below it; their own entries are among the rows.
        """
        top = self.get(mount)
        if top is not None:
            yield top
        position = mount + b"/"
        for each in sorted(path + b"/" for path in nested):
            yield from self._between(position, each)
            position = each[:-1] + b"0"
        yield from self._between(position, mount + b"0")

    def directories(self) -> dict[bytes, int]:
        """Every directory, and how many entries lie directly in it."""
        counts = dict(
            self._database.execute("SELECT parent, count(*) FROM entries GROUP BY parent")
        )
        found = self._database.execute("SELECT path FROM entries WHERE flags & 1")
        return {path: counts.get(path, 0) for (path,) in found}

    def named(self, name: bytes) -> set[bytes]:
        """The directories that hold an entry of this name."""
        tail = b"/" + name
        found = self._database.execute(
            "SELECT parent FROM entries WHERE substr(path, -length(?)) = ?", (tail, tail)
        )
        return {parent for (parent,) in found}

    def subdirectories(self, path: bytes) -> int:
        """How many directories lie directly in one."""
        query = "SELECT count(*) FROM entries WHERE parent = ? AND flags & 1 AND path <> ?"
        (count,) = self._database.execute(query, (path, ROOT)).fetchone()
        return int(count)

    def changed_directories(self) -> set[bytes]:
        """The directories whose catalogs have other rows now than when the tree was loaded."""
        return {path for (path,) in self._database.execute("SELECT directory FROM changed")}

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _between(self, first: bytes, end: bytes) -> Iterator[Row]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE path >= ? AND path < ? ORDER BY path",  # noqa: S608 - our own columns
            (first, end),
        )
        for row in rows:
            yield Row(*row)

    # --- inside -----------------------------------------------------------------------------------

    def _range(self, path: bytes) -> list[Row]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE path > ? AND path < ?",  # noqa: S608 - our own columns
            (path + b"/", path + b"0"),
        )
        return [Row(*row) for row in rows]

    def _drop(self, rows: list[Row]) -> None:
        for row in rows:
            self.changes.removed += 1
            self._touch(row)
        paths = ((row.path,) for row in rows)
        self._database.executemany("DELETE FROM entries WHERE path = ?", paths)

    def _touch(self, row: Row) -> None:
        """An entry's row stands in its parent's catalog; a mount point's also in its own.

        A directory that comes or goes changes its parent's link count, which stands one higher.
        """
        directories = {parent_of(row.path)}
        if row.flags & DIRECTORY:
            directories |= {row.path, parent_of(parent_of(row.path))}
        self._database.executemany(
            "INSERT OR IGNORE INTO changed VALUES (?)", ((each,) for each in directories)
        )
