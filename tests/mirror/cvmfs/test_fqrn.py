from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import FormatError
from tests.support.hostile import survives

GOOD = ["software.example.org", "a", "0.example", "cms-ib.cern.ch", "under_score.org", "A" * 255]
BAD = [
    "",
    ".",
    "..",
    ".hidden",
    "a..b",
    "a.",
    "-a.org",
    "a/b",
    "../a",
    "/a",
    "a\\b",
    "a b",
    "a\n",
    "a\0",
    "bücher.org",
    "\N{ARABIC-INDIC DIGIT ONE}.org",
    "A" * 256,
]


@pytest.mark.parametrize("name", GOOD)
def test_names_of_labels_are_accepted(name: str) -> None:
    """Labels of letters, digits, '-' and '_' joined by dots are a name, up to 255 characters."""
    assert str(Fqrn(name)) == name


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name: str) -> None:
    """Nothing that means something to a file system or a shell is a name."""
    with pytest.raises(FormatError, match="is no repository name"):
        Fqrn(name)


@given(st.text(alphabet=st.sampled_from("ab.-_/\\\0\n~*")))
def test_accepted_names_are_one_path_component(name: str) -> None:
    """Whatever is accepted stays inside the directory it is joined to."""

    def stays_inside(name: str) -> None:
        joined = PurePosixPath("/srv") / str(Fqrn(name))
        assert joined.parent == PurePosixPath("/srv")
        assert not joined.name.startswith(".")

    survives(stays_inside, name)


@given(st.text())
def test_any_text_is_a_name_or_refused(name: str) -> None:
    """No text makes it fail in another way."""
    survives(Fqrn, name)


def test_names_sort_as_text() -> None:
    """Names have an order, for listings."""
    assert sorted([Fqrn("b.org"), Fqrn("a.org")]) == [Fqrn("a.org"), Fqrn("b.org")]
