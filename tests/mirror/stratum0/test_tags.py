"""Tags: the history as the reference writes it."""

from __future__ import annotations

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.history import Tag
from mirror.errors import ConfigError, FormatError
from mirror.stratum0.tags import NamedRevision, Tags
from tests.support.databases import altered, history_database

NAME = Fqrn("test.example.org")


def head(revision: int, algorithm: Algorithm = Algorithm.SHA1) -> NamedRevision:
    """A revision to be published."""
    root = ContentHash.of(algorithm, b"%d" % revision, Suffix.CATALOG)
    return NamedRevision("", root, 1000 + revision, revision, 1_700_000_000 + revision)


def names(tags: Tags) -> dict[str, int]:
    """Which revision each tag names."""
    return {row.name: row.revision for row in tags.rows}


def test_trunk_follows_and_the_one_before_is_remembered() -> None:
    """Each publication moves both."""
    tags = Tags().published(head(1), "v1", "").published(head(2), "v2", "two")
    assert names(tags) == {"trunk": 2, "v2": 2, "trunk-previous": 1, "v1": 1}
    assert {row.name: row.description for row in tags.rows} == {
        "trunk": "current HEAD",
        "trunk-previous": "default undo target",
        "v1": "",
        "v2": "two",
    }


def test_the_same_root_again_does_not_become_its_own_predecessor() -> None:
    """To go back would be to stay."""
    tags = Tags().published(head(1), "a", "").published(head(2), "b", "")
    assert names(tags.published(head(2), "c", ""))["trunk-previous"] == 1


def test_without_a_name_the_date_is_one() -> None:
    """And several publications of one second have one each."""
    tags = Tags()
    for _ in range(3):
        tags = tags.published(head(1), None, "")
    generic = {name for name in names(tags) if name.startswith("generic")}
    assert generic == {
        "generic-2023-11-14T22:13:21Z",
        "generic_1-2023-11-14T22:13:21Z",
        "generic_2-2023-11-14T22:13:21Z",
    }


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "a\n", "x" * 256, "trunk", "a;b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """Nor are those that the publisher moves itself, to add or to remove."""
    with pytest.raises(ConfigError):
        Tags().published(head(1), name, "")
    with pytest.raises(ConfigError):
        Tags().published(head(1), "v1", "").without([name])


def test_a_name_that_is_taken_is_refused() -> None:
    """It would move, and what it named could be swept."""
    with pytest.raises(ConfigError, match="v1 exists already; remove it first"):
        Tags().published(head(1), "v1", "").published(head(2), "v1", "")


def test_removing_all_or_none() -> None:
    """One name that is not there, and all stay."""
    tags = Tags().published(head(1), "v1", "")
    with pytest.raises(ConfigError, match="there is no tag v2"):
        tags.without(["v1", "v2"])
    assert "v1" in names(tags)
    assert "v1" not in names(tags.without(["v1"]))


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_a_history_comes_back(algorithm: Algorithm) -> None:
    """Serialized and read: all rows, descriptions of any text."""
    tags = Tags().published(head(1, algorithm), "v1", "größer 'x' \n").published(head(2), "b", "")
    assert Tags.read(tags.serialize(NAME, None), NAME).rows == tags.rows


@pytest.mark.parametrize("revision", range(4))
def test_histories_of_every_age_are_read(revision: int) -> None:
    """Those without sizes too."""
    root = ContentHash.of(Algorithm.SHA1, b"", Suffix.CATALOG)
    content = history_database(NAME.name, [Tag("v1", root, 3, 5, "x")], schema_revision=revision)
    assert Tags.read(content, NAME).rows == (NamedRevision("v1", root, 0, 3, 5, "x"),)


def test_another_repositorys_history_is_refused() -> None:
    """It names roots that are not here."""
    with pytest.raises(FormatError, match=r"does not belong to test\.example\.org"):
        Tags.read(Tags().serialize(Fqrn("other.example.org"), None), NAME)


def test_a_spoilt_history_is_refused() -> None:
    """No row of it is believed."""
    content = Tags().published(head(1), "v1", "").serialize(NAME, None)
    with pytest.raises(FormatError):
        Tags.read(altered(content, "UPDATE tags SET hash = 'x'"), NAME)


def test_the_history_before_is_named() -> None:
    """So that a mirror can follow the chain."""
    before = ContentHash.of(Algorithm.SHAKE128, b"", Suffix.HISTORY)
    assert before.text.encode() in Tags().serialize(NAME, before)
