"""Is everything there that the manifest and the tags refer to?

The walk is that of a snapshot, but over the store, and it believes nothing: that a catalog is there
does not spare its tree. With ``full`` every byte is hashed too. Signatures count as well: a replica
whose whitelist has expired is of no use to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from mirror.cvmfs.catalog import Catalog, NestedRef, ObjectRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.history import Tag
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import MANIFEST, WHITELIST, object_path
from mirror.errors import DamageError, Failure, MirrorError, ObjectMissing
from mirror.replication.catalog_file import open_catalog
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.origin import read_object, tags_of
from mirror.replication.replica import Replica
from mirror.replication.walk import Breadth, Walk
from mirror.store.base import ObjectReader
from mirror.store.threads import in_thread, open_in_thread
from mirror.trust.trusted_ensemble import TrustedEnsemble

_READERS: Final = 16
"""Each holds a whole catalog; a disk is not an ocean that many requests have to cross."""

Progress = Callable[["CheckReport"], None]
"""Hears the counts as they grow."""


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        revision: of the manifest; None if there is none.
        catalogs: looked into.
        objects: references to objects; one that several entries share counts for each.
        damage: what is missing or wrong, the first thousand.
        damage_count: all of it.
        collected_tags: tags whose root was collected at the origin; no damage.
    """

    revision: int | None = None
    catalogs: int = 0
    objects: int = 0
    damage: list[Failure] = field(default_factory=list)
    damage_count: int = 0
    collected_tags: list[str] = field(default_factory=list)

    def add(self, failure: Failure) -> None:
        """Note one more thing that is not right."""
        self.damage_count += 1
        if len(self.damage) < 1000:
            self.damage.append(failure)


async def check_replica(
    replica: Replica, now: datetime, *, full: bool, progress: Progress
) -> CheckReport:
    """Look at everything; raises only if the disk itself fails.

    Args:
        replica: which.
        now: the moment that the whitelist's expiry is judged by.
        full: hash every object.
        progress: hears the counts.

    Raises:
        StoreError: files cannot be read.
    """
    report = CheckReport()
    manifest = await _check_ensemble(replica, now, report)
    if manifest is None:
        return report
    report.revision = manifest.revision
    checking = Checking(replica, report, full=full, progress=progress)
    named = [each for each in manifest.named_objects if each != manifest.root_catalog]
    await checking.check_named(named)
    tags = await _tags(replica, manifest, report)
    roots = {tag.root_catalog: tag.name for tag in tags}
    if manifest.is_garbage_collectable:
        here = await replica.store.present(roots)
        report.collected_tags = [name for root, name in roots.items() if root not in here]
        roots = {root: name for root, name in roots.items() if root in here}
    wanted = [CatalogRef(root, "", Role.TAG, None, f"tag {name}") for root, name in roots.items()]
    head = CatalogRef(manifest.root_catalog, "", Role.HEAD, None, "the manifest")
    breadth = Breadth(readers=min(_READERS, replica.breadth.readers))
    await Walk(checking, replica.limits, breadth).run([head, *wanted])
    return report


async def _check_ensemble(replica: Replica, now: datetime, report: CheckReport) -> Manifest | None:
    """Signatures and names of the root files; the manifest, if it can be read at all."""
    store, limits = replica.store, replica.limits
    raw = await store.read_root_file(MANIFEST, limits.letter_bytes)
    if raw is None:
        missing = ObjectMissing("missing; there was no snapshot yet")
        report.add(Failure(MANIFEST, "/", missing))
        return None
    manifest = None
    try:
        manifest = Manifest.parse(raw)
        trusted = TrustedEnsemble(replica.anchor, now, limits=limits)
        due = trusted.accept_manifest(raw)
        trusted.accept_certificate(
            await in_thread(lambda: read_object(store, due, limits.letter_bytes))
        )
        whitelist = await store.read_root_file(WHITELIST, limits.letter_bytes)
        if whitelist is None:
            report.add(Failure(WHITELIST, "/", DamageError("missing")))
        else:
            trusted.accept_whitelist(whitelist)
    except MirrorError as error:
        report.add(Failure(MANIFEST, "/", error))
    return manifest


