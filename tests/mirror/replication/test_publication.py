from __future__ import annotations

from pathlib import Path

import pytest

from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, REFLOG, WHITELIST, WHITELIST_PKCS7, object_path
from mirror.cvmfs.reflog import Reflog
from mirror.errors import ObjectMissing, StoreFull
from mirror.events import ignore
from mirror.replication.publication import Publication, publish
from mirror.replication.reflog_file import CHECKSUM_FILE, ReflogFile
from mirror.store.memory import MemoryStore
from mirror.trust.trusted_ensemble import Ensemble, TrustedEnsemble
from tests.support.clock import NOW
from tests.support.keys import Keys
from tests.support.loops import run
from tests.support.publisher import Repository
from tests.support.watched import FullDisk, Recorder, Watch, WatchedStore


class Desk:
    """Everything that is to be published, and a store that has the objects."""

    def __init__(self, repository: Repository, spool: Path) -> None:
        self.repository = repository
        self.store = MemoryStore()
        self.spool = spool
        for name in self.ensemble.manifest.named_objects:
            self.store.objects[name] = repository.files[object_path(name)]

    @property
    def ensemble(self) -> Ensemble:
        """What the publisher signed last."""
        trusted = TrustedEnsemble(self.repository.anchor, NOW)
        due = trusted.accept_manifest(self.repository.files[MANIFEST])
        trusted.accept_certificate(self.repository.files[object_path(due)])
        return trusted.accept_whitelist(self.repository.files[WHITELIST])

    def publish(
        self, watch: Watch, *, pkcs7: bytes | None = b"pkcs7", has_reflog: bool = True
    ) -> None:
        """Publish it."""
        fqrn = self.repository.fqrn
        reflog = Reflog.empty(fqrn) if has_reflog else None
        store = WatchedStore(self.store, watch)
        reflog_file = ReflogFile(store, self.spool, fqrn, ignore)
        run(publish(Publication(self.ensemble, pkcs7, reflog), store, reflog_file))


@pytest.fixture
def desk(keys: Keys, tmp_path: Path) -> Desk:
    """One revision with a tag, ready to be published."""
    repository = Repository(keys)
    repository.publish({"": {"README": b"hello"}}, tag="v1")
    return Desk(repository, tmp_path)


def test_root_files_in_their_order(desk: Desk) -> None:
    """Reflog, whitelist with its companion before it, and the manifest last of all."""
    recorder = Recorder()
    desk.publish(recorder)
    assert [str(each) for each in recorder.operations] == [
        f"write_root_file {name}" for name in (REFLOG, WHITELIST_PKCS7, WHITELIST, MANIFEST)
    ]
    for name in (WHITELIST, MANIFEST):
        assert desk.store.root_files[name] == desk.repository.files[name]
    assert desk.store.root_files[WHITELIST_PKCS7] == b"pkcs7"
    assert (desk.spool / CHECKSUM_FILE).exists()


def test_alternative_paths_before_the_manifest_that_needs_them(desk: Desk) -> None:
    """Clients that read the new manifest find them."""
    desk.repository.resign(A="yes")
    recorder = Recorder()
    desk.publish(recorder)
    placed = recorder.names("place_alternative")
    named = Manifest.parse(desk.repository.files[MANIFEST]).named_objects
    assert placed == [object_path(name) for name in named]
    assert recorder.names("place_alternative", "write_root_file")[-2:] == [WHITELIST, MANIFEST]


def test_only_what_there_is(desk: Desk) -> None:
    """Without a companion and without a new reflog those two are left alone."""
    recorder = Recorder()
    desk.publish(recorder, pkcs7=None, has_reflog=False)
    assert recorder.names("write_root_file") == [WHITELIST, MANIFEST]
    assert not (desk.spool / CHECKSUM_FILE).exists()


def test_what_is_there_is_not_written_again(desk: Desk) -> None:
    """A run that brings nothing new costs no sync; one that brings a little costs that."""
    desk.publish(Recorder())
    recorder = Recorder()
    desk.publish(recorder, has_reflog=False)
    assert not recorder.operations
    desk.store.root_files[WHITELIST] += b"longer than ours"
    desk.store.root_files[WHITELIST_PKCS7] = b"p"
    desk.publish(recorder, has_reflog=False)
    assert recorder.names("write_root_file") == [WHITELIST_PKCS7, WHITELIST]


def named(desk: Desk, field: str) -> ContentHash:
    """One of the objects that the manifest names."""
    manifest = desk.ensemble.manifest
    found = {
        "root catalog": manifest.root_catalog,
        "history": manifest.history,
        "certificate": manifest.certificate,
        "meta info": manifest.meta_info,
    }[field]
    assert found is not None
    return found


@pytest.mark.parametrize("field", ["root catalog", "history", "certificate", "meta info"])
def test_nothing_is_published_that_is_not_whole(desk: Desk, field: str) -> None:
    """What the manifest names must be here; else not one root file is touched."""
    missing = named(desk, field)
    del desk.store.objects[missing]
    recorder = Recorder()
    with pytest.raises(ObjectMissing, match=rf"{object_path(missing)}.*nothing was .*--repair"):
        desk.publish(recorder)
    assert not recorder.operations
    assert not (desk.spool / CHECKSUM_FILE).exists()


def test_what_the_manifest_does_not_name_is_not_needed(desk: Desk) -> None:
    """Neither history nor meta info must be there."""
    for field in ("history", "meta info"):
        del desk.store.objects[named(desk, field)]
    desk.repository.resign(H=None, M=None)
    desk.publish(Recorder())
    assert desk.store.root_files[MANIFEST] == desk.repository.files[MANIFEST]


def test_a_full_disk_leaves_the_old_manifest(desk: Desk) -> None:
    """Wherever the space ends, it is not the manifest that is half written."""
    desk.publish(Recorder())
    old = desk.store.root_files[MANIFEST]
    desk.repository.publish({"": {"README": b"changed"}})
    for name in desk.ensemble.manifest.named_objects:
        desk.store.objects[name] = desk.repository.files[object_path(name)]
    last = len(desk.repository.files[MANIFEST]) - 1
    for free_bytes in (0, last):
        with pytest.raises(StoreFull):
            desk.publish(FullDisk(free_bytes, notices_at="write"), pkcs7=None, has_reflog=False)
        assert desk.store.root_files[MANIFEST] == old
