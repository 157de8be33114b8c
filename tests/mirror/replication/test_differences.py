from __future__ import annotations

import zlib
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, object_path
from mirror.errors import StoreUnavailable
from mirror.replication import served_tree
from mirror.store.memory import MemoryStore
from tests.support.publisher import Repository, Tree
from tests.support.replicas import Mirror
from tests.support.trees import TREE

SOON = datetime(2026, 1, 1, 1, tzinfo=UTC)
CHANGED: Tree = {**TREE, "/app": {**TREE["/app"], "new": b"brand new"}}
NEW = ContentHash.of(Algorithm.SHA1, zlib.compress(b"brand new"))


class AttentiveStore(MemoryStore):
    """Remembers what was looked for, and what was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_for: list[ContentHash] = []
        self.opened: list[IO[bytes]] = []

    def open_object(self, content_hash: ContentHash) -> IO[bytes]:
        """As `MemoryStore.open_object`."""
        self.opened.append(super().open_object(content_hash))
        return self.opened[-1]

    async def present(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `MemoryStore.present`."""
        self.looked_for += hashes
        return await super().present(hashes)

    def looks(self, *suffixes: Suffix) -> int:
        """How many of one kind."""
        return sum(each.suffix in suffixes for each in self.looked_for)


@pytest.fixture
def store() -> AttentiveStore:
    """Of a replica that is about to have its first snapshot."""
    return AttentiveStore()


@pytest.fixture
def mirror(repository: Repository, store: AttentiveStore, tmp_path: Path) -> Mirror:
    """Once snapshotted."""
    mirror = Mirror(repository, tmp_path, lambda: store)
    mirror.snapshot()
    store.looked_for.clear()
    return mirror


def test_only_what_is_new_is_looked_for(mirror: Mirror, store: AttentiveStore) -> None:
    """One new file: one look, however many files and catalogs stayed as they were."""
    mirror.repository.publish(CHANGED)
    mirror.snapshot(SOON)
    mirror.require_current()
    assert store.looks(Suffix.NONE, Suffix.PARTIAL) == 1


def test_catalogs_that_stayed_are_not_looked_for(mirror: Mirror, store: AttentiveStore) -> None:
    """Those that changed are, and the root that was served, as a predecessor."""
    served = mirror.root_file(MANIFEST)
    assert served is not None
    mirror.repository.publish(CHANGED)
    mirror.snapshot(SOON)
    looked_for = {object_path(each) for each in store.looked_for if each.suffix is Suffix.CATALOG}
    asked = {request.path for request in mirror.stratum0.requests}
    catalogs = {path for path in asked if path.endswith("C")}
    assert looked_for == catalogs | {object_path(Manifest.parse(served).root_catalog)}


def test_revisions_in_between_do_not_matter(mirror: Mirror, store: AttentiveStore) -> None:
    """What counts is what is served, not which revision came right before the new one."""
    mirror.repository.publish({**TREE, "": {"note": b"other readme"}})
    mirror.repository.publish({**CHANGED, "": {"note": b"another readme"}})
    mirror.snapshot(SOON)
    mirror.require_current()
    assert NEW in store.objects


def test_a_served_catalog_that_is_damaged_hides_nothing(
    mirror: Mirror, store: AttentiveStore
) -> None:
    """It is no help, and no obstacle."""
    for each in [each for each in store.objects if each.suffix is Suffix.CATALOG]:
        store.objects[each] = b"damaged"
    mirror.repository.publish(CHANGED)
    mirror.snapshot(SOON)
    assert NEW in store.objects
    assert store.looks(Suffix.NONE, Suffix.PARTIAL) > 1


def test_a_repair_looks_at_everything(mirror: Mirror, store: AttentiveStore) -> None:
    """What is served may be what is broken."""
    lost = next(each for each in store.objects if each.suffix is Suffix.NONE)
    del store.objects[lost]
    mirror.repository.publish(CHANGED)
    mirror.snapshot(SOON, repairs=True)
    mirror.require_current()
    assert lost in store.objects


@pytest.mark.parametrize("in_memory_bytes", [0, 2**20])
def test_what_is_compared_with_is_closed_whatever_happens(
    mirror: Mirror, store: AttentiveStore, monkeypatch: pytest.MonkeyPatch, in_memory_bytes: int
) -> None:
    """Large or small, and though the disk fails right then."""
    monkeypatch.setattr(served_tree, "_IN_MEMORY_BYTES", in_memory_bytes)
    closed: list[Catalog] = []
    close = Catalog.close

    def fail(*_: object) -> None:
        raise StoreUnavailable("the disk reports an error")

    def closing(catalog: Catalog) -> None:
        closed.append(catalog)
        close(catalog)

    monkeypatch.setattr(served_tree.ServedTree, "opened", fail)
    monkeypatch.setattr(Catalog, "close", closing)
    mirror.repository.publish(CHANGED)
    store.opened.clear()
    with pytest.raises(StoreUnavailable):
        mirror.snapshot(SOON)
    assert closed
    assert store.opened
    assert all(file.closed for file in store.opened)
