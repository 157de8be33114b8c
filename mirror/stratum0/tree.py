"""The whole repository while it changes, in a temporary database: 10⁷ entries need no memory.

A publication loads the entries that are published now, lays the new ones over them, removes what is
gone, and asks which directories changed; `catalogs` then writes only the catalogs concerned. What
counts is how it ends: an entry that was something else for a while has not changed. Rows are keyed
by path, so that a subtree is a range: everything below ``/a`` lies between ``/a/`` and ``/a0``, the
byte behind the slash.
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
    chunks BLOB, links BLOB, is_kept INTEGER, is_loaded INTEGER
) WITHOUT ROWID;
CREATE INDEX by_parent ON entries (parent);
CREATE INDEX by_links ON entries (links) WHERE links IS NOT NULL;
CREATE TABLE replaced (
    path BLOB PRIMARY KEY, parent BLOB, flags INTEGER, hash BLOB, size INTEGER, mode INTEGER,
    mtime INTEGER, mtimens INTEGER, symlink BLOB, uid INTEGER, gid INTEGER, xattr BLOB,
    chunks BLOB, links BLOB
) WITHOUT ROWID;
CREATE VIEW differences AS
    SELECT 'added' AS kind, path, parent, flags FROM entries
        WHERE NOT is_loaded AND NOT EXISTS (SELECT 1 FROM replaced WHERE path = entries.path)
    UNION ALL
    SELECT 'removed', path, parent, flags FROM replaced
        WHERE NOT EXISTS (SELECT 1 FROM entries WHERE path = replaced.path)
    UNION ALL
    SELECT 'changed', path, now.parent, now.flags | old.flags
        FROM entries AS now JOIN replaced AS old USING (path) WHERE
        (now.flags, now.hash, now.size, now.mode, now.mtime, ifnull(now.mtimens, 0), now.symlink,
         now.uid, now.gid, now.xattr, now.chunks, now.links) IS NOT
        (old.flags, old.hash, old.size, old.mode, old.mtime, ifnull(old.mtimens, 0), old.symlink,
         old.uid, old.gid, old.xattr, old.chunks, old.links);
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
_MARKS: Final = ", ".join("?" * len(Row._fields))


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

    # --- filling ----------------------------------------------------------------------------------

    def load(self, rows: Iterable[Row]) -> None:
        """Take in what is published now."""
        self._database.executemany(
            f"INSERT INTO entries ({_COLUMNS}, parent, is_kept, is_loaded)"  # noqa: S608 - our own columns
            f" VALUES ({_MARKS}, ?, 0, 1)",
            ((*row, parent_of(row.path)) for row in rows),
        )

    def put(self, row: Row) -> None:
        """Lay a new entry over what is there, and keep it."""
        if self._insert("OR IGNORE", row):
            return
        before = self.get(row.path)
        assert before is not None
        if _is_same(before, row):
            self.keep(row.path)
            return
        self._set_aside("path = ?", row.path)
        if before.flags & DIRECTORY and not row.flags & DIRECTORY:
            self.remove_below(row.path)
        self._insert("OR REPLACE", row)

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
        self._drop("path = ?", path)

    def remove_below(self, path: bytes) -> None:
        """Remove everything below a directory."""
        self._drop("path > ? AND path < ?", path + b"/", path + b"0")

    def remove_unkept(self, base: bytes) -> None:
        """Remove what lies below ``base`` and was not put since the tree was loaded."""
        self._drop("path > ? AND path < ? AND NOT is_kept", base + b"/", base + b"0")

    def settle_links(self) -> None:
        """Name each file of several names after the first of those that it has now.

        Names may have gone, and newer files may have taken some of them: names that still share a
        file agree in everything.
        """
        found = self._database.execute(
            f"SELECT {_COLUMNS} FROM entries WHERE links IS NOT NULL"  # noqa: S608 - our own columns
        )
        names: dict[Row, list[bytes]] = {}
        for row in map(Row._make, found):
            shared = row._replace(path=parent_of(row.path), mtimens=row.mtimens or 0)
            names.setdefault(shared, []).append(row.path)
        for shared, paths in names.items():
            links = min(paths) if len(paths) > 1 else None
            if links != shared.links:
                for path in paths:
                    self.put(shared._replace(path=path, links=links))

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

    def changes(self) -> Changes:
        """How many entries differ from what was loaded."""
        counts = self._database.execute("SELECT kind, count(*) FROM differences GROUP BY kind")
        return Changes(**dict(counts.fetchall()))

    def changed_directories(self) -> set[bytes]:
        """The directories whose catalogs have other rows now than when the tree was loaded.

        An entry's row stands in its parent's catalog; a mount point's also in its own. A directory
        that comes or goes changes its parent's link count, which stands one higher.
        """
        query = "SELECT DISTINCT parent FROM differences"
        changed = {parent for (parent,) in self._database.execute(query)}
        query = "SELECT path FROM differences WHERE flags & 1"
        for (path,) in self._database.execute(query):
            changed |= {path, parent_of(parent_of(path))}
        return changed

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

    def _insert(self, otherwise: str, row: Row) -> bool:
        done = self._database.execute(
            f"INSERT {otherwise} INTO entries ({_COLUMNS}, parent, is_kept, is_loaded)"  # noqa: S608 - our own words
            f" VALUES ({_MARKS}, ?, 1, 0)",
            (*row, parent_of(row.path)),
        )
        return done.rowcount == 1

    def _set_aside(self, where: str, *values: bytes) -> None:
        """Remember what was loaded, before it goes."""
        self._database.execute(
            f"INSERT OR IGNORE INTO replaced ({_COLUMNS}, parent) SELECT {_COLUMNS}, parent"  # noqa: S608 - our own columns
            f" FROM entries WHERE is_loaded AND {where}",
            values,
        )

    def _drop(self, where: str, *values: bytes) -> None:
        self._set_aside(where, *values)
        self._database.execute(f"DELETE FROM entries WHERE {where}", values)  # noqa: S608 - our own words
