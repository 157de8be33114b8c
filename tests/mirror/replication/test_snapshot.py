from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import (
    IS_SNAPSHOTTING,
    LAST_SNAPSHOT,
    MANIFEST,
    MASTER_REPLICA,
    REFLOG,
    WHITELIST,
    WHITELIST_PKCS7,
    alternative_path,
    object_path,
)
from mirror.cvmfs.reflog import Reflog
from mirror.errors import (
    Equivocation,
    Locked,
    MirrorError,
    NotFound,
    ObjectMissing,
    Refused,
    Rollback,
    SnapshotFailed,
    StoreUnavailable,
    Unavailable,
    WhitelistExpired,
)
from mirror.events import (
    ManifestAccepted,
    ReflogHealed,
    SnapshotFinished,
    SnapshotStarted,
)
from mirror.replication import state
from mirror.replication.lock import is_locked, replica_lock
from mirror.replication.snapshot import SnapshotOptions, SnapshotReport, SnapshotRun
from mirror.store.memory import MemoryStore
from tests.support.clock import NOW
from tests.support.databases import Mount, catalog_database
from tests.support.faults import unavailable
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.replicas import Mirror
from tests.support.trees import NEXT_TREE, TREE, numbered
from tests.support.watched import Operation, Recorder

Make = Callable[[Repository, Path], Mirror]
EVERY_RUN = [MASTER_REPLICA, MANIFEST, WHITELIST]


def named(mirror: Mirror, suffix: Suffix) -> str:
    """Where an object lies that the published manifest names."""
    objects = Manifest.parse(mirror.repository.files[MANIFEST]).named_objects
    return next(object_path(each) for each in objects if each.suffix is suffix)


# --- what is asked for, in which order ------------------------------------------------------------


def test_the_order_of_requests(mirror: Mirror) -> None:
    """Root files side by side, then the certificate; and only what is trusted is followed."""
    mirror.repository.publish(TREE, tag="v1")
    mirror.snapshot()
    certificate, history, meta_info, root = (
        named(mirror, suffix)
        for suffix in (Suffix.CERTIFICATE, Suffix.HISTORY, Suffix.META_INFO, Suffix.CATALOG)
    )
    paths = mirror.stratum0.paths
    assert paths[:4] == [MASTER_REPLICA, MANIFEST, WHITELIST, certificate]
    assert set(paths[4:7]) >= {history, root}  # neither waits for the other
    assert meta_info in paths


def test_nothing_new_costs_three_requests(mirror: Mirror) -> None:
    """Sentinel, manifest, whitelist; and nothing is written below the root but our own notes."""
    mirror.snapshot()
    mirror.watch = recorder = Recorder()
    report = mirror.snapshot()
    assert mirror.stratum0.paths == EVERY_RUN
    assert set(recorder.names("write_root_file")) <= {
        IS_SNAPSHOTTING,
        LAST_SNAPSHOT,
        ".cvmfs_status.json",
    }
    assert recorder.names("commit") == []
    assert report == SnapshotReport(1, 1, report.published_at, True, 0, 0)


def test_root_files_are_asked_for_past_caches(mirror: Mirror) -> None:
    """They may be a minute old there; objects are for ever, and caches are there for them."""
    mirror.snapshot()
    fresh = {request.path for request in mirror.stratum0.requests if request.is_fresh}
    assert fresh == set(EVERY_RUN)


def test_everything_is_asked_for_with_a_limit(mirror: Mirror) -> None:
    """Nothing is read without one."""
    mirror.snapshot()
    assert max(request.max_bytes for request in mirror.stratum0.requests) < 2**34


# --- what is published ----------------------------------------------------------------------------


def test_what_is_served_is_what_was_signed(mirror: Mirror) -> None:
    """Manifest and whitelist, byte for byte."""
    mirror.snapshot()
    for name in (MANIFEST, WHITELIST):
        assert mirror.root_file(name) == mirror.repository.files[name]
    assert mirror.root_file(WHITELIST_PKCS7) is None


def test_a_renewed_whitelist_is_published(mirror: Mirror) -> None:
    """Though the manifest is the one we have: clients need it before the old one expires."""
    mirror.snapshot()
    mirror.repository.write_whitelist(expires_at=NOW + timedelta(days=30))
    report = mirror.snapshot()
    assert report.was_current
    assert mirror.stratum0.paths == EVERY_RUN
    assert mirror.root_file(WHITELIST) == mirror.repository.files[WHITELIST]


