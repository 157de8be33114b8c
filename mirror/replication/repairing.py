"""A snapshot that believes nothing in the store: `snapshot --repair`.

An ordinary one trusts that a stored catalog means a stored tree. Where a disk or another tool broke
that promise (cvmfs #2887, #3878) it would never look again. This one walks through every catalog,
hashes every object, and replaces in one step what is missing or wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from mirror.cvmfs.content_hash import ContentHash
from mirror.replication.fetching import FetchedCatalog, Fetching, Lineage, Site
from mirror.replication.graph import CatalogRef
from mirror.store.base import Upload
from mirror.store.threads import in_thread, open_in_thread

_BLOCK_BYTES = 1024 * 1024


class Repairing(Fetching):
    """A `Visitor` that brings home what the store lacks, or has with wrong bytes."""

    def __init__(self, site: Site, lineage: Lineage) -> None:
        super().__init__(site, lineage)
        self._visited: set[ContentHash] = set()

    async def open_catalog(self, ref: CatalogRef) -> FetchedCatalog | None:
        """Open each catalog once, from the store if its bytes are right, else from upstream."""
        if ref.hash in self._visited:
            return None
        self._visited.add(ref.hash)
        if ref.hash not in await self._site.store.sound([ref.hash]):
            return await self.fetch_and_open(ref)
        async with self._site.store.upload(ref.hash.algorithm) as upload:
            await self._read_back(ref.hash, upload)
            catalog = await self.open_fetched(ref, upload)
            catalog.upload = None  # its bytes are where they belong
            return catalog

    async def present(self, hashes: Sequence[ContentHash]) -> set[ContentHash]:
        """What is there *and* has the hash it is named by."""
        return await self._site.store.sound(hashes)

    async def _read_back(self, content_hash: ContentHash, upload: Upload) -> None:
        """The store's own bytes in the form that fetched ones have."""
        file = await open_in_thread(lambda: self._site.store.open_object(content_hash))
        with file:
            while block := await in_thread(lambda: file.read(_BLOCK_BYTES)):
                await upload.write(block)
        await upload.verify(content_hash)
