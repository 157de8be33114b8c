"""The repository that the real publisher made, replicated revision after revision."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, parse_object_path
from tests.support.http_stratum0 import HttpStratum0
from tests.support.reachable import reachable_objects
from tests.support.site import Site

FQRN = "software.example.org"


def site_for(directory: Path, fixture_repository: Path, stratum0: HttpStratum0) -> Site:
    """A host that replicates the fixture."""
    directory.mkdir(exist_ok=True)
    key = (fixture_repository / "keys" / f"{FQRN}.pub").read_bytes()
    return Site(directory, FQRN, stratum0.url, key)


def assert_is_replica(site: Site, origin: Path) -> None:
    """Root files are byte-equal, everything reachable is there and right, and nothing is left."""
    for name in (MANIFEST, WHITELIST):
        assert (site.root / name).read_bytes() == (origin / name).read_bytes()
    for path in reachable_objects(origin):
        stored = (site.root / path).read_bytes()
        assert stored == (origin / path).read_bytes()
        named = parse_object_path(path)
        assert ContentHash.of(named.algorithm, stored, named.suffix) == named
    assert site.run("check", "--full") == 0
    assert site.temporaries() == []


def test_all_eight_revisions_in_order(fixture_repository: Path, tmp_path: Path) -> None:
    """After each snapshot the replica equals the origin, tags removed and garbage collected."""
    with HttpStratum0(fixture_repository / "rev1", FQRN) as stratum0:
        site = site_for(tmp_path, fixture_repository, stratum0)
        for tree in range(1, 9):
            stratum0.files = fixture_repository / f"rev{tree}"
            assert site.run("snapshot") == 0
            assert_is_replica(site, fixture_repository / f"rev{tree}")


@pytest.mark.parametrize("first", range(1, 9))
def test_starting_at_any_revision(fixture_repository: Path, tmp_path: Path, first: int) -> None:
    """A replica may begin at any revision, and go from there to the last in one step."""
    with HttpStratum0(fixture_repository / f"rev{first}", FQRN) as stratum0:
        site = site_for(tmp_path, fixture_repository, stratum0)
        assert site.run("snapshot") == 0
        assert_is_replica(site, fixture_repository / f"rev{first}")
        stratum0.files = fixture_repository / "rev8"
        assert site.run("snapshot") == 0
        assert_is_replica(site, fixture_repository / "rev8")


def test_the_same_revision_signed_again(fixture_repository: Path, tmp_path: Path) -> None:
    """A tag removed at the origin changes the manifest, not the revision, and is followed."""
    with HttpStratum0(fixture_repository / "rev6", FQRN) as stratum0:
        site = site_for(tmp_path, fixture_repository, stratum0)
        assert site.run("snapshot") == 0
        before = Manifest.parse((site.root / MANIFEST).read_bytes())
        stratum0.files = fixture_repository / "rev7"
        assert site.run("snapshot") == 0
    after = Manifest.parse((site.root / MANIFEST).read_bytes())
    assert (after.revision, after.root_catalog) == (before.revision, before.root_catalog)
    assert after.history != before.history


def test_a_replica_can_feed_another(fixture_repository: Path, tmp_path: Path) -> None:
    """With the sentinel in place, our tree is a Stratum 0 for the next mirror."""
    with HttpStratum0(fixture_repository / "rev5", FQRN) as stratum0:
        first = site_for(tmp_path / "first", fixture_repository, stratum0)
        assert first.run("snapshot") == 0
    (first.root / ".cvmfs_master_replica").touch()
    with HttpStratum0(first.root, FQRN) as stratum1:
        second = site_for(tmp_path / "second", fixture_repository, stratum1)
        assert second.run("snapshot") == 0
    assert_is_replica(second, fixture_repository / "rev5")


def test_nothing_is_fetched_twice(fixture_repository: Path, tmp_path: Path) -> None:
    """Over all eight revisions each object is asked for once."""
    with HttpStratum0(fixture_repository / "rev1", FQRN) as stratum0:
        site = site_for(tmp_path, fixture_repository, stratum0)
        for tree in range(1, 9):
            stratum0.files = fixture_repository / f"rev{tree}"
            assert site.run("snapshot") == 0
    objects = [path for path in stratum0.paths if path.startswith("data/")]
    assert len(objects) == len(set(objects)) > 250
