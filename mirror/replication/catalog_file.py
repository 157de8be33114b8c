"""A stored catalog, unpacked and opened: in memory if small, else in a file that has no name."""

from __future__ import annotations

import secrets
from io import BytesIO
from pathlib import Path
from typing import IO, Final, Self

from mirror.cvmfs.catalog import Catalog
from mirror.cvmfs.compression import decompress_into
from mirror.cvmfs.limits import MIB, Limits
from mirror.cvmfs.paths import object_path
from mirror.replication.graph import CatalogRef
from mirror.store.file_errors import translated

_IN_MEMORY_BYTES: Final = 8 * MIB
"""Most catalogs are smaller unpacked; a larger one costs disk for a while, and no memory."""


def open_catalog(packed: IO[bytes], ref: CatalogRef, scratch: Path, limits: Limits) -> Catalog:
    """Unpack and open; blocks. The caller closes the catalog; ``packed`` is closed here.

    Args:
        packed: the verified bytes as stored.
        ref: which catalog it is.
        scratch: a directory for what is too large for memory.
        limits: how much to unpack.

    Raises:
        FormatError: it does not unpack within the limit, or is no catalog.
        StoreFull, StoreUnavailable: no room in ``scratch``.
    """
    what = f"the catalog {object_path(ref.hash)} at {ref.place}"
    with packed, _Spool(scratch / f"cvmfs-mirror.catalog.{secrets.token_hex(8)}") as spool:
        decompress_into(spool, packed, ref.max_bytes(limits), what)
        return Catalog(spool.content(), ref.mount_point, what, limits)


class _Spool:
    """Bytes in memory until there are too many, then all of them in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink: IO[bytes] = BytesIO()
        self._size_bytes = 0

    def write(self, data: bytes) -> None:
        with translated(self._path):
            self._size_bytes += len(data)
            if isinstance(self._sink, BytesIO) and self._size_bytes > _IN_MEMORY_BYTES:
                so_far = self._sink.getvalue()
                self._sink = self._path.open("xb")
                self._sink.write(so_far)
            self._sink.write(data)

    def content(self) -> bytes | Path:
        if isinstance(self._sink, BytesIO):
            return self._sink.getvalue()
        with translated(self._path):
            self._sink.flush()
        return self._path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever opened the file holds it; without a name it cannot outlive a killed run.
        with translated(self._path):
            self._sink.close()
            if not isinstance(self._sink, BytesIO):
                self._path.unlink(missing_ok=True)