def test_new_meta_info_alone(mirror: Mirror) -> None:
    """The revision stays, and it is fetched and published."""
    mirror.snapshot()
    described = mirror.repository.add_meta_info({"description": "new"})
    mirror.repository.resign(M=described.text)
    assert not mirror.snapshot().was_current
    assert mirror.stratum0.paths == [*EVERY_RUN, object_path(described)]
    mirror.require_current()


def test_a_new_tag_alone(mirror: Mirror) -> None:
    """The revision stays; the history is fetched, and the tag's tree if it is not here."""
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE, tag="v2")
    mirror.snapshot()
    mirror.repository.tags["again"] = replace(mirror.repository.tags["v2"], name="again")
    mirror.repository.sign()
    mirror.snapshot()
    assert mirror.stratum0.paths == [*EVERY_RUN, named(mirror, Suffix.HISTORY)]
    mirror.require_current()


def test_a_jump_of_revisions(mirror: Mirror) -> None:
    """Numbers need not follow each other."""
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE)
    mirror.repository.resign(S="100")
    report = mirror.snapshot()
    assert (report.previous_revision, report.revision) == (1, 100)
    mirror.require_current()


def test_without_history_and_meta_info(mirror: Mirror) -> None:
    """Neither must be there."""
    mirror.repository.resign(H=None, M=None, B=None, G=None, A=None, N=None, T=None)
    mirror.snapshot()
    mirror.require_current()
    suffixes = {path[-1] for path in mirror.stratum0.paths if path.startswith("data/")}
    assert not suffixes & {"H", "M"}


def test_a_new_certificate(mirror: Mirror, other_keys: Keys) -> None:
    """The publisher's key changes, the master key stays."""
    mirror.snapshot()
    repository = mirror.repository
    repository.keys = Keys(repository.keys.master, other_keys.publisher, other_keys.certificate)
    repository.publish(NEXT_TREE)
    mirror.snapshot()
    mirror.require_current()


def test_alternative_paths(mirror_on_disk: Mirror) -> None:
    """The certificate is had from its alternative path; links to all four are made."""
    repository = mirror_on_disk.repository
    repository.publish(TREE, tag="v1")
    repository.resign(A="yes")
    objects = Manifest.parse(repository.files[MANIFEST]).named_objects
    certificate = next(each for each in objects if each.suffix is Suffix.CERTIFICATE)
    path = alternative_path(certificate)
    repository.files[path] = repository.files.pop(object_path(certificate))
    mirror_on_disk.snapshot()
    assert mirror_on_disk.stratum0.paths[:4] == [*EVERY_RUN, path]
    for each in objects:
        link = mirror_on_disk.directory / "srv" / alternative_path(each)
        assert link.readlink() == Path(object_path(each))
        assert link.exists()
    mirror_on_disk.require_current()


def use_pkcs7(repository: Repository) -> None:
    """Let the whitelist say that it has a companion."""
    listed = str(repository.keys.fingerprint(repository.algorithm))
    repository.write_whitelist(lines=["Vpkcs7", listed])


def test_the_whitelist_may_have_a_companion(mirror: Mirror) -> None:
    """It is published with it, and must be there if the whitelist says so."""
    use_pkcs7(mirror.repository)
    with pytest.raises(NotFound, match=WHITELIST_PKCS7):
        mirror.snapshot()
    assert mirror.root_file(MANIFEST) is None
    mirror.repository.files[WHITELIST_PKCS7] = b"signed in another way"
    mirror.snapshot()
    assert mirror.root_file(WHITELIST_PKCS7) == b"signed in another way"
    mirror.require_current()


# --- kinds of repositories ------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", Algorithm)
@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("make", [Mirror.in_memory, Mirror.on_disk], ids=["memory", "disk"])
def test_every_style(
    keys: Keys, tmp_path: Path, algorithm: Algorithm, *, is_packed: bool, make: Make
) -> None:
    """Three hash algorithms, compressed or not, in either store: one revision and the next."""
    repository = Repository(keys, algorithm=algorithm, is_packed=is_packed, chunk_bytes=150_000)
    mirror = make(repository, tmp_path)
    for tree in (TREE, NEXT_TREE):
        repository.publish(tree)
        mirror.snapshot()
        mirror.require_current()


