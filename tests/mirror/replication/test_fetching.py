"""What a snapshot brings home, and how far back it goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import object_path
from mirror.errors import (
    Corrupted,
    FormatError,
    NotFound,
    SnapshotFailed,
    StoreFull,
    TooLarge,
    Unavailable,
)
from mirror.events import (
    CatalogStored,
    ObjectFailed,
    ObjectsPresent,
    ObjectsStored,
    ObjectsWanted,
    RootSkipped,
)
from mirror.replication import fetching
from mirror.replication.fetching import Fetching, Lineage, Site
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.walk import Walk
from mirror.store.memory import MemoryStore
from tests.support.databases import Chunk, Entry, Flag, Mount, catalog_database
from tests.support.faults import Fault, corrupted, endless, truncated, unavailable
from tests.support.loops import run
from tests.support.publisher import FIRST_PUBLISHED, Repository, Revision
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE, numbered
from tests.support.watched import FullDisk, Recorder

Make = Callable[[Repository, Path], Mirror]
SOON = datetime(2026, 1, 1, 1, tzinfo=UTC)
"""An hour after the publisher begins: no predecessor is old."""


def object_paths(mirror: Mirror) -> list[str]:
    """What was asked for below ``data/``."""
    return [path for path in mirror.stratum0.paths if path.startswith("data/")]


def publish(repository: Repository, *numbers: int, tag: str | None = None) -> list[Revision]:
    """Some small revisions."""
    return [repository.publish(numbered(number), tag=tag) for number in numbers]


# --- what is missing ----------------------------------------------------------------------------


def test_a_first_snapshot_brings_everything_once(mirror: Mirror) -> None:
    """Every object of the revision is asked for once, and nothing else is."""
    mirror.snapshot()
    assert sorted(object_paths(mirror)) == sorted(mirror.repository.revisions[-1].paths)
    mirror.require_current()


def test_the_next_one_brings_what_is_new(mirror: Mirror) -> None:
    """What is here, catalogs and their whole trees included, is not asked for."""
    mirror.snapshot()
    first = mirror.repository.revisions[-1]
    second = mirror.repository.publish(NEXT_TREE)
    mirror.snapshot(SOON)
    assert sorted(object_paths(mirror)) == sorted(second.paths - first.paths)
    mirror.require_current()


def test_what_a_dead_run_stored_is_not_fetched_again(mirror: Mirror) -> None:
    """Objects that are here are found, though no catalog vouches for them yet."""
    lost = object_path(mirror.repository.add_object(b"deep"))
    content = mirror.repository.files.pop(lost)
    with pytest.raises(SnapshotFailed):
        mirror.snapshot()
    fetched = set(object_paths(mirror)) - {lost}
    mirror.repository.files[lost] = content
    mirror.snapshot()
    again = fetched.intersection(object_paths(mirror))
    assert {path[-1] for path in again} <= set("CMHX")
    mirror.require_current()


def test_catalogs_are_committed_after_what_they_refer_to(mirror: Mirror) -> None:
    """The first law, as the store sees it."""
    mirror.watch = recorder = Recorder()
    mirror.snapshot()
    committed = recorder.names("commit")
    catalogs = [path for path in committed if path.endswith("C")]
    root = object_path(mirror.repository.revisions[-1].root)
    assert catalogs[-1] == root
    data = [committed.index(path) for path in committed if path[-1] not in "CMHX"]
    assert max(data) < committed.index(root)


def test_external_files_are_left_to_others(mirror: Mirror) -> None:
    """They are not in the repository."""
    elsewhere = mirror.repository.add_object(b"elsewhere")
    mirror.repository.drop(object_path(elsewhere))
    external = Entry("/external", Flag.FILE | Flag.EXTERNAL, elsewhere, 9)
    mirror.repository.publish(TREE, entries={"": [external]})
    mirror.snapshot()
    mirror.require_current()


def test_a_file_in_chunks_may_have_a_whole_too(mirror: Mirror) -> None:
    """Both the chunks and the whole are fetched."""
    whole = mirror.repository.add_object(b"wholething")
    parts = [mirror.repository.add_object(part) for part in (b"whole", b"thing")]
    chunks = tuple(Chunk(5 * n, 5, part) for n, part in enumerate(parts))
    entry = Entry("/both", Flag.FILE | Flag.CHUNKED, whole, 10, chunks)
    for part in parts:  # chunks have a suffix of their own
        content = mirror.repository.files.pop(object_path(part))
        mirror.repository.files[object_path(part) + "P"] = content
    mirror.repository.publish(TREE, entries={"": [entry]})
    mirror.snapshot()
    mirror.require_current()


# --- what goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (truncated, Corrupted),
        (corrupted, Corrupted),
        (endless, TooLarge),
        (unavailable, Unavailable),
    ],
)
@pytest.mark.parametrize("kind", ["object", "catalog"])
def test_one_failure_stops_the_publication_and_nothing_else(
    mirror: Mirror, fault: Fault, error: type[Exception], kind: str
) -> None:
    """The others are fetched, the old revision is served, and the failure is named."""
    mirror.snapshot()
    new = mirror.repository.publish(NEXT_TREE).paths - mirror.repository.revisions[0].paths
    broken = max(path for path in new if path.endswith("C") == (kind == "catalog"))
    mirror.stratum0.faults[broken] = fault
    with pytest.raises(SnapshotFailed) as caught:
        mirror.snapshot(SOON)
    assert [(each.name, type(each.error)) for each in caught.value.failures] == [(broken, error)]
    assert [event.failure for event in mirror.heard(ObjectFailed)] == [*caught.value.failures]
    assert mirror.require_whole() == 1
    assert mirror.leftovers() == []


def test_failures_are_named_with_their_catalog(mirror: Mirror) -> None:
    """An operator can tell the publisher what is lost."""
    lost = object_path(mirror.repository.add_object(b"deep"))
    mirror.repository.drop(lost)
    with pytest.raises(SnapshotFailed, match=rf"1 object .* {lost} \(of the catalog at /app/lib"):
        mirror.snapshot()


def test_only_the_first_failures_are_kept(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted."""
    monkeypatch.setattr(fetching.Fetching, "_KEPT_FAILURES", 2)
    for content in (b"hello", b"deep", b"other", b""):
        mirror.repository.drop(object_path(mirror.repository.add_object(content)))
    with pytest.raises(SnapshotFailed) as caught:
        mirror.snapshot()
    assert (len(caught.value.failures), caught.value.count) == (2, 4)


