"""What the walk does at each step of a snapshot: fetch what is missing, commit what is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Final, Protocol

from mirror.cvmfs.catalog import Catalog, NestedRef, ObjectRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.errors import Failure, NotFound
from mirror.events import (
    CatalogStored,
    Emit,
    ObjectFailed,
    ObjectsPresent,
    ObjectsStored,
    ObjectsWanted,
    RootSkipped,
)
from mirror.replication.catalog_file import open_catalog
from mirror.replication.graph import CatalogRef, Role
from mirror.replication.served_tree import ServedTree
from mirror.replication.transfer import fetch_verified
from mirror.store.base import ObjectReader, ObjectStore, Upload
from mirror.store.threads import open_in_thread
from mirror.upstream.base import Upstream

_SMALL_CATALOG_BYTES: Final = 128 * 1024
"""As stored: some thousand entries, in memory since their upload is. SQLite lets go of Python's
lock for every row, so a thread that reads and a loop that works wake each other all the time; one
after the other they are quicker."""
_LARGE_AT_ONCE: Final = 2
"""Others that are open: each may take 8 MiB, and so may what is served at its place."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """How far back a snapshot goes (contract B.12, predecessors and tags).

    Attributes:
        follows_predecessors: whether the roots between what we serve and the new one are wanted:
            clients of a faster mirror may hold one of them. Not in a replica's first snapshot.
        not_before: predecessors older than this are not; None takes all up to one that is here.
        may_lack_roots: whether old roots may be gone at the origin: it collects garbage.
        served_root: the root that we serve. All of its tree is here, so what the new head has in
            common with it is not even looked at; None looks at everything.
    """

    follows_predecessors: bool
    not_before: datetime | None
    may_lack_roots: bool
    served_root: ContentHash | None = None


@dataclass(eq=False, slots=True)
class FetchedCatalog:
    """A catalog between being read and being committed.

    Attributes:
        catalog: open, until everything in it is on its way.
        nested: what is nested in it.
        predecessor: the root before it, if wanted.
        upload: its verified bytes; None if they are in the store already.
        before: what we serve at its place, open; None if nothing, or if that does not count.
        done: to be called when it is closed; None for a small one.
    """

    catalog: Catalog
    nested: Sequence[NestedRef]
    predecessor: ContentHash | None
    upload: Upload | None
    before: Catalog | None = None
    done: Callable[[], None] | None = None

    @property
    def is_small(self) -> bool:
        """As `OpenCatalog.is_small`."""
        return self.done is None

    def objects(self) -> Iterator[ObjectRef]:
        """As `OpenCatalog.objects`; those that we serve already are left out."""
        return self.catalog.objects(self.before)

    def close(self) -> None:
        """As `OpenCatalog.close`."""
        self.catalog.close()
        if self.before is not None:
            self.before.close()
        if self.done is not None:
            self.done()
            self.done = None


class Bulk(Protocol):
    """Brings many small objects at once; allowed to do nothing."""

    def start(self) -> None:
        """There will be many: get ready meanwhile."""

    async def look(self, hashes: Sequence[ContentHash]) -> set[ContentHash] | None:
        """What the store has of these, and perhaps of others; None if nobody looked."""

    async def fetch(self, refs: Sequence[ObjectRef]) -> Mapping[ContentHash, int]:
        """Bring and commit what it can of these, and perhaps of others.

        Returns:
            How many bytes each has that was brought, as stored.
        """

    async def fetch_again(self, refs: Sequence[ObjectRef]) -> Mapping[ContentHash, int]:
        """As `fetch`, from elsewhere, for what that did not bring; once at most for each."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where one replica's bytes come from, go to, and are unpacked.

    Attributes:
        fqrn: whose.
        upstream: from where.
        store: whereto.
        scratch: a directory for catalogs too large for memory.
        limits: of everything read.
        emit: hears what happens.
        bulk: brings small objects many at a time; None if nothing can.
    """

    fqrn: Fqrn
    upstream: Upstream
    store: ObjectStore
    scratch: Path
    limits: Limits
    emit: Emit
    bulk: Bulk | None = None


class Fetching:
    """A `Visitor` that brings home what the store lacks.

    Attributes:
        stored_objects: how many were fetched, catalogs included.
        stored_bytes: their bytes, as stored.
        stored_roots: the roots among them.
        failures: the first hundred of those that could not be had.
        failure_count: all of them.
    """

    _KEPT_FAILURES = 100

    def __init__(self, site: Site, lineage: Lineage, here: ObjectReader | None = None) -> None:
        """Prepare; ``here`` is what we serve from, if it is not the store of ``site``."""
        self._site = site
        self._lineage = lineage
        self.here: ObjectReader = here or site.store
        self._served = ServedTree(self.here, lineage.served_root, site.scratch, site.limits)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self.stored_objects = 0
        self.stored_bytes = 0
        self.stored_roots: list[ContentHash] = []
        self.failures: list[Failure] = []
        self.failure_count = 0

    async def open_catalog(self, ref: CatalogRef) -> FetchedCatalog | None:
        """Fetch, unless it is here: then its whole tree is, too."""
        if await self.present([ref.hash]):
            return None
        return await self.fetch_and_open(ref)

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Those that the store lacks."""
        present = await self.present([ref.hash for ref in refs])
        missing = [ref for ref in refs if ref.hash not in present]
        if present:
            self._site.emit(ObjectsPresent(self._site.fqrn, len(present)))
        if missing:
            size_bytes = sum(ref.size_bytes for ref in missing)
            self._site.emit(ObjectsWanted(self._site.fqrn, len(missing), size_bytes))
        return missing

    async def deliver_in_bulk(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Let the lanes fetch the small ones; what they do not bring is left."""
        bulk = self._site.bulk
        return refs if bulk is None else self._left_of(refs, await bulk.fetch(refs))

    async def deliver_elsewhere(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Let the lanes ask other sources for what the first ones did not bring."""
        bulk = self._site.bulk
        return refs if bulk is None else self._left_of(refs, await bulk.fetch_again(refs))

    def _left_of(
        self, refs: Sequence[ObjectRef], brought: Mapping[ContentHash, int]
    ) -> Sequence[ObjectRef]:
        site = self._site
        ours = [ref for ref in refs if ref.hash in brought]
        if ours:
            stored_bytes = sum(brought[ref.hash] for ref in ours)
            self.stored_objects += len(ours)
            self.stored_bytes += stored_bytes
            size_bytes = sum(ref.size_bytes for ref in ours)
            site.emit(ObjectsStored(site.fqrn, len(ours), stored_bytes, size_bytes))
        return [ref for ref in refs if ref.hash not in brought]

    async def deliver(self, ref: ObjectRef) -> None:
        """Fetch one and commit it."""
        site = self._site
        max_bytes = min(ref.max_stored_bytes, site.limits.object_bytes)
        async with await fetch_verified(site.upstream, site.store, ref.hash, max_bytes) as upload:
            await upload.commit(ref.hash)
            self._count(upload)
            site.emit(ObjectsStored(site.fqrn, 1, upload.size_bytes, ref.size_bytes))

    async def complete(self, ref: CatalogRef, catalog: FetchedCatalog) -> None:
        """Commit a catalog: everything below it is here."""
        if catalog.upload is not None:
            await catalog.upload.commit(ref.hash)
            self._count(catalog.upload)
            if ref.role is not Role.NESTED:
                self.stored_roots.append(ref.hash)
            stored_bytes = catalog.upload.size_bytes
            self._site.emit(CatalogStored(self._site.fqrn, ref.hash, ref.place, stored_bytes))

    async def abandon(self, ref: CatalogRef, catalog: FetchedCatalog) -> None:  # noqa: ARG002 - protocol
        """Forget its bytes: without its tree it may not be here."""
        if catalog.upload is not None:
            await catalog.upload.abort()

    def report(self, failure: Failure) -> None:
        """Keep the first ones, count them all."""
        self.failure_count += 1
        if len(self.failures) < self._KEPT_FAILURES:
            self.failures.append(failure)
        self._site.emit(ObjectFailed(self._site.fqrn, failure))

    # --- for those that go about it a little differently ------------------------------------------

    async def present(self, hashes: Sequence[ContentHash]) -> set[ContentHash]:
        """What need not be fetched."""
        site = self._site
        found = await site.bulk.look(hashes) if site.bulk is not None else None
        if found is None:
            return await site.store.present(hashes)
        return {each for each in hashes if each in found}

    async def fetch_and_open(self, ref: CatalogRef) -> FetchedCatalog | None:
        """A catalog from upstream; None if it is an old root that nobody needs to have."""
        site = self._site
        try:
            upload = await fetch_verified(
                site.upstream, site.store, ref.hash, ref.max_bytes(site.limits)
            )
        except NotFound:
            if self._lineage.may_lack_roots and ref.role in (Role.TAG, Role.PREDECESSOR):
                site.emit(RootSkipped(site.fqrn, ref.hash, ref.wanted_by))
                return None
            raise
        try:
            fetched = await self.open_fetched(ref, upload)
            if self._is_too_old(ref, fetched.catalog):
                fetched.close()
                await upload.abort()
                return None
        except BaseException:
            await upload.abort()
            raise
        return fetched

    async def open_fetched(self, ref: CatalogRef, upload: Upload) -> FetchedCatalog:
        """Unpack and open verified bytes, and what we serve at the same place."""
        is_small = upload.size_bytes <= _SMALL_CATALOG_BYTES
        served = self._served.at(ref)
        if served is None:
            packed: IO[bytes] | None = None
        else:
            packed = await open_in_thread(lambda: self._served.packed(served))
            is_small &= isinstance(packed, BytesIO)

        def unpack() -> FetchedCatalog:
            fetched = self._unpack(ref, upload)
            try:
                if packed is not None and served is not None:
                    fetched.before = self._served.opened(packed, served, ref)
                if fetched.before is not None:
                    fetched.nested = self._served.without_served(fetched.nested, fetched.before)
            except BaseException:
                fetched.close()
                raise
            return fetched

        try:
            if is_small:
                return unpack()
            await self._large.acquire()
            try:
                fetched = await open_in_thread(unpack)
            except BaseException:
                self._large.release()
                raise
        finally:
            if packed is not None:
                packed.close()
        fetched.done = self._large.release
        return fetched

    def _unpack(self, ref: CatalogRef, upload: Upload) -> FetchedCatalog:
        site = self._site
        follows = self._lineage.follows_predecessors and ref.role in (Role.HEAD, Role.PREDECESSOR)
        catalog = open_catalog(upload.reopen(), ref, site.scratch, site.limits)
        try:
            nested = catalog.nested_catalogs()
        except BaseException:
            catalog.close()
            raise
        predecessor = catalog.previous_revision if follows else None
        return FetchedCatalog(catalog, nested, predecessor, upload)

    def _is_too_old(self, ref: CatalogRef, catalog: Catalog) -> bool:
        not_before = self._lineage.not_before
        return (
            ref.role is Role.PREDECESSOR
            and not_before is not None
            and catalog.last_modified < not_before.timestamp()
        )

    def _count(self, upload: Upload) -> None:
        self.stored_objects += 1
        self.stored_bytes += upload.size_bytes
