from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, object_path
from mirror.errors import DamageError, FormatError, StoreUnavailable
from mirror.replication import catalog_file
from mirror.replication.walk import Breadth
from mirror.store.memory import MemoryStore
from mirror.upkeep.check import CheckReport, check_replica
from tests.support.clock import NOW
from tests.support.databases import Mount, catalog_database, history_database
from tests.support.keys import Keys
from tests.support.loops import is_cancelled_at, run
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import CHUNK_BYTES, NEXT_TREE, TREE, numbered
from tests.support.watched import Operation, Recorder


@pytest.fixture
def mirror(keys: Keys, tmp_path: Path) -> Mirror:
    """A replica of two revisions, one of them tagged."""
    repository = Repository(keys, chunk_bytes=CHUNK_BYTES)
    repository.publish(numbered(1), tag="v1")
    repository.publish(TREE)
    mirror = Mirror.in_memory(repository, tmp_path)
    mirror.snapshot()
    return mirror


def memory(mirror: Mirror) -> MemoryStore:
    """Its store, to do damage to."""
    store = mirror.store
    assert isinstance(store, MemoryStore)
    return store


def named(mirror: Mirror, suffix: Suffix) -> ContentHash:
    """An object that the manifest names."""
    objects = Manifest.parse(mirror.repository.files[MANIFEST]).named_objects
    return next(each for each in objects if each.suffix is suffix)


def content(mirror: Mirror, data: bytes) -> ContentHash:
    """The object with this content."""
    return mirror.repository.add_object(data)


def flip(mirror: Mirror, name: ContentHash) -> None:
    """A disk that fails."""
    stored = memory(mirror).objects[name]
    memory(mirror).objects[name] = stored[:-1] + bytes([stored[-1] ^ 1])


def damage(report: CheckReport) -> list[tuple[str, str, str]]:
    """Where, in which catalog, and what."""
    return sorted((each.name, each.catalog_path, str(each.error)) for each in report.damage)


# --- sound replicas -----------------------------------------------------------------------------


@pytest.mark.parametrize("full", [True, False])
def test_a_sound_replica(mirror: Mirror, *, full: bool) -> None:
    """Head and tags are walked, every reference is counted, and nothing is changed."""
    mirror.watch = recorder = Recorder()
    report = mirror.check(full=full)
    assert not report.damage
    assert (report.revision, report.catalogs, report.objects) == (2, 4 + 2, 8 + 3)
    assert not recorder.operations


def test_progress_is_heard(mirror: Mirror) -> None:
    """Counts grow while it is at work."""
    heard: list[tuple[int, int]] = []

    def progress(report: CheckReport) -> None:
        heard.append((report.catalogs, report.objects))

    run(check_replica(mirror.replica, NOW, full=False, progress=progress))
    assert heard == sorted(heard)
    assert heard[-1] == (6, 11)


def test_nothing_is_fetched(mirror: Mirror) -> None:
    """A check is about what is here."""
    mirror.stratum0.requests.clear()
    mirror.check()
    assert mirror.stratum0.paths == []