@pytest.mark.parametrize("limits", [Limits(object_bytes=100_000), Limits(catalog_bytes=1000)])
def test_limits_hold(mirror: Mirror, limits: Limits) -> None:
    """Whatever catalogs and manifests state, no more than the limit is read."""
    site_run = mirror.run_of()
    site_run._replica = replace(mirror.replica, limits=limits)
    site_run._site = replace(site_run._site, limits=limits)
    with pytest.raises(SnapshotFailed) as caught:
        run(site_run.run())
    assert {type(failure.error) for failure in caught.value.failures} == {TooLarge}


@pytest.mark.parametrize("damage", ["no catalog", "nested outside"])
@pytest.mark.parametrize("make", [Mirror.in_memory, Mirror.on_disk], ids=["memory", "disk"])
def test_a_catalog_that_is_none(
    repository: Repository, tmp_path: Path, make: Make, damage: str
) -> None:
    """Though signed, it is not committed, and nothing of it stays."""
    outside = catalog_database(nested=[Mount("/../outside", repository.revisions[0].root)])
    root = repository.add_catalog(b"no catalog" if damage == "no catalog" else outside)
    repository.resign(C=root.text, S="2")
    mirror = make(repository, tmp_path)
    with pytest.raises(SnapshotFailed) as caught:
        mirror.snapshot()
    assert [type(failure.error) for failure in caught.value.failures] == [FormatError]
    assert run(mirror.store.present([root])) == set()
    assert mirror.leftovers() == []


def test_a_full_disk_ends_the_run(mirror: Mirror) -> None:
    """It is not counted against the objects that could have been had."""
    mirror.watch = FullDisk(100_000, notices_at="write")
    with pytest.raises(StoreFull):
        mirror.snapshot()
    assert not mirror.heard(ObjectFailed)
    assert mirror.leftovers() == []


# --- how far back -------------------------------------------------------------------------------


