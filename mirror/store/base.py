"""The contract of every store.

A store keeps the objects and root files of one repository. Objects go in through an `Upload`: bytes
are written, verified against the hash they must have, and made visible by `Upload.commit`. There is
no other way in. When ``commit`` returns, the object is visible, whole and durable, and so is every
object whose commit returned before; nobody ever sees a part of one. So a catalog that is committed
after everything it refers to proves, by being there, that all of it is.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import IO, Protocol, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import object_path
from mirror.errors import Corrupted


class Upload(Protocol):
    """Bytes on their way into a store.

    ``write`` and ``verify`` in this order, then either ``commit`` or ``abort``. Leaving the
    ``async with`` without a commit aborts.
    """

    @property
    def size_bytes(self) -> int:
        """What has been written so far."""

    async def write(self, data: bytes) -> None:
        """Append.

        Raises:
            StoreFull, StoreUnavailable: the bytes cannot be kept.
        """

    async def verify(self, expected: ContentHash) -> None:
        """Check that all that was written has this hash; from here on nothing may be written.

        Raises:
            Corrupted: it has another.
        """

    def reopen(self) -> IO[bytes]:
        """Read verified bytes before anyone else can see them; the caller closes.

        Raises:
            RuntimeError: nothing was verified.
        """

    async def commit(self, expected: ContentHash) -> None:
        """Verify if that was not done, then make the object visible, and durable before that.

        An object that is there already is replaced, in one step, by the same bytes.

        Raises:
            Corrupted, StoreFull, StoreUnavailable: the object is not visible.
        """

    async def abort(self) -> None:
        """Forget the bytes; harmless when repeated, and after a commit."""

    async def __aenter__(self) -> Self:
        """Give itself."""

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Abort, unless committed."""


def require_hash(expected: ContentHash, actual: ContentHash, size_bytes: int) -> None:
    """The one check that makes delivered bytes an object.

    Raises:
        Corrupted: they have another hash.
    """
    if actual != expected:
        raise Corrupted(
            f"{object_path(expected)} was delivered with the hash {actual} ({size_bytes} bytes)"
        )


class ObjectReader(Protocol):
    """What is there; all that serving and checking need."""

    async def present(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """Those of ``hashes`` that are there, going by their names.

        An empty file counts only under the hash of nothing: torn writes of other tools leave such.
        """

    async def sound(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """Those of ``hashes`` that are there and whose bytes have that hash; reads everything."""

    def open_object(self, content_hash: ContentHash) -> IO[bytes]:
        """Open for reading; blocks, so call it in a thread. The caller closes.

        Raises:
            ObjectMissing: it is not there.
        """

    async def read_root_file(self, name: str, max_bytes: int) -> bytes | None:
        """A root file as a whole; None if there is none of that name.

        Raises:
            FormatError: it is larger than ``max_bytes``.
        """


class ObjectStore(ObjectReader, Protocol):
    """What can also be written to, by one writer at a time."""

    async def prepare(self) -> None:
        """Create what is missing of the skeleton and clear what dead writers left behind.

        Raises:
            StoreUnavailable: it cannot be written to.
        """

    def upload(self, algorithm: Algorithm) -> Upload:
        """Begin an object whose hash will be of this algorithm."""

    async def place_alternative(self, content_hash: ContentHash) -> None:
        """Make an object reachable as ``.cvmfsalt-…`` too (contract B.4)."""

    async def write_root_file(self, name: str, data: bytes, *, is_durable: bool = True) -> None:
        """Replace a root file in one step.

        On return it is durable, and so are all commits before it; unless ``is_durable`` is False,
        for what may get lost in a power cut.
        """

    def flip(self) -> AbstractAsyncContextManager[None]:
        """While root files are replaced that belong together.

        Who reads them under the same lock (`mirror.serve.root_files`) sees them all as they were
        before, or all as they are after.
        """

    async def remove_root_file(self, name: str) -> None:
        """Remove a root file; harmless if there is none."""
