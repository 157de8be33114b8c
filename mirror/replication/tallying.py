"""What the walk does in a dry run: read the catalogs, count what is missing, keep nothing."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.cvmfs.catalog import ObjectRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.replication.fetching import FetchedCatalog, Fetching, Lineage, Site
from mirror.replication.graph import CatalogRef
from mirror.replication.hash_set import HashSet
from mirror.store.base import ObjectReader


class Tallying(Fetching):
    """A `Visitor` that brings nothing home.

    Attributes:
        missing_catalogs: catalogs to fetch.
        missing_catalog_bytes: as stored; they had to be read to know what is in them.
        missing_objects: data objects and chunks to fetch.
        missing_object_bytes: at most; the catalogs state unpacked sizes.
    """

    def __init__(
        self, site: Site, lineage: Lineage, replica: ObjectReader, counted: HashSet
    ) -> None:
        """Count what ``replica`` lacks; the store of ``site`` is only a place to read from."""
        super().__init__(site, lineage, replica)
        self._visited: set[ContentHash] = set()
        self._counted = counted
        self.missing_catalogs = 0
        self.missing_catalog_bytes = 0
        self.missing_objects = 0
        self.missing_object_bytes = 0

    async def open_catalog(self, ref: CatalogRef) -> FetchedCatalog | None:
        """Read a catalog that is not here, once."""
        if ref.hash in self._visited:
            return None
        self._visited.add(ref.hash)
        fetched = await super().open_catalog(ref)
        if fetched is None:
            self._visited.discard(ref.hash)  # too old as a predecessor, wanted perhaps as a tag
        elif fetched.upload is not None:  # pragma: no branch - what is opened was fetched
            self.missing_catalogs += 1
            self.missing_catalog_bytes += fetched.upload.size_bytes
            await fetched.upload.abort()
            fetched.upload = None
        return fetched

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Count each missing object once; none is to be delivered."""
        new = self._counted.add(ref.hash for ref in await super().missing(refs))
        self.missing_objects += len(new)
        self.missing_object_bytes += sum(ref.size_bytes for ref in refs if ref.hash in new)
        return ()

    async def present(self, hashes: Sequence[ContentHash]) -> set[ContentHash]:
        """What the replica has."""
        return await self.here.present(hashes)
