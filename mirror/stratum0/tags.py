"""The history: named revisions, and the automatic ones (contract B.8).

``trunk`` is always the newest revision and ``trunk-previous`` the one before. A publication that is
given no name of its own gets ``generic-<date>``, so that every revision stays reachable until
somebody removes its tag and collects.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, integer, text
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError, FormatError

TRUNK: Final = "trunk"
TRUNK_PREVIOUS: Final = "trunk-previous"
_RESERVED: Final = frozenset({TRUNK, TRUNK_PREVIOUS})
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,255}", re.ASCII)
_TABLES: Final = frozenset({"tags", "properties"})

_SCHEMA: Final = """
CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key));
CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER,
    CONSTRAINT pk_branch PRIMARY KEY (branch),
    FOREIGN KEY (parent) REFERENCES branches (branch),
    CHECK ((branch <> '') OR (parent IS NULL)),
    CHECK ((branch = '') OR (parent IS NOT NULL)));
CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER,
    description TEXT, size INTEGER, branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name),
    FOREIGN KEY (branch) REFERENCES branches (branch));
CREATE TABLE recycle_bin (hash TEXT, flags INTEGER, CONSTRAINT pk_hash PRIMARY KEY (hash));
INSERT INTO properties VALUES ('schema', '1.0'), ('schema_revision', '3');
INSERT INTO branches VALUES ('', NULL, 0);
"""


@dataclass(frozen=True, slots=True)
class NamedRevision:
    """A row of the table of tags.

    Attributes:
        name: of the tag.
        root: its root catalog.
        root_bytes: of that, unpacked.
        revision: its number.
        timestamp: when it was published, Unix time.
        description: in the publisher's words.
    """

    name: str
    root: ContentHash
    root_bytes: int
    revision: int
    timestamp: int
    description: str = ""


class Tags:
    """The tags of a repository by name; immutable, changes give new ones."""

    def __init__(self, rows: Iterable[NamedRevision] = ()) -> None:
        self._rows: Mapping[str, NamedRevision] = {row.name: row for row in rows}

    @property
    def rows(self) -> tuple[NamedRevision, ...]:
        """All of them, newest first."""
        return tuple(sorted(self._rows.values(), key=lambda row: (-row.revision, row.name)))

    def published(self, head: NamedRevision, name: str | None, message: str) -> Tags:
        """With a new head.

        Raises:
            ConfigError: ``name`` is taken, or no name for a tag.
        """
        rows = dict(self._rows)
        if TRUNK in rows and rows[TRUNK].root != head.root:
            rows[TRUNK_PREVIOUS] = _renamed(rows[TRUNK], TRUNK_PREVIOUS, "default undo target")
        rows[TRUNK] = _renamed(head, TRUNK, "current HEAD")
        if name is None:
            generic = _automatic_name(head.timestamp, rows)
            rows[generic] = _renamed(head, generic, "")
            return Tags(rows.values())
        return Tags(rows.values()).with_tag(_renamed(head, name, message))

    def with_tag(self, row: NamedRevision) -> Tags:
        """With one more.

        Raises:
            ConfigError: the name is taken, or none for a tag.
        """
        _require_free_name(row.name)
        if row.name in self._rows:
            raise ConfigError([f"the tag {row.name} exists already; remove it first"])
        return Tags([*self._rows.values(), row])

    def without(self, names: Iterable[str]) -> Tags:
        """With fewer.

        Raises:
            ConfigError: one of them is not there, or not ours to remove.
        """
        rows = dict(self._rows)
        for name in names:
            _require_free_name(name)
            if rows.pop(name, None) is None:
                raise ConfigError([f"there is no tag {name}"])
        return Tags(rows.values())

    # --- as a database ----------------------------------------------------------------------------

    @classmethod
    def read(cls, content: bytes, fqrn: Fqrn) -> Tags:
        """Read an unpacked history.

        Raises:
            FormatError: it is none, or another repository's.
        """
        with HostileDatabase(content, "the history", wants=_TABLES) as database:
            if database.properties().get("fqrn") != fqrn.name:
                raise FormatError(f"the history does not belong to {fqrn}")
            columns = database.columns.get("tags", frozenset())
            size = "size" if "size" in columns else "0"
            return cls(
                NamedRevision(
                    text(name, "a tag's name"),
                    ContentHash.parse(text(root, "a tag's hash"), Suffix.CATALOG),
                    integer(root_bytes, "a tag's size"),
                    integer(revision, "a tag's revision"),
                    integer(timestamp, "a tag's time"),
                    "" if description is None else text(description, "a description"),
                )
                for name, root, root_bytes, revision, timestamp, description in list(
                    database.rows(
                        f"SELECT name, hash, {size}, revision, timestamp, description FROM tags"  # noqa: S608 - two literals
                    )
                )
            )

    def serialize(self, fqrn: Fqrn, previous: ContentHash | None) -> bytes:
        """The database, with the schema that the reference creates and expects."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            properties = [("fqrn", fqrn.name)]
            if previous is not None:
                properties.append(("previous_revision", previous.text))
            database.executemany("INSERT INTO properties VALUES (?, ?)", properties)
            database.executemany(
                "INSERT INTO tags VALUES (?, ?, ?, ?, 0, ?, ?, '')",
                (
                    (
                        *(row.name, row.root.text, row.revision, row.timestamp),
                        *(row.description, row.root_bytes),
                    )
                    for row in self.rows
                ),
            )
            return database.serialize()


def _automatic_name(timestamp: int, taken: Collection[str]) -> str:
    """The date; with a number, as the reference counts, for a second one in the same second."""
    when = f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"
    names = chain([f"generic-{when}"], (f"generic_{number}-{when}" for number in count(1)))
    return next(name for name in names if name not in taken)


def _renamed(row: NamedRevision, name: str, description: str) -> NamedRevision:
    return NamedRevision(name, row.root, row.root_bytes, row.revision, row.timestamp, description)


def _require_free_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError([f"{name!r} is no name for a tag: letters, digits and _ . : - are"])
    if name in _RESERVED:
        raise ConfigError([f"the tag {name} follows the newest revision by itself"])
