from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.paths import REFLOG
from mirror.cvmfs.reflog import Reflog, RefType
from mirror.errors import FormatError
from tests.support.databases import altered
from tests.support.fixture import REVISIONS
from tests.support.hostile import mutated, overwritten, survives

NAME = Fqrn("test.example.org")
REAL_NAME = Fqrn("software.example.org")
SUFFIXES = [kind.suffix for kind in RefType]


def ref(number: int, suffix: Suffix = Suffix.CATALOG) -> ContentHash:
    """The hash of something."""
    return ContentHash.of(Algorithm.SHA1, str(number).encode(), suffix)


HONEST = Reflog(NAME, {ref(number, suffix): number for number, suffix in enumerate(SUFFIXES)})
refs = st.dictionaries(
    st.builds(
        ContentHash,
        st.sampled_from(Algorithm),
        st.binary(min_size=20, max_size=20),
        st.sampled_from(SUFFIXES),
    ),
    st.integers(0, 2**63 - 1),
)


def content(raw: bytes) -> list[list[object]]:
    """Everything that is in a reflog, its schema included."""
    queries = [
        "SELECT type, name, sql FROM sqlite_master ORDER BY name",
        "SELECT * FROM properties ORDER BY key",
        "SELECT * FROM refs ORDER BY hash",
    ]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(raw)
        return [connection.execute(query).fetchall() for query in queries]


@given(refs)
def test_parse_inverts_serialize(refs: dict[ContentHash, int]) -> None:
    """What is written is what is read."""
    unique = {(name.text): (name, time) for name, time in refs.items()}
    reflog = Reflog(NAME, dict(unique.values()))
    assert Reflog.parse(reflog.serialize(), NAME) == reflog


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_reflogs_come_back_the_same(fixture_repository: Path, revision: str) -> None:
    """A real reflog read and written again has the same tables, properties and references."""
    raw = (fixture_repository / revision / REFLOG).read_bytes()
    assert content(Reflog.parse(raw, REAL_NAME).serialize()) == content(raw)


def test_empty_reflog() -> None:
    """A replica begins with no references at all."""
    assert Reflog.parse(Reflog.empty(NAME).serialize(), NAME).refs == {}


def test_types_are_those_in_the_file() -> None:
    """Catalogs are 0, certificates 1, histories 2 and meta infos 3."""
    assert "".join(RefType(number).suffix for number in range(4)) == "CXHM"


def test_roots_keep_their_time() -> None:
    """A root catalog that is added again is as old as it was."""
    reflog = Reflog(NAME, {ref(1): 100})
    assert reflog.with_added([ref(1), ref(2)], [], 200).refs == {ref(1): 100, ref(2): 200}


def test_others_take_the_time_they_are_current() -> None:
    """A certificate, history or meta info that is added again is as new as that."""
    old, other = ref(1, Suffix.CERTIFICATE), ref(2, Suffix.HISTORY)
    reflog = Reflog(NAME, {old: 100, other: 100})
    assert reflog.with_added([], [old], 200).refs == {old: 200, other: 100}


def test_adding_changes_nothing_before() -> None:
    """The reflog that was added to stays as it was."""
    reflog = Reflog.empty(NAME)
    reflog.with_added([ref(1)], [], 100)
    assert reflog.refs == {}


@pytest.mark.parametrize(
    "change", ["DELETE FROM properties", "UPDATE properties SET value = 'other'"]
)
def test_reflogs_of_others_are_refused(change: str) -> None:
    """A reflog names its repository, since it decides what is deleted."""
    with pytest.raises(FormatError, match=r"belongs to .*, not to test"):
        Reflog.parse(altered(HONEST.serialize(), change), NAME)


def test_no_refs_table_is_no_reflog() -> None:
    """A database of another kind is refused."""
    with pytest.raises(FormatError, match="no table 'refs'"):
        Reflog.parse(altered(HONEST.serialize(), "DROP TABLE refs"), NAME)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("hash = NULL", "hash should be text"),
        ("hash = 'x'", "hash: 'x' is no content hash"),
        ("type = 4", "unknown type 4"),
        ("type = -1", "unknown type -1"),
        ("type = 'x'", "type should be a whole number"),
        ("timestamp = 'x'", "timestamp should be a whole number"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(change: str, says: str) -> None:
    """SQLite keeps any value in any column; we do not take it."""
    with pytest.raises(FormatError, match=f"cvmfsreflog.*{says}"):
        Reflog.parse(altered(HONEST.serialize(), f"UPDATE refs SET {change} WHERE type = 1"), NAME)


@given(st.binary() | mutated(HONEST.serialize()) | overwritten(HONEST.serialize()))
def test_any_bytes_are_a_reflog_or_refused(raw: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(lambda content: Reflog.parse(content, NAME), raw)
