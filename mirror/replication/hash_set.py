"""A set of content hashes that spills to a temporary file: a repository may have 10⁸ objects."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from mirror.cvmfs.content_hash import ContentHash


class HashSet:
    """Add, and ask; a few microseconds each."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("CREATE TABLE seen (hash BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, hashes: Iterable[ContentHash]) -> set[ContentHash]:
        """Add, and return those that were new; a few microseconds each."""
        return {
            each
            for each in hashes
            if self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", _key(each)).rowcount
        }

    def __contains__(self, content_hash: ContentHash) -> bool:
        """Whether it was added."""
        found = self._database.execute("SELECT 1 FROM seen WHERE hash = ?", _key(content_hash))
        return found.fetchone() is not None

    def close(self) -> None:
        """Forget everything."""
        self._database.close()


def _key(content_hash: ContentHash) -> tuple[bytes]:
    kind = b"%d%c" % (content_hash.algorithm, content_hash.suffix.encode() or b"-")
    return (kind + content_hash.digest,)
