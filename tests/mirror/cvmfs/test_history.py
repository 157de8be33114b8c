from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.history import Tag, read_history
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, object_path
from mirror.errors import FormatError, NameMismatch
from tests.support.databases import altered, history_database
from tests.support.fixture import REVISIONS
from tests.support.hostile import mutated, overwritten, survives

NAME = Fqrn("test.example.org")
ROOT = ContentHash.of(Algorithm.SHAKE128, b"", Suffix.CATALOG)
TAGS = [Tag(f"v{number}", ROOT, number, 1_700_000_000 + number, "why") for number in range(3)]
HONEST = history_database(NAME.name, TAGS)
words = st.text(st.characters(codec="utf-8"))


def read(content: bytes) -> list[Tag]:
    """The tags of our repository."""
    return read_history(content, NAME)


def test_newest_revision_comes_first(tmp_path: Path) -> None:
    """Tags are listed from the newest, from memory or from a file."""
    (tmp_path / "history").write_bytes(HONEST)
    assert read(HONEST) == TAGS[::-1]
    assert read_history(tmp_path / "history", NAME) == TAGS[::-1]


def test_tags_of_one_revision_are_sorted_by_name() -> None:
    """The order of tags does not depend on the file."""
    tags = [Tag(name, ROOT, 1, 0, "") for name in ("b", "a", "c")]
    assert [tag.name for tag in read(history_database(NAME.name, tags))] == ["a", "b", "c"]


@pytest.mark.parametrize("revision", range(4))
def test_every_schema_is_read(revision: int) -> None:
    """Sizes and branches came later, and are not needed."""
    assert read(history_database(NAME.name, TAGS, schema_revision=revision)) == TAGS[::-1]


@given(words, st.integers(0, 2**63 - 1), words)
def test_parse_inverts_format(name: str, revision: int, description: str) -> None:
    """What a publisher wrote is what is read."""
    tag = Tag(name, ROOT, revision, 0, description)
    assert read(history_database(NAME.name, [tag])) == [tag]


def test_missing_description_is_empty() -> None:
    """A tag need not be described."""
    assert read(altered(HONEST, "UPDATE tags SET description = NULL"))[0].description == ""


def test_histories_of_others_are_refused() -> None:
    """A history names its repository."""
    with pytest.raises(NameMismatch, match=r"belongs to 'other\.example\.org'"):
        read(history_database("other.example.org", TAGS))


def test_unnamed_histories_are_accepted() -> None:
    """One that names none is vouched for by the manifest alone."""
    assert read(altered(HONEST, "DELETE FROM properties")) == TAGS[::-1]


def test_no_tags_table_is_no_history() -> None:
    """A database of another kind is refused."""
    with pytest.raises(FormatError, match="no table 'tags'"):
        read(altered(HONEST, "DROP TABLE tags"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("name = NULL", "a tag's name should be text"),
        ("hash = NULL", "a tag's hash should be text"),
        ("hash = 'x'", "a tag's hash: 'x' is no content hash"),
        ("revision = 'x'", "a tag's revision should be a whole number"),
        ("timestamp = 1.5", "a tag's time should be a whole number"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(change: str, says: str) -> None:
    """SQLite keeps any value in any column; we do not take it."""
    with pytest.raises(FormatError, match=f"the history: {says}"):
        read(altered(HONEST, f"UPDATE tags SET {change} WHERE name = 'v1'"))


def test_tags_have_a_limit() -> None:
    """As many tags as the limit allows, and not one more."""
    assert len(read_history(HONEST, NAME, Limits(tags=3))) == 3
    with pytest.raises(FormatError, match="more than 2 tags"):
        read_history(HONEST, NAME, Limits(tags=2))


@pytest.mark.parametrize("revision", REVISIONS)
def test_real_histories(fixture_repository: Path, revision: str) -> None:
    """The tags that the real publisher made are there, among those it made by itself."""
    directory = fixture_repository / revision
    history = Manifest.parse((directory / MANIFEST).read_bytes()).history
    assert history is not None
    content = zlib.decompress((directory / object_path(history)).read_bytes())
    number = int(revision[3:])
    made = {"v1.0": number >= 2, "v1.1": 3 <= number <= 6, "v2.0": number >= 5}
    names = {tag.name for tag in read_history(content, Fqrn("software.example.org"))}
    assert {name: name in names for name in made} == made


@given(st.binary() | mutated(HONEST) | overwritten(HONEST))
def test_any_bytes_are_a_history_or_refused(content: bytes) -> None:
    """No bytes make it fail in another way."""
    survives(read, content)


def test_sizes_of_roots_are_read_where_there_are_any() -> None:
    """They bound what is fetched for a tag; an old history, or a zero, says nothing."""
    sized = altered(HONEST, "UPDATE tags SET size = 57344 WHERE name = 'v1'")
    assert [tag.root_bytes for tag in read(sized)] == [None, 57_344, None]