@pytest.mark.parametrize(("schema", "revision"), [(2.5, 0), (2.4, 0), (2.0, 0), (1.2, 0), (0.9, 0)])
def test_old_schemas(mirror: Mirror, schema: float, revision: int) -> None:
    """Catalogs of old publishers have no chunks, no sizes of nested ones, and are followed."""
    repository = mirror.repository
    nested = repository.add_catalog(
        catalog_database(root_prefix="/old", schema=schema, schema_revision=revision)
    )
    database = catalog_database(
        nested=[Mount("/old", nested)], schema=schema, schema_revision=revision
    )
    root = repository.add_catalog(database)
    repository.resign(C=root.text, B=str(len(database)), S="2")
    mirror.snapshot()
    assert object_path(nested) in mirror.stratum0.paths
    mirror.require_current()


def test_bind_mountpoints_are_not_followed(mirror: Mirror) -> None:
    """They lead to catalogs that are nested elsewhere, or in another repository."""
    elsewhere = ContentHash.of(Algorithm.SHA1, b"elsewhere", Suffix.CATALOG)
    mirror.repository.publish(TREE, bind_mountpoints={"": [Mount("/bound", elsewhere)]})
    mirror.snapshot()
    assert object_path(elsewhere) not in mirror.stratum0.paths
    mirror.require_current()


# --- what is told ---------------------------------------------------------------------------------


def test_events(mirror: Mirror) -> None:
    """Begin, what was accepted, the end."""
    fqrn = mirror.repository.fqrn
    first = _offered(mirror)
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE)
    mirror.snapshot()
    assert mirror.heard(SnapshotStarted) == [
        SnapshotStarted(fqrn, "simulated://stratum0", is_initial) for is_initial in (True, False)
    ]
    assert mirror.heard(ManifestAccepted) == [
        ManifestAccepted(fqrn, 1, None, first),
        ManifestAccepted(fqrn, 2, 1, _offered(mirror)),
    ]
    assert mirror.heard(SnapshotFinished) == [SnapshotFinished(fqrn, n) for n in (1, 2)]


def _offered(mirror: Mirror) -> Manifest:
    return Manifest.parse(mirror.repository.files[MANIFEST])


class Peeking(Recorder):
    """Looks at the root files whenever an object is committed.

    Attributes:
        seen: which there were.
    """

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self.seen: set[frozenset[str]] = set()
        self._mirror = mirror

    def after(self, operation: Operation) -> None:
        """As `Watch.after`."""
        store = self._mirror.store
        assert isinstance(store, MemoryStore)
        if operation.kind == "commit":
            self.seen.add(frozenset(store.root_files))


def test_status_files(mirror: Mirror) -> None:
    """When the last snapshot ended well is told; that one is under way, only while it is."""
    mirror.watch = peeking = Peeking(mirror)
    mirror.snapshot()
    assert peeking.seen == {frozenset({IS_SNAPSHOTTING})}
    assert run(state.last_snapshot(mirror.store)) == NOW
    assert mirror.root_file(IS_SNAPSHOTTING) is None


def test_a_failed_run_is_none(mirror: Mirror) -> None:
    """It is not told as the last snapshot, nor as one under way."""
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE)
    mirror.repository.drop(object_path(mirror.repository.revisions[-1].root))
    with pytest.raises(SnapshotFailed):
        mirror.snapshot(NOW + timedelta(days=1))
    assert run(state.last_snapshot(mirror.store)) == NOW
    assert mirror.root_file(IS_SNAPSHOTTING) is None
    assert len(mirror.heard(SnapshotFinished)) == 1


@pytest.mark.parametrize("path", [MASTER_REPLICA, MANIFEST, WHITELIST])
def test_a_server_in_trouble(mirror: Mirror, path: str) -> None:
    """The error of the server is the error of the run, and everything stays as it was."""
    mirror.snapshot()
    mirror.stratum0.faults[path] = unavailable
    with pytest.raises(Unavailable):
        mirror.snapshot()
    assert mirror.require_whole() == 1
    assert mirror.leftovers() == []
    assert not is_locked(mirror.spool)


