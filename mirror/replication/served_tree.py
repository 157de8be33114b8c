"""What we serve, to compare new catalogs with: what both have need not be looked for.

All of the tree below the served root is here, by both laws of this room. The comparison follows the
mount points down from it (docs/decisions/0009). What cannot be read only fails to help.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, Final

from mirror.cvmfs.catalog import Catalog, NestedRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.limits import MIB, Limits
from mirror.errors import FormatError, ObjectMissing
from mirror.replication.catalog_file import open_catalog
from mirror.replication.graph import CatalogRef, Role
from mirror.store.base import ObjectReader

_IN_MEMORY_BYTES: Final = 1 * MIB


class ServedTree:
    """The catalogs of one replica's served revision, as far as they are found to be replaced."""

    def __init__(
        self, here: ObjectReader, root: ContentHash | None, scratch: Path, limits: Limits
    ) -> None:
        """Prepare.

        Args:
            here: has the catalogs.
            root: the served root; None to compare nothing.
            scratch: a directory for what is too large for memory.
            limits: of everything read.
        """
        self._here = here
        self._root = root
        self._scratch = scratch
        self._limits = limits
        self._replaced: dict[ContentHash, ContentHash] = {}

    def at(self, ref: CatalogRef) -> ContentHash | None:
        """The catalog that ``ref`` replaces; None if there is none, or nobody knows which."""
        if ref.role is Role.HEAD:
            return self._root
        return self._replaced.pop(ref.hash, None) if ref.role is Role.NESTED else None

    def packed(self, served: ContentHash) -> IO[bytes]:
        """Its bytes as stored, in memory if there are few; none if it is not here. Blocks."""
        try:
            file = self._here.open_object(served)
        except ObjectMissing:
            return BytesIO()
        start = file.read(_IN_MEMORY_BYTES)
        if len(start) < _IN_MEMORY_BYTES:
            file.close()
            return BytesIO(start)
        file.seek(0)
        return file

    def opened(self, packed: IO[bytes], served: ContentHash, ref: CatalogRef) -> Catalog | None:
        """Open it at the place of ``ref``; closes ``packed``. Blocks."""
        place = replace(ref, hash=served, size_bytes=None)
        try:
            return open_catalog(packed, place, self._scratch, self._limits)
        except FormatError:
            return None

    def without_served(self, nested: Sequence[NestedRef], before: Catalog) -> Sequence[NestedRef]:
        """Those that we do not serve; remembers what they replace."""
        try:
            served = {each.mount_point: each.hash for each in before.nested_catalogs()}
        except FormatError:
            return nested
        new = [each for each in nested if served.get(each.mount_point) != each.hash]
        self._replaced |= {
            each.hash: served[each.mount_point] for each in new if each.mount_point in served
        }
        return new
