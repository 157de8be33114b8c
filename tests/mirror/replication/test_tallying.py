"""`snapshot --dry-run`: the numbers of a snapshot, without one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.paths import object_path
from mirror.errors import Refused, SnapshotFailed, WhitelistExpired
from mirror.events import ObjectsWanted
from mirror.replication import catalog_file
from mirror.replication.hash_set import HashSet
from mirror.replication.lock import replica_lock
from mirror.replication.snapshot import SnapshotPlan
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE, numbered
from tests.support.watched import Recorder

SOON = datetime(2026, 1, 1, 1, tzinfo=UTC)


def everything_below(directory: Path) -> dict[str, tuple[int, int]]:
    """Every file and directory, with when it was changed last and its size."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in directory.rglob("*")
    }


def assert_plan_holds(mirror: Mirror, now: datetime = SOON) -> SnapshotPlan:
    """What is announced is what a snapshot then fetches; nothing is changed before."""
    before = everything_below(mirror.directory)
    mirror.watch = recorder = Recorder()
    plan = mirror.plan(now)
    assert everything_below(mirror.directory) == before
    assert not recorder.operations
    report = mirror.snapshot(now)
    assert plan.missing_catalogs + plan.missing_objects == report.stored_objects
    assert (plan.revision, plan.served_revision) == (report.revision, report.previous_revision)
    return plan


def test_a_first_snapshot(mirror_on_disk: Mirror) -> None:
    """Before it not even a directory is made."""
    plan = assert_plan_holds(mirror_on_disk)
    assert (plan.missing_catalogs, plan.missing_objects) == (len(TREE), 6)
    unpacked = {content for files in TREE.values() for content in files.values()}
    assert plan.missing_object_bytes == sum(map(len, unpacked))


def test_the_next_one(mirror_on_disk: Mirror) -> None:
    """Only what is new counts, and what several catalogs want counts once."""
    mirror_on_disk.snapshot(SOON)
    first = mirror_on_disk.repository.revisions[-1].paths
    new = mirror_on_disk.repository.publish(NEXT_TREE).paths - first
    plan = assert_plan_holds(mirror_on_disk)
    catalogs = [mirror_on_disk.repository.files[path] for path in new if path.endswith("C")]
    assert plan.missing_catalogs == len(catalogs)
    assert plan.missing_catalog_bytes == sum(map(len, catalogs))


def test_several_at_once_with_tags(mirror_on_disk: Mirror) -> None:
    """Predecessors and tags are counted as they will be fetched."""
    mirror_on_disk.snapshot(SOON)
    for number in range(4):
        mirror_on_disk.repository.publish(numbered(number), tag=f"v{number}")
    assert_plan_holds(mirror_on_disk)


def test_tags_of_what_is_too_old_as_a_predecessor(mirror_on_disk: Mirror) -> None:
    """It is not counted as the one, and counted as the other."""
    mirror_on_disk.snapshot(SOON)
    mirror_on_disk.repository.publish(numbered(1), tag="v1")
    mirror_on_disk.repository.timestamp += 10 * 86_400
    mirror_on_disk.repository.publish(numbered(2))
    assert_plan_holds(
        mirror_on_disk, datetime.fromtimestamp(mirror_on_disk.repository.timestamp, UTC)
    )


def test_collected_roots(mirror_on_disk: Mirror) -> None:
    """What is gone at the origin will not be fetched."""
    mirror_on_disk.snapshot(SOON)
    for number in range(3):
        mirror_on_disk.repository.publish(numbered(number))
    mirror_on_disk.repository.collect()
    assert_plan_holds(mirror_on_disk)


def test_nothing_to_do(mirror_on_disk: Mirror) -> None:
    """A replica that is current needs nothing."""
    mirror_on_disk.snapshot()
    plan = assert_plan_holds(mirror_on_disk)
    assert plan == SnapshotPlan(1, 1, 0, 0, 0, 0)


def test_no_object_is_fetched(mirror_on_disk: Mirror) -> None:
    """Catalogs, history and meta info have to be read; objects have not."""
    mirror_on_disk.plan()
    suffixes = {path[-1] for path in mirror_on_disk.stratum0.paths if path.startswith("data/")}
    assert suffixes <= set("CHMX")


def test_large_catalogs_before_the_first_snapshot(
    mirror_on_disk: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that do not fit into memory are unpacked elsewhere: there is no replica yet."""
    monkeypatch.setattr(catalog_file, "_IN_MEMORY_BYTES", 1000)
    assert_plan_holds(mirror_on_disk)


def test_a_plan_needs_no_lock(mirror_on_disk: Mirror) -> None:
    """It may be asked for while a snapshot is under way."""
    with replica_lock(mirror_on_disk.spool):
        assert mirror_on_disk.plan().revision == 1


def test_what_a_snapshot_would_refuse_a_plan_refuses(mirror_on_disk: Mirror) -> None:
    """Nothing is announced that nobody vouches for."""
    mirror_on_disk.repository.write_whitelist(expires_at=datetime(2025, 1, 1, tzinfo=UTC))
    with pytest.raises(WhitelistExpired):
        mirror_on_disk.plan()
    mirror_on_disk.repository.drop(".cvmfs_master_replica")
    with pytest.raises(Refused):
        mirror_on_disk.plan()


def test_catalogs_that_cannot_be_had(mirror_on_disk: Mirror) -> None:
    """Without them nobody knows what is in them."""
    root = mirror_on_disk.repository.revisions[-1].root
    mirror_on_disk.repository.drop(object_path(root))
    with pytest.raises(SnapshotFailed):
        mirror_on_disk.plan()


def test_a_catalog_of_two_parents_counts_once(mirror_on_disk: Mirror) -> None:
    """Two revisions that share a tree need it once."""
    for number in range(3):
        tree = {"": {"n": b"%d" % number}, "/same": {"file": b"same"}}
        mirror_on_disk.repository.publish(tree, tag=f"v{number}")
    plan = assert_plan_holds(mirror_on_disk)
    assert plan.missing_catalogs == 3 + 1


def test_what_is_wanted_is_announced(mirror: Mirror) -> None:
    """As by a snapshot."""
    plan = mirror.plan()
    assert sum(event.count for event in mirror.heard(ObjectsWanted)) >= plan.missing_objects


# --- the set ------------------------------------------------------------------------------------


def test_hashes_are_told_apart() -> None:
    """By algorithm and suffix too; each is new once."""
    names = {
        ContentHash(algorithm, bytes(20), suffix) for algorithm in Algorithm for suffix in Suffix
    }
    hashes = HashSet()
    assert hashes.add(names) == names
    assert hashes.add(names) == set()
    assert all(name in hashes for name in names)
    assert ContentHash.of(Algorithm.SHA1, b"") not in hashes
    hashes.close()