def test_no_permission(mirror: Mirror) -> None:
    """Without the sentinel nothing is followed, whatever else may be wrong."""
    mirror.repository.drop(MASTER_REPLICA)
    mirror.repository.drop(WHITELIST)
    with pytest.raises(Refused, match=r"does not offer .* no \.cvmfs_master_replica; check the"):
        mirror.snapshot()
    assert mirror.stratum0.paths == EVERY_RUN


def test_one_run_at_a_time(mirror: Mirror) -> None:
    """While somebody holds the lock nothing is asked for and nothing written."""
    mirror.watch = recorder = Recorder()
    with replica_lock(mirror.spool), pytest.raises(Locked):
        mirror.snapshot()
    assert mirror.stratum0.paths == []
    assert not recorder.operations


# --- reflog ---------------------------------------------------------------------------------------


def reflog_of(mirror: Mirror) -> dict[ContentHash, int]:
    """What is in it."""
    raw = mirror.root_file(REFLOG)
    assert raw is not None
    return Reflog.parse(raw, mirror.repository.fqrn).refs


def seconds(moment: datetime) -> int:
    """As in a reflog."""
    return int(moment.timestamp())


def test_the_reflog_has_every_root(mirror: Mirror) -> None:
    """Head, predecessors and tags with when they came; certificate, history, meta info as well."""
    mirror.repository.publish(numbered(0), tag="v0")
    mirror.snapshot()
    for number in (1, 2):
        mirror.repository.publish(numbered(number))
    later = NOW + timedelta(hours=1)
    mirror.snapshot(later)
    refs, roots = reflog_of(mirror), [each.root for each in mirror.repository.revisions]
    assert [refs.get(root) for root in roots] == [None, *map(seconds, (NOW, later, later))]
    manifest = Manifest.parse(mirror.repository.files[MANIFEST])
    for each in manifest.named_objects[1:]:
        assert refs[each] == seconds(later)


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "damaged"])
def test_a_reflog_heals_with_what_is_here(mirror: Mirror, *, is_lost: bool) -> None:
    """The roots that are known to be here are in the new one: what was served, head and tags."""
    mirror.repository.publish(numbered(0), tag="v0")
    mirror.repository.publish(TREE)
    mirror.snapshot()
    store = mirror.store
    assert isinstance(store, MemoryStore)
    store.root_files[REFLOG] = b"damaged"
    if is_lost:
        del store.root_files[REFLOG]
    mirror.repository.publish(numbered(1))
    mirror.snapshot()
    assert len(mirror.heard(ReflogHealed)) == 1
    assert {each.root for each in mirror.repository.revisions[1:]} <= reflog_of(mirror).keys()


def test_collected_tags_are_not_in_the_reflog(mirror: Mirror) -> None:
    """What is not here is not said to be."""
    gone = mirror.repository.publish(numbered(0), tag="v0").root
    mirror.repository.publish(numbered(1))
    mirror.repository.drop(object_path(gone))
    mirror.snapshot()
    assert gone not in reflog_of(mirror)


# --- a step back ----------------------------------------------------------------------------------


def go_back(mirror: Mirror) -> None:
    """Let the publisher offer the first revision again, after a snapshot of the second."""
    first = dict(mirror.repository.files)
    mirror.repository.publish(NEXT_TREE)
    mirror.snapshot()
    mirror.repository.files.update({MANIFEST: first[MANIFEST]})


def test_a_step_back_is_refused(mirror: Mirror) -> None:
    """What we serve stays."""
    go_back(mirror)
    with pytest.raises(Rollback):
        mirror.snapshot()
    assert mirror.require_whole() == 2


def test_a_step_back_may_be_accepted(mirror: Mirror) -> None:
    """Once, by an operator; and the report says what was served before."""
    mirror.snapshot()
    go_back(mirror)
    options = SnapshotOptions(accepts_rollback=True)
    report = run(mirror.run_of(options=options).run())
    assert (report.previous_revision, report.revision) == (2, 1)
    mirror.require_current()
    assert mirror.snapshot().was_current


def test_two_roots_for_one_revision(mirror: Mirror) -> None:
    """The publisher, or somebody with its key, tells different mirrors different things."""
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE)
    mirror.repository.resign(S="1")
    with pytest.raises(Equivocation):
        mirror.snapshot()


