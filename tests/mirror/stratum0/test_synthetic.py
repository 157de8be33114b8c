"""Made-up sources: the same text, the same tree."""

from __future__ import annotations

import pytest

from mirror.errors import ConfigError
from mirror.stratum0.synthetic import SyntheticSource

SMALL = "files=100,catalogs=4,median=1k,seed=3"


def contents(text: str, change: str | None = None) -> dict[bytes, tuple[bytes, int]]:
    """Path → bytes and mtime."""
    found = {}
    for entry in SyntheticSource.parse(text, change).entries():
        if entry.content is not None:
            with entry.content() as file:
                found[entry.path] = (file.read(), entry.attributes.mtime)
            assert entry.size_bytes == len(found[entry.path][0])
    return found


def test_the_same_text_gives_the_same_tree() -> None:
    """Today and tomorrow; another seed, other bytes."""
    assert contents(SMALL) == contents(SMALL)
    assert contents(SMALL) != contents(SMALL.replace("seed=3", "seed=4"))


def test_files_are_spread_over_catalogs() -> None:
    """As many as asked for, each with its marker."""
    found = contents(SMALL)
    markers = [path for path in found if path.endswith(b"/.cvmfscatalog")]
    assert len(markers) == 4
    assert len(found) == 100 + 4


def test_parents_come_first() -> None:
    """And nothing comes twice."""
    paths = [entry.path for entry in SyntheticSource.parse(SMALL).entries()]
    assert len(set(paths)) == len(paths)
    for number, path in enumerate(paths[1:], 1):
        assert path.rpartition(b"/")[0] in paths[:number]


@pytest.mark.parametrize(("change", "share"), [("0%", 0), ("20%", 20), ("0.2", 20), ("100%", 100)])
def test_a_share_of_the_files_has_other_bytes(change: str, share: int) -> None:
    """Of each catalog's; sizes and all other files are what they were."""
    before, after = contents(SMALL), contents(SMALL, change)
    changed = [path for path in before if before[path] != after[path]]
    assert len(changed) == share
    assert {path: len(each[0]) for path, each in before.items()} == {
        path: len(each[0]) for path, each in after.items()
    }


@pytest.mark.parametrize(
    "text", ["files", "files=x", "files=-1", "size=3", "catalogs=0", "median=0", "files=1g", "=1"]
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    """With the word that does not."""
    with pytest.raises(ConfigError, match="--synthetic"):
        SyntheticSource.parse(text)


@pytest.mark.parametrize("change", ["x", "101%", "-1%", "1.5", "", "nan"])
def test_a_share_is_between_nothing_and_all(change: str) -> None:
    """In percent or as a number."""
    with pytest.raises(ConfigError, match="--change"):
        SyntheticSource.parse(SMALL, change)
