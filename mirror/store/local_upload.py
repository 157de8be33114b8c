"""An object on its way into a `LocalStore`: in memory if small, else in a temporary file."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.errors import StoreError
from mirror.store.base import require_hash
from mirror.store.file_errors import translated
from mirror.store.page_cache import drop_pages
from mirror.store.threads import in_thread

Source = Path | list[bytes]
"""Verified bytes: a temporary file that holds them, or the pieces in memory."""

_BUFFER_BYTES: Final = 128 * 1024
"""More than this goes to a file. Most objects are smaller, and cost one file operation less."""
_FILE_MODE: Final = 0o644


Require = Callable[[int], None]
"""Raises `StoreFull` if so many bytes may not be written; see `Reserve.require`."""


def unreserved(_size_bytes: int) -> None:
    """Write as long as there is room at all."""


@dataclass(frozen=True, slots=True)
class FileCommit:
    """Bytes and the name they are to have; see `group_commit.Commit`.

    Attributes:
        source: the bytes.
        temporary: where they are written first.
        target: their name.
        require: asked before they are written.
        cached_up_to: bytes of the largest file that stays in the page cache; None for any.
    """

    source: Source
    temporary: Path
    target: Path
    require: Require = unreserved
    cached_up_to: int | None = None

    def stage(self) -> None:
        """Write a temporary file, unless the bytes are in one already."""
        if isinstance(self.source, list):
            data = b"".join(self.source)
            self.require(len(data))
            with translated(self.temporary):
                descriptor = create(self.temporary)
                try:
                    write_all(descriptor, data)
                finally:
                    os.close(descriptor)

    def discard(self) -> None:
        """Remove the temporary file; one that an upload made is removed by its abort."""
        with translated(self.temporary):
            self.temporary.unlink(missing_ok=True)

    def reveal(self) -> None:
        """Rename it; before that, make room in memory, since nobody can be reading it yet."""
        if self.cached_up_to is not None and isinstance(self.source, Path):
            drop_pages(self.source, self.cached_up_to)
        staged = self.temporary if isinstance(self.source, list) else self.source
        with translated(self.target):
            try:
                staged.replace(self.target)
            except FileNotFoundError:
                self.target.parent.mkdir(exist_ok=True)
                staged.replace(self.target)

    def carry_out_unsynced(self) -> None:
        """Both halves with no sync between; for what nobody relies on after a power cut."""
        try:
            self.stage()
            self.reveal()
        except StoreError:
            self.discard()
            raise


class LocalUpload:
    """See `Upload` for the contract, and `LocalStore.upload` for where these come from."""

    def __init__(
        self,
        algorithm: Algorithm,
        temporary: Callable[[], Path],
        commit: Callable[[ContentHash, Source], Awaitable[None]],
        require: Require = unreserved,
    ) -> None:
        """Begin.

        Args:
            algorithm: of the hash that will be expected.
            temporary: names a file that may be created.
            commit: makes verified bytes visible.
            require: asked before bytes are written to a file.
        """
        self._algorithm = algorithm
        self._temporary = temporary
        self._commit = commit
        self._require = require
        self._hasher = algorithm.hasher()
        self._pieces: list[bytes] = []
        self._buffered_bytes = 0
        self._descriptor: int | None = None
        self._path: Path | None = None
        self._actual: ContentHash | None = None
        self._is_verified = False
        self._has_ended = False
        self.size_bytes = 0

    async def write(self, data: bytes) -> None:
        """As `Upload.write`."""
        self._require_open()
        if self._actual is not None:
            raise RuntimeError("nothing may be written after verify")
        self._pieces.append(data)
        self._buffered_bytes += len(data)
        self.size_bytes += len(data)
        if self._buffered_bytes > _BUFFER_BYTES:
            await in_thread(self._spill)

    async def verify(self, expected: ContentHash) -> None:
        """As `Upload.verify`."""
        self._require_open()
        if self._actual is None:
            if self._path is not None:
                await in_thread(self._spill_last)
            else:
                for piece in self._pieces:
                    self._hasher.update(piece)
            self._actual = ContentHash(self._algorithm, self._hasher.digest(), expected.suffix)
        self._is_verified = self._actual == expected
        require_hash(expected, self._actual, self.size_bytes)

    def reopen(self) -> IO[bytes]:
        """As `Upload.reopen`."""
        self._require_open()
        if not self._is_verified:
            raise RuntimeError("nothing may be read before verify")
        if self._path is None:
            return BytesIO(b"".join(self._pieces))
        with translated(self._path):
            return self._path.open("rb")

    async def commit(self, expected: ContentHash) -> None:
        """As `Upload.commit`."""
        await self.verify(expected)
        await self._commit(expected, self._path or self._pieces)
        self._has_ended = True
        self._path = None
        self._pieces = []

    async def abort(self) -> None:
        """As `Upload.abort`."""
        self._has_ended = True
        self._pieces = []
        path, self._path = self._path, None
        if path is not None:
            await in_thread(lambda: self._discard(path))

    async def __aenter__(self) -> Self:
        """As `Upload.__aenter__`."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As `Upload.__aexit__`."""
        await self.abort()

    def _require_open(self) -> None:
        """Nothing is left to commit after an end: what was put under the name would be empty."""
        if self._has_ended:
            raise RuntimeError("this upload has ended")

    def _spill(self) -> Path:
        """Move what is buffered to the file, and into the hash on the way; blocks."""
        self._require(self._buffered_bytes)
        path = self._path = self._path or self._temporary()
        pieces, self._pieces, self._buffered_bytes = self._pieces, [], 0
        with translated(path):
            if self._descriptor is None:
                self._descriptor = create(path)
            for piece in pieces:
                self._hasher.update(piece)
                write_all(self._descriptor, piece)
        return path

    def _spill_last(self) -> None:
        self._close(self._spill())

    def _discard(self, path: Path) -> None:
        try:
            self._close(path)
        finally:
            with translated(path):
                path.unlink(missing_ok=True)

    def _close(self, path: Path) -> None:
        """Some file systems say only now that there was no room."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with translated(path):
                os.close(descriptor)


def create(path: Path | str) -> int:
    """A new file to write to, by its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(path, flags, _FILE_MODE)


def write_all(descriptor: int, data: bytes) -> None:
    """A nearly full disk takes a part and says so only to the next call: there must be one."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