async def _tags(replica: Replica, manifest: Manifest, report: CheckReport) -> list[Tag]:
    history, limits = manifest.history, replica.limits
    if history is None:
        return []

    def read() -> list[Tag]:
        packed = read_object(replica.store, history, limits.history_bytes)
        return tags_of(packed, replica.fqrn, limits)

    try:
        return await in_thread(read)
    except ObjectMissing:
        return []  # `check_named` has told
    except MirrorError as error:
        report.add(Failure(object_path(history), "/", error))
        return []


@dataclass(eq=False, slots=True)
class CheckedCatalog:
    """A catalog of the store, open for reading; counts the references that are read from it."""

    catalog: Catalog
    nested: Sequence[NestedRef]
    predecessor: None = None
    is_small: bool = False
    count: int = 0

    def objects(self) -> Iterator[ObjectRef]:
        """As `OpenCatalog.objects`."""
        for ref in self.catalog.objects():
            self.count += 1
            yield ref

    def close(self) -> None:
        """As `OpenCatalog.close`."""
        self.catalog.close()


class Checking:
    """A `Visitor` that only looks."""

    def __init__(
        self, replica: Replica, report: CheckReport, *, full: bool, progress: Progress
    ) -> None:
        self._store: ObjectReader = replica.store
        self._scratch = Path(gettempdir())  # not the replica's: a snapshot that begins clears that
        self._limits: Limits = replica.limits
        self._report = report
        self._full = full
        self._progress = progress
        self._visited: set[ContentHash] = set()

    async def check_named(self, hashes: Sequence[ContentHash]) -> None:
        """What the manifest names beside the root catalog, which the walk looks at."""
        good = await self._good(hashes)
        for content_hash in hashes:
            if content_hash not in good:
                self.report(self._damage(content_hash, "/", await self._store.present(hashes)))

    async def open_catalog(self, ref: CatalogRef) -> CheckedCatalog | None:
        """Open each catalog once; one with wrong bytes is damage, and not looked into."""
        if ref.hash in self._visited:
            return None
        self._visited.add(ref.hash)
        if ref.hash not in await self._store.sound([ref.hash]):
            there = await self._store.present([ref.hash])
            raise self._damage(ref.hash, ref.place, there).error
        self._report.catalogs += 1
        self._progress(self._report)

        def unpack() -> CheckedCatalog:
            packed = self._store.open_object(ref.hash)
            catalog = open_catalog(packed, ref, self._scratch, self._limits)
            try:
                return CheckedCatalog(catalog, catalog.nested_catalogs())
            except BaseException:
                catalog.close()
                raise

        return await open_in_thread(unpack)

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Those that are not there, or not right; `deliver` tells why."""
        good = await self._good([ref.hash for ref in refs])
        return [ref for ref in refs if ref.hash not in good]

    async def deliver_in_bulk(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Each has its own story."""
        return refs

    async def deliver_elsewhere(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Nor is there another way."""
        return refs

    async def deliver(self, ref: ObjectRef) -> None:
        """Say what is wrong with an object that `missing` found."""
        raise self._damage(ref.hash, "", await self._store.present([ref.hash])).error

    async def complete(self, ref: CatalogRef, catalog: CheckedCatalog) -> None:  # noqa: ARG002 - protocol
        """Count what was looked at; a check changes nothing."""
        self._report.objects += catalog.count
        self._progress(self._report)

    async def abandon(self, ref: CatalogRef, catalog: CheckedCatalog) -> None:
        """The same where something was not right."""
        await self.complete(ref, catalog)

    def report(self, failure: Failure) -> None:
        """Note damage."""
        self._report.add(failure)

    async def _good(self, hashes: Sequence[ContentHash]) -> set[ContentHash]:
        return await (self._store.sound if self._full else self._store.present)(hashes)

    @staticmethod
    def _damage(content_hash: ContentHash, place: str, there: set[ContentHash]) -> Failure:
        is_there = content_hash in there
        reason = "its bytes do not have the hash it is named by" if is_there else "missing"
        return Failure(object_path(content_hash), place, DamageError(reason))