def roots(revisions: list[Revision]) -> list[str]:
    """Where their roots are."""
    return [object_path(revision.root) for revision in revisions]


def test_a_first_snapshot_does_not_look_back(mirror: Mirror) -> None:
    """Nobody ever had an older revision from here."""
    revisions = publish(mirror.repository, 1, 2, 3)
    mirror.snapshot(SOON)
    assert not set(roots(revisions[:2])) & set(object_paths(mirror))


def test_later_ones_bring_what_lies_between(mirror: Mirror) -> None:
    """Clients of a faster mirror may hold any revision since, so all of them are fetched whole."""
    mirror.snapshot(SOON)
    revisions = publish(mirror.repository, 1, 2, 3)
    report = mirror.snapshot(SOON)
    assert (report.previous_revision, report.revision) == (1, 4)
    assert set.union(*(set(each.paths) for each in revisions)) >= set(object_paths(mirror))
    assert set(roots(revisions)) <= set(object_paths(mirror))
    for revision in revisions:
        assert all(path in _stored(mirror) for path in revision.paths if path[-1] not in "MH")


def _stored(mirror: Mirror) -> set[str]:
    assert isinstance(mirror.store, MemoryStore)
    return {object_path(name) for name in mirror.store.objects}


def test_old_ones_are_not_wanted(mirror: Mirror) -> None:
    """Where garbage is collected, those replaced longer ago than the time span are left."""
    mirror.snapshot(SOON)
    old = publish(mirror.repository, 1, 2)
    mirror.repository.timestamp += 10 * 86_400
    new = publish(mirror.repository, 3, 4)
    now = datetime.fromtimestamp(mirror.repository.timestamp, UTC) + timedelta(hours=1)
    mirror.snapshot(now)
    stored = _stored(mirror)
    assert [path in stored for path in roots(old + new)] == [False, False, True, True]
    mirror.require_current()
    assert mirror.leftovers() == []


@pytest.mark.parametrize(("more_s", "is_wanted"), [(0, True), (1, False)])
def test_the_boundary_is_exact(mirror: Mirror, more_s: int, *, is_wanted: bool) -> None:
    """Exactly as old as the time span is young enough."""
    mirror.snapshot(SOON)
    (middle,) = publish(mirror.repository, 1)
    made_at = datetime.fromtimestamp(mirror.repository.timestamp, UTC)
    publish(mirror.repository, 2)
    mirror.snapshot(made_at + timedelta(days=3, seconds=more_s))
    assert (object_path(middle.root) in _stored(mirror)) == is_wanted


def test_all_are_wanted_where_nothing_is_collected(mirror: Mirror) -> None:
    """However old they are."""
    mirror.snapshot(SOON)
    revisions = publish(mirror.repository, 1, 2, 3)
    mirror.repository.resign(G="no")
    mirror.snapshot(FIRST_PUBLISHED + timedelta(days=1000))
    assert set(roots(revisions)) <= _stored(mirror)


def test_collected_roots_are_skipped(mirror: Mirror) -> None:
    """Where garbage is collected, an old root that is gone is no failure; but it is told."""
    mirror.snapshot(SOON)
    middle, last = publish(mirror.repository, 1, 2)
    mirror.repository.collect()
    mirror.snapshot(SOON)
    (skipped,) = mirror.heard(RootSkipped)
    assert skipped.content_hash == middle.root
    assert skipped.wanted_by == f"the root {last.root}"
    mirror.require_current()


def test_lost_roots_are_not_skipped(mirror: Mirror) -> None:
    """Where nothing is collected, one that is gone was lost."""
    mirror.snapshot(SOON)
    publish(mirror.repository, 1, 2)
    mirror.repository.collect()
    mirror.repository.resign(G="no")
    with pytest.raises(SnapshotFailed):
        mirror.snapshot(SOON)
    assert mirror.require_whole() == 1


@pytest.mark.parametrize("lost", ["root", "nested"])
def test_what_the_manifest_names_is_never_skipped(mirror: Mirror, lost: str) -> None:
    """Neither the head nor what is nested in it may be gone, whatever is collected."""
    revision = mirror.repository.revisions[-1]
    root = object_path(revision.root)
    nested = next(path for path in revision.paths if path.endswith("C") and path != root)
    mirror.repository.drop(root if lost == "root" else nested)
    with pytest.raises(SnapshotFailed) as caught:
        mirror.snapshot()
    assert isinstance(caught.value.failures[0].error, NotFound)
    assert not mirror.heard(RootSkipped)


