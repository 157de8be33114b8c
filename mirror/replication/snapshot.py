"""One attempt to bring one replica to the revision that its origin is at.

`SnapshotRun.run` reads like the manual; each step is a method below it, in the same order. A run
owns everything that changes while it lasts and ends with it. Whatever stops it (an attack, a dead
network, a full disk, a kill) leaves the old revision served, and what it stored is not fetched
again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import gettempdir

from mirror.cvmfs.history import Tag
from mirror.cvmfs.manifest import Manifest
from mirror.cvmfs.paths import WHITELIST_PKCS7
from mirror.cvmfs.reflog import Reflog
from mirror.errors import SnapshotFailed
from mirror.events import Emit, ManifestAccepted, SnapshotFinished, SnapshotStarted
from mirror.replication import state
from mirror.replication.fetching import Bulk, Fetching, Lineage, Site
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.hash_set import HashSet
from mirror.replication.lock import replica_lock
from mirror.replication.meanwhile import meanwhile
from mirror.replication.origin import Named, Origin
from mirror.replication.publication import Publication, publish
from mirror.replication.reflog_file import ReflogFile
from mirror.replication.repairing import Repairing
from mirror.replication.replica import Replica, served_manifest
from mirror.replication.survey import Survey
from mirror.replication.tallying import Tallying
from mirror.replication.walk import Walk
from mirror.store.base import ObjectStore
from mirror.store.memory import MemoryStore
from mirror.trust.trusted_ensemble import Ensemble
from mirror.upstream.base import Upstream
from mirror.upstream.sources import Sources

BeforeFlip = Callable[[Manifest], Awaitable[None]]
"""Takes as long as this manifest may not be put before clients yet."""


@dataclass(frozen=True, slots=True)
class SnapshotOptions:
    """What an operator may ask of one run.

    Attributes:
        accepts_rollback: take an older revision this once.
        repairs: believe nothing in the store: walk everything, hash everything.
    """

    accepts_rollback: bool = False
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What a run did.

    Attributes:
        revision: served now.
        previous_revision: served before; None if nothing was.
        published_at: when the publisher signed it, Unix time.
        was_current: whether manifest and whitelist were the ones we had.
        stored_objects: fetched and committed, catalogs included.
        stored_bytes: their bytes, as stored.
    """

    revision: int
    previous_revision: int | None
    published_at: int
    was_current: bool
    stored_objects: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotPlan:
    """What a run would do.

    Attributes:
        revision: offered by the origin.
        served_revision: what we serve; None for nothing.
        missing_catalogs: to fetch.
        missing_catalog_bytes: as stored.
        missing_objects: to fetch: data objects and chunks.
        missing_object_bytes: unpacked, so at most what will be fetched.
    """

    revision: int
    served_revision: int | None
    missing_catalogs: int
    missing_catalog_bytes: int
    missing_objects: int
    missing_object_bytes: int


