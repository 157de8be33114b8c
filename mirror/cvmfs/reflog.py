"""The reflog: every root this replica has held, the basis of garbage collection (contract B.9).

Unlike all other databases this one is ours. It is small (a row a revision), so it is changed in
memory and written whole, which makes it as transactional as the rename that replaces the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.database import HostileDatabase, hash_text, integer
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import REFLOG
from mirror.errors import FormatError

_TABLES: Final = frozenset({"refs", "properties"})


class RefType(IntEnum):
    """What a reference refers to; the numbers are those in the file."""

    CATALOG = 0
    CERTIFICATE = 1
    HISTORY = 2
    META_INFO = 3

    @property
    def suffix(self) -> Suffix:
        """The suffix of such an object."""
        return _SUFFIXES[self]


_SUFFIXES: Final = {
    RefType.CATALOG: Suffix.CATALOG,
    RefType.CERTIFICATE: Suffix.CERTIFICATE,
    RefType.HISTORY: Suffix.HISTORY,
    RefType.META_INFO: Suffix.META_INFO,
}
_TYPES: Final = {suffix: kind for kind, suffix in _SUFFIXES.items()}


@dataclass(frozen=True, slots=True)
class Reflog:
    """References with the time each was last added.

    Attributes:
        fqrn: whose.
        refs: root catalogs, certificates, histories and meta infos → Unix time.
    """

    fqrn: Fqrn
    refs: dict[ContentHash, int]

    @classmethod
    def empty(cls, fqrn: Fqrn) -> Reflog:
        """The reflog of a replica before its first snapshot."""
        return cls(fqrn, {})

    @classmethod
    def parse(cls, raw: bytes, fqrn: Fqrn) -> Reflog:
        """Read the file.

        Raises:
            FormatError: not a reflog, or that of another repository.
        """
        with HostileDatabase(raw, REFLOG, wants=_TABLES) as database:
            if "refs" not in database.columns:
                raise FormatError(f"{REFLOG} has no table 'refs'")
            name = database.properties().get("fqrn", "")
            if name != fqrn.name:
                raise FormatError(f"{REFLOG} belongs to {name!r:.120}, not to {fqrn}")
            refs = {}
            for digits, kind, timestamp in database.rows("SELECT hash, type, timestamp FROM refs"):
                number = integer(kind, f"{REFLOG}: type")
                if not 0 <= number < len(RefType):
                    raise FormatError(f"{REFLOG} has a reference of unknown type {number}")
                suffix = RefType(number).suffix
                content_hash = hash_text(digits, f"{REFLOG}: hash", suffix)
                refs[content_hash] = integer(timestamp, f"{REFLOG}: timestamp")
        return cls(fqrn, refs)

    def with_added(
        self, roots: Iterable[ContentHash], others: Iterable[ContentHash], now: int
    ) -> Reflog:
        """A reflog that also holds these.

        A root catalog keeps the time it first came; certificate, history and meta info take
        ``now`` each time they are current, since their age decides whether they are collected.
        """
        refs = dict(self.refs)
        for root in roots:
            refs.setdefault(root, now)
        refs.update(dict.fromkeys(others, now))
        return Reflog(self.fqrn, refs)

    def serialize(self) -> bytes:
        """The file: the schema that the reference implementation creates and expects."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.execute(
                "CREATE TABLE properties (key TEXT, value TEXT, "
                "CONSTRAINT pk_properties PRIMARY KEY (key))"
            )
            connection.execute(
                "CREATE TABLE refs (hash TEXT, type INTEGER, timestamp INTEGER, "
                "CONSTRAINT pk_refs PRIMARY KEY (hash))"
            )
            connection.executemany(
                "INSERT INTO properties VALUES (?, ?)",
                [("schema", "1.0"), ("schema_revision", "0"), ("fqrn", self.fqrn.name)],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO refs VALUES (?, ?, ?)",
                [
                    (content_hash.text, int(_TYPES[content_hash.suffix]), timestamp)
                    for content_hash, timestamp in self.refs.items()
                ],
            )
            return connection.serialize()
