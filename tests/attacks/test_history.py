"""The history: signed for, and no list of our tags."""

from __future__ import annotations

import zlib

import pytest

from mirror.cvmfs.content_hash import Suffix
from tests.support.databases import altered, catalog_database, history_database
from tests.support.siege import FQRN, Siege


def offer_history(siege: Siege, stored: bytes) -> None:
    """Let the publisher sign these stored bytes as the history of the offer."""
    name = siege.repository.add_object(stored, Suffix.HISTORY, is_packed=False)
    siege.repository.resign(H=name.text)


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        (b"", "cut short"),
        (b"<html></html>", "not a zlib stream"),
        (zlib.compress(b"<html></html>"), "not a sound SQLite file"),
        (zlib.compress(history_database(FQRN, [])) + b"more", "behind the end"),
        (zlib.compress(catalog_database()), "no table 'tags'"),
        (
            zlib.compress(altered(history_database(FQRN, []), "ALTER TABLE tags RENAME TO t")),
            "no table 'tags'",
        ),
    ],
    ids=["nothing", "unpacked page", "page", "more", "catalog", "no tags"],
)
def test_no_history_at_all(siege: Siege, stored: bytes, word: str) -> None:
    """What does not open as a history is refused before anything is fetched for it."""
    offer_history(siege, stored)
    siege.assert_repelled(4, "FormatError", "the history", word)
    siege.assert_recovers()


def test_of_another_repository(siege: Siege) -> None:
    """Tags of another repository are none of ours."""
    offer_history(siege, zlib.compress(history_database("other.example.org", [])))
    siege.assert_repelled(4, "NameMismatch", "the history", "other.example.org")
    siege.assert_recovers()


@pytest.mark.parametrize("digits", ["'../../etc/passwd'", "NULL", "zeroblob(20)", "''"])
def test_tag_that_names_no_catalog(siege: Siege, digits: str) -> None:
    """A tag names a root catalog by its hash, and no other path can come out of it."""
    row = f"INSERT INTO tags (name, hash, revision, timestamp) VALUES ('t', {digits}, 1, 1)"
    offer_history(siege, zlib.compress(altered(history_database(FQRN, []), row)))
    siege.assert_repelled(4, "FormatError", "a tag's hash")
    siege.assert_recovers()


def test_endless_view(siege: Siege) -> None:
    """A view in the place of the table could name tags for ever."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT * FROM n"
    statements = "DROP TABLE tags", f"CREATE VIEW tags AS {endless}"
    offer_history(siege, zlib.compress(altered(history_database(FQRN, []), *statements)))
    siege.assert_repelled(4, "FormatError", "tags is not a plain table")
    siege.assert_recovers()
