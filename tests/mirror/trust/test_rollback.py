from __future__ import annotations

import pytest

from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.manifest import ROOT_PATH_MD5, Manifest
from mirror.errors import Equivocation, Rollback
from mirror.trust.rollback import require_progress
from tests.support.keys import letter


def manifest(revision: int, published_at: int = 1000, root: str = "a") -> Manifest:
    """A manifest of this revision, time and root."""
    fields = f"C{root * 40}\nR{ROOT_PATH_MD5}\nD240\nS{revision}\nT{published_at}\n"
    return Manifest.parse(letter(fields.encode(), Algorithm.SHA1, bytes))


SERVED = manifest(5)


def test_anything_is_progress_from_nothing() -> None:
    """A new replica takes what there is."""
    require_progress(None, manifest(1))


@pytest.mark.parametrize(
    "offered",
    [manifest(5), manifest(6, root="b"), manifest(7, 1001, "b"), manifest(5, 1001)],
    ids=["the same", "newer in the same second", "two newer", "signed again"],
)
def test_progress_is_accepted(offered: Manifest) -> None:
    """The same revision again, or any later one of a time not earlier, is progress."""
    require_progress(SERVED, offered)


@pytest.mark.parametrize("offered", [manifest(4), manifest(4, 2000, "b"), manifest(0)])
def test_older_revision_is_a_rollback(offered: Manifest) -> None:
    """An older revision is refused though it may have been signed later."""
    with pytest.raises(Rollback, match=r"is offered, but revision 5 .* --accept-rollback"):
        require_progress(SERVED, offered)


@pytest.mark.parametrize("offered", [manifest(5, 999), manifest(6, 999, "b"), manifest(6, 0)])
def test_older_signature_is_a_rollback(offered: Manifest) -> None:
    """A signature of an earlier time is refused, be the revision what it may."""
    with pytest.raises(Rollback, match=r"older than that of the served one .* --accept-rollback"):
        require_progress(SERVED, offered)


@pytest.mark.parametrize("published_at", [999, 1000, 1001])
def test_two_roots_for_one_revision_are_an_equivocation(published_at: int) -> None:
    """A publisher says one thing about one revision."""
    with pytest.raises(Equivocation, match="signed for two root catalogs"):
        require_progress(SERVED, manifest(5, published_at, "b"))