def test_an_expired_whitelist(mirror: Mirror) -> None:
    """Nothing is fetched on the word of one."""
    mirror.repository.write_whitelist(expires_at=NOW)
    with pytest.raises(WhitelistExpired):
        mirror.snapshot(NOW + timedelta(seconds=1))
    assert mirror.stratum0.paths[-1] == WHITELIST


# --- damage of our own ----------------------------------------------------------------------------


def test_an_unreadable_manifest_of_our_own(mirror: Mirror) -> None:
    """Nobody knows what is served, so nothing is risked; the way out is told, and it works."""
    mirror.snapshot()
    store = mirror.store
    assert isinstance(store, MemoryStore)
    store.root_files[MANIFEST] = b"torn"
    with pytest.raises(StoreUnavailable, match=r"is damaged .* move it away"):
        mirror.snapshot()
    del store.root_files[MANIFEST]
    mirror.snapshot()
    assert set(mirror.stratum0.paths) <= {*EVERY_RUN, named(mirror, Suffix.META_INFO)}
    mirror.require_current()


@pytest.mark.parametrize("suffix", [Suffix.CATALOG, Suffix.HISTORY, Suffix.META_INFO])
def test_what_the_manifest_names_got_lost(mirror: Mirror, suffix: Suffix) -> None:
    """Though nothing is new it is noticed, and the repair that is recommended works."""
    mirror.repository.publish(TREE, tag="v1")
    mirror.snapshot()
    store = mirror.store
    assert isinstance(store, MemoryStore)
    lost = next(each for each in store.objects if object_path(each) == named(mirror, suffix))
    del store.objects[lost]
    with pytest.raises(ObjectMissing, match="snapshot --repair"):
        mirror.snapshot()
    mirror.snapshot(repairs=True)
    mirror.require_current()


def test_a_damaged_certificate_is_fetched_again(mirror: Mirror) -> None:
    """It is looked at in every run, and replaced as soon as there is something to publish."""
    mirror.snapshot()
    store = mirror.store
    assert isinstance(store, MemoryStore)
    path = named(mirror, Suffix.CERTIFICATE)
    certificate = next(each for each in store.objects if object_path(each) == path)
    store.objects[certificate] = zlib.compress(b"damaged")
    mirror.repository.publish(NEXT_TREE)
    mirror.snapshot()
    assert path in mirror.stratum0.paths
    mirror.require_current()


def test_dying_between_manifest_and_notes(mirror: Mirror) -> None:
    """The next run finds everything current, and notes it."""
    mirror.snapshot()
    store = mirror.store
    assert isinstance(store, MemoryStore)
    del store.root_files[LAST_SNAPSHOT]
    assert mirror.snapshot().was_current
    assert run(state.last_snapshot(store)) == NOW


# --- probing --------------------------------------------------------------------------------------


def test_probing(mirror: Mirror) -> None:
    """The origin's manifest, believed, for four requests; nothing is written."""
    mirror.watch = recorder = Recorder()
    assert run(mirror.run_of().probe()).revision == 1
    assert len(mirror.stratum0.paths) == 4
    assert not recorder.operations
    mirror.repository.flip(MANIFEST)
    with pytest.raises(MirrorError):
        run(mirror.run_of().probe())


def test_what_is_waited_for_before_a_flip(mirror: Mirror) -> None:
    """All objects are there then, and the old root files; never for the manifest we have."""
    mirror.repository.publish(TREE)
    mirror.snapshot()
    mirror.repository.publish(NEXT_TREE)
    seen: list[tuple[int, bytes | None]] = []
    before = mirror.root_file(MANIFEST)

    async def look(manifest: Manifest) -> None:
        assert manifest.root_catalog in await mirror.store.present([manifest.root_catalog])
        seen.append((manifest.revision, await mirror.store.read_root_file(MANIFEST, 10_000)))

    def attempt() -> None:
        upstream, emit = mirror.upstream, mirror.events.append
        run(SnapshotRun(mirror.replica, upstream, NOW, emit, before_flip=look).run())

    attempt()
    assert len(seen) == 1
    assert seen[0][1] == before
    assert mirror.root_file(MANIFEST) == mirror.repository.files[MANIFEST]
    attempt()
    assert len(seen) == 1