def test_large_catalogs_leave_the_replica_alone(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are unpacked elsewhere: a snapshot may begin meanwhile and clear what lies there."""
    repository = Repository(keys)
    repository.publish(TREE)
    mirror = Mirror.on_disk(repository, tmp_path)
    mirror.snapshot()
    (tmp_path / "srv" / "data" / "txn").rmdir()
    monkeypatch.setattr(catalog_file, "_IN_MEMORY_BYTES", 1000)
    assert not mirror.check().damage


# --- damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [True, False])
def test_missing_objects(mirror: Mirror, *, full: bool) -> None:
    """Each is told with the catalog that wants it."""
    lost = content(mirror, b"deep")
    del memory(mirror).objects[lost]
    report = mirror.check(full=full)
    assert damage(report) == [(object_path(lost), "/app/lib/deep", "missing")]


def test_flipped_objects(mirror: Mirror) -> None:
    """Only whoever hashes everything finds them."""
    bad = content(mirror, b"deep")
    flip(mirror, bad)
    assert not mirror.check(full=False).damage
    said = "its bytes do not have the hash it is named by"
    assert damage(mirror.check()) == [(object_path(bad), "/app/lib/deep", said)]


@pytest.mark.parametrize("is_lost", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_catalogs(mirror: Mirror, *, is_lost: bool, full: bool) -> None:
    """A missing or damaged one is always found, and does not hide what else is wrong."""
    objects, lost = memory(mirror).objects, content(mirror, b"other")
    nested = next(
        each for each in objects if each.suffix is Suffix.CATALOG and _at(mirror, each, "/app")
    )
    if is_lost:
        del objects[nested]
    else:
        flip(mirror, nested)
    del objects[lost]
    report = mirror.check(full=full)
    assert [(name, place) for name, place, _ in damage(report)] == sorted(
        [(object_path(nested), "/app"), (object_path(lost), "/other")]
    )


def _at(mirror: Mirror, name: ContentHash, place: str) -> bool:
    mounts = mirror.repository._catalogs
    return mounts[place].mount.hash == name


def test_only_the_deepest_catalog_is_damage(mirror: Mirror) -> None:
    """Those above it are not whole, but there is nothing wrong with them."""
    deep = mirror.repository._catalogs["/app/lib/deep"].mount.hash
    flip(mirror, deep)
    assert [name for name, _, _ in damage(mirror.check())] == [object_path(deep)]


def test_a_catalog_that_is_none(mirror: Mirror) -> None:
    """Bytes that have their hash and are no catalog were signed by somebody; they are told."""
    nested = [Mount("/../outside", content(mirror, b"deep"))]
    for database in (b"no catalog", catalog_database(nested=nested)):
        name = mirror.repository.add_catalog(database)
        memory(mirror).objects[name] = mirror.repository.files[object_path(name)]
        mirror.repository.resign(C=name.text, B=str(len(database)))
        memory(mirror).root_files[MANIFEST] = mirror.repository.files[MANIFEST]
        report = mirror.check()
        assert [type(each.error) for each in report.damage] == [FormatError]


@pytest.mark.parametrize("suffix", [Suffix.HISTORY, Suffix.META_INFO, Suffix.CERTIFICATE])
@pytest.mark.parametrize("is_lost", [True, False])
def test_what_the_manifest_names(mirror: Mirror, suffix: Suffix, *, is_lost: bool) -> None:
    """History, meta info and certificate are looked at as well."""
    name = named(mirror, suffix)
    if is_lost:
        del memory(mirror).objects[name]
    else:
        flip(mirror, name)
    report = mirror.check()
    assert object_path(name) in [each.name for each in report.damage]
    assert bool([each for each in report.damage if each.name == MANIFEST]) == (
        suffix is Suffix.CERTIFICATE
    )


def test_what_nobody_refers_to(mirror: Mirror) -> None:
    """It is garbage, and no damage."""
    memory(mirror).objects[ContentHash.of(mirror.repository.algorithm, b"x")] = b"y"
    assert not mirror.check().damage


def test_only_the_first_thousand_are_kept(mirror: Mirror) -> None:
    """All are counted."""
    del memory(mirror).objects[content(mirror, b"deep")]
    (failure,) = mirror.check().damage
    report = CheckReport()
    for _ in range(1010):
        report.add(failure)
    assert (len(report.damage), report.damage_count) == (1000, 1010)


# --- root files ---------------------------------------------------------------------------------


def test_before_the_first_snapshot(keys: Keys, tmp_path: Path) -> None:
    """There is nothing to look at, and that is told."""
    report = Mirror.in_memory(Repository(keys), tmp_path).check()
    assert damage(report) == [(MANIFEST, "/", "missing; there was no snapshot yet")]
    assert report.revision is None


def test_an_unreadable_manifest(mirror: Mirror) -> None:
    """Nobody knows what should be here."""
    memory(mirror).root_files[MANIFEST] = b"torn"
    report = mirror.check()
    assert [each.name for each in report.damage] == [MANIFEST]
    assert report.revision is None


def test_a_whitelist_that_has_expired(mirror: Mirror) -> None:
    """Of no use to any client, and the tree is looked at all the same."""
    report = mirror.check(datetime(2100, 1, 1, tzinfo=UTC))
    assert [each.name for each in report.damage] == [MANIFEST]
    assert "expired" in str(report.damage[0])
    assert report.catalogs == 6


def test_a_missing_whitelist(mirror: Mirror) -> None:
    """It is told by its name."""
    del memory(mirror).root_files[WHITELIST]
    assert damage(mirror.check()) == [(WHITELIST, "/", "missing")]


def test_somebody_elses_manifest(mirror: Mirror, other_keys: Keys) -> None:
    """A signature that does not hold is damage, whoever put it there."""
    mirror.repository.resign(other_keys)
    memory(mirror).root_files[MANIFEST] = mirror.repository.files[MANIFEST]
    assert [each.name for each in mirror.check().damage] == [MANIFEST]


# --- tags -----------------------------------------------------------------------------------------


def test_tags_are_walked(mirror: Mirror) -> None:
    """What only a tag needs must be here too."""
    lost = content(mirror, b"tool 1")
    del memory(mirror).objects[lost]
    assert damage(mirror.check()) == [(object_path(lost), "/app", "missing")]


@pytest.mark.parametrize("readers", [1, 16])
def test_what_tags_share_is_looked_at_once(mirror: Mirror, readers: int) -> None:
    """A catalog of several revisions counts once, whether they are read together or in turn."""
    for number in range(3):
        mirror.repository.publish({**TREE, "": {"n": b"%d" % number}}, tag=f"same {number}")
    mirror.snapshot()
    replica = replace(mirror.replica, breadth=Breadth(readers))
    report = run(check_replica(replica, NOW, full=True, progress=lambda _report: None))
    assert (report.catalogs, report.damage_count) == (2 + 3 + 3, 0)


def test_collected_tags_are_no_damage(mirror: Mirror) -> None:
    """Where garbage is collected, a tag whose root is gone is told apart."""
    del memory(mirror).objects[mirror.repository.tags["v1"].root_catalog]
    report = mirror.check()
    assert (report.damage, report.collected_tags) == ([], ["v1"])


def test_lost_tags_are_damage(mirror: Mirror) -> None:
    """Where nothing is collected they got lost."""
    root = mirror.repository.tags["v1"].root_catalog
    del memory(mirror).objects[root]
    mirror.repository.resign(G="no")
    memory(mirror).root_files[MANIFEST] = mirror.repository.files[MANIFEST]
    assert damage(mirror.check()) == [(object_path(root), "/", "missing")]


def test_a_history_that_is_none(mirror: Mirror) -> None:
    """It is damage, and the head is looked at all the same."""
    database = history_database("other.example.org", [])
    history = mirror.repository.add_object(database, Suffix.HISTORY)
    memory(mirror).objects[history] = mirror.repository.files[object_path(history)]
    mirror.repository.resign(H=history.text)
    memory(mirror).root_files[MANIFEST] = mirror.repository.files[MANIFEST]
    report = mirror.check()
    assert [each.name for each in report.damage] == [object_path(history)]
    assert report.catalogs == 4


def test_without_a_history(mirror: Mirror) -> None:
    """No tags, no damage."""
    mirror.repository.resign(H=None)
    memory(mirror).root_files[MANIFEST] = mirror.repository.files[MANIFEST]
    assert not mirror.check().damage


# --- the disk itself ------------------------------------------------------------------------------


def test_a_disk_that_cannot_be_read(mirror: Mirror) -> None:
    """It is an error of its own, and not reported as a thousand missing objects."""

    class Failing(Recorder):
        """Cannot tell what is there."""

        def before(self, operation: Operation) -> None:
            """As `Watch.before`."""
            if operation.kind == "present":
                raise StoreUnavailable("I/O error")

    mirror.watch = Failing()
    with pytest.raises(StoreUnavailable):
        mirror.check(full=False)


def test_cancelled_at_any_moment(keys: Keys, tmp_path: Path) -> None:
    """No file stays open: warnings about those are errors here."""
    repository = Repository(keys)
    repository.publish(NEXT_TREE)
    mirror = Mirror.on_disk(repository, tmp_path)
    mirror.snapshot()

    async def main() -> None:
        checking = check_replica(mirror.replica, NOW, full=True, progress=lambda _report: None)
        turn = 0
        while await is_cancelled_at(turn, checking):
            checking = check_replica(mirror.replica, NOW, full=True, progress=lambda _report: None)
            turn += 5

    run(main())


def test_damage_is_an_error_with_its_own_exit_code(mirror: Mirror) -> None:
    """Missing and wrong are of the family that `check` is about."""
    del memory(mirror).objects[content(mirror, b"deep")]
    assert [type(each.error) for each in mirror.check().damage] == [DamageError]