class SnapshotRun:
    """State and steps of one run; use it once."""

    def __init__(  # noqa: PLR0913 - what a run is made of
        self,
        replica: Replica,
        upstream: Upstream,
        now: datetime,
        emit: Emit,
        options: SnapshotOptions | None = None,
        *,
        bulk: Bulk | None = None,
        before_flip: BeforeFlip | None = None,
    ) -> None:
        """Prepare; nothing happens until `run` or `plan`.

        Args:
            replica: which, and where.
            upstream: from where; `Sources` if there are several.
            now: the moment that expiry is judged by, and that is written down.
            emit: hears what happens.
            options: what is asked of this run beyond the usual.
            bulk: a quicker way for small objects, from the same source to the same store.
            before_flip: is waited for when all is ready for another manifest than the served one.
        """
        self._replica = replica
        self._store = replica.store
        self._upstream = upstream
        self._now = now
        self._emit = emit
        self._options = options or SnapshotOptions()
        self._origin = Origin(upstream, replica.store, replica.limits)
        self._before_flip = before_flip
        self._root_files = self._origin  # of the one source whose manifest it will be
        self._reflog_file = ReflogFile(replica.store, replica.spool, replica.fqrn, emit)
        self._site = Site(
            replica.fqrn, upstream, replica.store, replica.scratch, replica.limits, emit, bulk
        )
        self._served: Manifest | None = None
        self._is_initial = True

    async def run(self) -> SnapshotReport:
        """Do it.

        Raises:
            UpstreamError, TrustError, FormatError, StoreError: why it could not begin or end.
            SnapshotFailed: objects could not be had; all others were fetched nevertheless.
        """
        with replica_lock(self._replica.spool):
            await self._store.prepare()
            await self._begin()
            if self._is_initial and self._site.bulk is not None:
                self._site.bulk.start()
            try:
                await state.tell_begun(self._store, self._now)
                report = await self._replicate(await self._accept_ensemble())
                await state.tell_succeeded(self._store, self._now)
            finally:
                await state.tell_ended(self._store)
        self._emit(SnapshotFinished(self._replica.fqrn, report.revision))
        return report

    async def plan(self) -> SnapshotPlan:
        """Say what `run` would fetch; reads catalogs, changes nothing, needs no lock.

        Raises:
            UpstreamError, TrustError, FormatError, StoreError, SnapshotFailed: as `run`.
        """
        manifest = await self.probe()
        elsewhere = replace(self._site, store=MemoryStore(), scratch=Path(gettempdir()))
        counted = HashSet()
        try:
            tally = Tallying(elsewhere, self._lineage(manifest), self._store, counted)
            async with self._walked(tally, manifest, elsewhere.store):
                pass  # counted
        finally:
            counted.close()
        return SnapshotPlan(
            revision=manifest.revision,
            served_revision=self._served_revision,
            missing_catalogs=tally.missing_catalogs,
            missing_catalog_bytes=tally.missing_catalog_bytes,
            missing_objects=tally.missing_objects,
            missing_object_bytes=tally.missing_object_bytes,
        )

    async def probe(self) -> Manifest:
        """Ask the origin for its revision, and believe it only if all signatures hold.

        Raises:
            UpstreamError, TrustError, FormatError, StoreError: as `run`.
        """
        await self._begin()
        return (await self._accept_ensemble()).manifest

    # --- the steps, in their order ----------------------------------------------------------------

    async def _begin(self) -> None:
        self._served = await served_manifest(self._store, self._replica.limits)
        self._is_initial = await state.is_initial(self._store)
        self._emit(SnapshotStarted(self._replica.fqrn, self._upstream.source, self._is_initial))

    async def _accept_ensemble(self) -> Ensemble:
        survey = Survey(self._replica, Sources.of(self._upstream), self._now, self._emit)
        accepts_rollback = self._options.accepts_rollback
        found = await survey.run(self._served, accepts_rollback=accepts_rollback)
        manifest, before = found.ensemble.manifest, self._served_revision
        self._emit(ManifestAccepted(self._replica.fqrn, manifest.revision, before, manifest))
        self._root_files = found.origin
        return found.ensemble

    async def _replicate(self, ensemble: Ensemble) -> SnapshotReport:
        """Fetch what is missing, then publish; or only refresh the whitelist."""
        manifest = ensemble.manifest
        is_current = self._served is not None and self._served.raw == manifest.raw
        if is_current and not self._options.repairs:
            await self._publish(ensemble, None)
            return self._report(manifest, None)
        visitor = Repairing if self._options.repairs else Fetching
        fetching = visitor(self._site, self._lineage(manifest))
        async with self._walked(fetching, manifest, self._store) as (named, tags):
            await self._commit_named(ensemble, named)
        await self._publish(ensemble, await self._reflog(manifest, tags, fetching))
        return self._report(manifest, fetching)

    @asynccontextmanager
    async def _walked(
        self, fetching: Fetching, manifest: Manifest, store: ObjectStore
    ) -> AsyncIterator[tuple[Named, Sequence[Tag]]]:
        """The head with its predecessors, then what only tags still name; all or nothing.

        The history, which tells the tags, comes beside the head.
        """
        limits, breadth = self._replica.limits, self._replica.breadth
        head = CatalogRef(
            manifest.root_catalog, "", Role.HEAD, manifest.root_catalog_bytes, "the manifest"
        )
        walk = Walk(fetching, limits, breadth)  # one: what failed once is not asked for again
        async with (
            meanwhile(walk.run([head])) as walking,
            self._origin.named(manifest, store) as named,
        ):
            tags = await self._origin.tags(self._replica.fqrn, manifest, named)
            await walking
            await walk.run(_tagged(tags))
            if fetching.failure_count:
                raise SnapshotFailed(fetching.failures, fetching.failure_count)
            yield named, tags

    async def _commit_named(self, ensemble: Ensemble, named: Named) -> None:
        """Certificate, meta info, history: whatever of them is not here yet."""
        manifest = ensemble.manifest
        certificate = manifest.certificate
        if certificate is not None and not await self._store.sound([certificate]):
            async with self._store.upload(certificate.algorithm) as upload:
                await upload.write(ensemble.certificate)
                await upload.commit(certificate)
        if manifest.meta_info is not None and named.meta_info is not None:
            await named.meta_info.commit(manifest.meta_info)
        if manifest.history is not None and named.history is not None:
            await named.history.commit(manifest.history)

    async def _reflog(self, manifest: Manifest, tags: Sequence[Tag], fetching: Fetching) -> Reflog:
        """The reflog with every root that is here now."""
        reflog = await self._reflog_file.load(self._replica.limits, is_initial=self._is_initial)
        tagged = await self._store.present({tag.root_catalog for tag in tags})
        served = [self._served.root_catalog] if self._served else []
        roots = {manifest.root_catalog, *tagged, *served, *fetching.stored_roots}
        others = [each for each in manifest.named_objects if each != manifest.root_catalog]
        return reflog.with_added(roots, others, int(self._now.timestamp()))

    async def _publish(self, ensemble: Ensemble, reflog: Reflog | None) -> None:
        pkcs7 = None
        if ensemble.whitelist.uses_pkcs7:
            pkcs7 = await self._root_files.root_file(WHITELIST_PKCS7)
        manifest = ensemble.manifest
        is_current = self._served is not None and self._served.raw == manifest.raw
        if self._before_flip is not None and not is_current:
            await self._before_flip(manifest)
        await publish(Publication(ensemble, pkcs7, reflog), self._store, self._reflog_file)

    # --- what the steps need ----------------------------------------------------------------------

    def _lineage(self, manifest: Manifest) -> Lineage:
        collects = manifest.is_garbage_collectable
        trusts_store = not self._options.repairs
        return Lineage(
            follows_predecessors=trusts_store and not self._is_initial,
            not_before=self._now - timedelta(self._replica.predecessor_days) if collects else None,
            may_lack_roots=collects,
            served_root=self._served.root_catalog if self._served and trusts_store else None,
        )

    @property
    def _served_revision(self) -> int | None:
        return self._served.revision if self._served else None

    def _report(self, manifest: Manifest, fetching: Fetching | None) -> SnapshotReport:
        return SnapshotReport(
            revision=manifest.revision,
            previous_revision=self._served_revision,
            published_at=manifest.published_at,
            was_current=fetching is None,
            stored_objects=fetching.stored_objects if fetching else 0,
            stored_bytes=fetching.stored_bytes if fetching else 0,
        )


def _tagged(tags: Sequence[Tag]) -> Iterator[CatalogRef]:
    """The roots that tags name, each once."""
    for root, tag in {tag.root_catalog: tag for tag in tags}.items():
        yield CatalogRef(root, "", Role.TAG, tag.root_bytes, f"tag {tag.name}")