# --- tags ---------------------------------------------------------------------------------------


def test_tagged_revisions_are_brought_whole(mirror: Mirror) -> None:
    """Also in a first snapshot, and however old they are."""
    tagged = publish(mirror.repository, 1, tag="v1") + publish(mirror.repository, 2, tag="v2")
    publish(mirror.repository, 3)
    mirror.snapshot()
    for revision in tagged:
        assert {path for path in revision.paths if path[-1] not in "MH"} <= _stored(mirror)
    mirror.require_current()


def test_a_tag_on_what_is_too_old_as_a_predecessor(mirror: Mirror) -> None:
    """What was left as a predecessor is brought for the sake of its tag."""
    mirror.snapshot(SOON)
    (tagged,) = publish(mirror.repository, 1, tag="v1")
    mirror.repository.timestamp += 10 * 86_400
    publish(mirror.repository, 2)
    mirror.snapshot(datetime.fromtimestamp(mirror.repository.timestamp, UTC))
    assert object_path(tagged.root) in _stored(mirror)


def test_a_tag_on_what_was_collected(mirror: Mirror) -> None:
    """It is skipped where garbage is collected, and told with its name."""
    publish(mirror.repository, 1, tag="v1")
    gone = mirror.repository.revisions[-1].root
    publish(mirror.repository, 2)
    mirror.repository.drop(object_path(gone))
    mirror.snapshot()
    (skipped,) = mirror.heard(RootSkipped)
    assert skipped.wanted_by == "tag v1"
    mirror.repository.resign(G="no", T=str(mirror.repository.timestamp + 1))
    with pytest.raises(SnapshotFailed):
        mirror.snapshot()


# --- events -------------------------------------------------------------------------------------


def test_what_is_wanted_is_what_is_stored(mirror: Mirror) -> None:
    """So a progress bar that begins at the one ends with the other."""
    report = mirror.snapshot()
    wanted, stored = mirror.heard(ObjectsWanted), mirror.heard(ObjectsStored)
    catalogs = mirror.heard(CatalogStored)
    assert sum(event.count for event in wanted) == len(stored)
    assert sum(event.size_bytes for event in wanted) == sum(event.size_bytes for event in stored)
    assert report.stored_objects == len(stored) + len(catalogs)
    catalog_bytes = sum(event.stored_bytes for event in catalogs)
    assert report.stored_bytes == catalog_bytes + sum(event.stored_bytes for event in stored)
    assert {event.mount_point for event in catalogs} == {"/", *(TREE.keys() - {""})}


def test_what_is_present_is_told_too(mirror: Mirror) -> None:
    """Objects that came to a new place, and were here already."""
    mirror.snapshot()
    mirror.repository.publish({**TREE, "": {"copy": b"hello", "copied": b"", "new": b"new"}})
    mirror.events.clear()
    mirror.snapshot(SOON)
    assert sum(event.count for event in mirror.heard(ObjectsPresent)) == 2


# --- directly -----------------------------------------------------------------------------------


def site_of(mirror: Mirror, store: MemoryStore) -> Site:
    """Where a `Fetching` works."""
    replica = mirror.replica
    limits, scratch = replica.limits, replica.scratch
    return Site(replica.fqrn, mirror.stratum0, store, scratch, limits, mirror.events.append)


def test_a_root_is_one_though_it_is_wanted_as_several(mirror: Mirror) -> None:
    """New roots are told, for the reflog; nested catalogs are none."""
    root: ContentHash = mirror.repository.revisions[-1].root
    store = MemoryStore()
    lineage = Lineage(follows_predecessors=False, not_before=None, may_lack_roots=False)
    visitor = Fetching(site_of(mirror, store), lineage)
    wanted = [CatalogRef(root, "", role) for role in (Role.HEAD, Role.TAG)]
    run(Walk(visitor, Limits()).run(wanted))
    assert visitor.stored_roots == [root]
    assert visitor.failure_count == 0
