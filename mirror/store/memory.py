"""The same promises in a dictionary: for tests, and the shortest explanation of the contract."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, nullcontext
from io import BytesIO
from types import TracebackType
from typing import IO, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import alternative_path, is_root_file, object_path
from mirror.errors import FormatError, ObjectMissing
from mirror.store.base import require_hash


class MemoryStore:
    """See `ObjectStore` for the contract.

    Attributes:
        objects: what is visible.
        root_files: likewise; an alternative path holds the path it leads to.
        open_uploads: begun and neither committed nor aborted; none when all went well.
    """

    def __init__(self) -> None:
        self.objects: dict[ContentHash, bytes] = {}
        self.root_files: dict[str, bytes] = {}
        self.open_uploads = 0

    async def present(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.present`."""
        return {each for each in hashes if self.objects.get(each) or await self.sound([each])}

    async def sound(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.sound`."""
        return {each for each in hashes if each in self.objects and self._is_sound(each)}

    def open_object(self, content_hash: ContentHash) -> IO[bytes]:
        """As `ObjectReader.open_object`."""
        if content_hash not in self.objects:
            raise ObjectMissing(f"{object_path(content_hash)} is missing")
        return BytesIO(self.objects[content_hash])

    async def read_root_file(self, name: str, max_bytes: int) -> bytes | None:
        """As `ObjectReader.read_root_file`."""
        data = self.root_files.get(name)
        if data is not None and len(data) > max_bytes:
            raise FormatError(f"{name} is larger than {max_bytes} bytes, the limit for it")
        return data

    async def prepare(self) -> None:
        """As `ObjectStore.prepare`: a dictionary has no skeleton and no leftovers."""

    def upload(self, algorithm: Algorithm) -> MemoryUpload:
        """As `ObjectStore.upload`."""
        self.open_uploads += 1
        return MemoryUpload(self, algorithm)

    async def place_alternative(self, content_hash: ContentHash) -> None:
        """As `ObjectStore.place_alternative`."""
        self.root_files[alternative_path(content_hash)] = object_path(content_hash).encode()

    async def write_root_file(self, name: str, data: bytes, *, is_durable: bool = True) -> None:
        """As `ObjectStore.write_root_file`; nothing here outlives a power cut anyway."""
        del is_durable
        if not is_root_file(name):
            raise ValueError(f"{name!r} is not the name of a root file")
        self.root_files[name] = data

    def flip(self) -> AbstractAsyncContextManager[None]:
        """As `ObjectStore.flip`; nobody reads in between."""
        return nullcontext()

    async def remove_root_file(self, name: str) -> None:
        """As `ObjectStore.remove_root_file`."""
        self.root_files.pop(name, None)

    def _is_sound(self, each: ContentHash) -> bool:
        return ContentHash.of(each.algorithm, self.objects[each], each.suffix) == each


class MemoryUpload:
    """See `Upload` for the contract."""

    def __init__(self, store: MemoryStore, algorithm: Algorithm) -> None:
        self._store = store
        self._algorithm = algorithm
        self._data = bytearray()
        self._is_verified = False
        self._is_open = True

    @property
    def size_bytes(self) -> int:
        """As `Upload.size_bytes`."""
        return len(self._data)

    async def write(self, data: bytes) -> None:
        """As `Upload.write`."""
        if self._is_verified:
            raise RuntimeError("nothing may be written after verify")
        self._data += data

    async def verify(self, expected: ContentHash) -> None:
        """As `Upload.verify`."""
        if not self._is_open:
            raise RuntimeError("this upload has ended")
        actual = ContentHash.of(self._algorithm, bytes(self._data), expected.suffix)
        require_hash(expected, actual, self.size_bytes)
        self._is_verified = True

    def reopen(self) -> IO[bytes]:
        """As `Upload.reopen`."""
        if not self._is_verified:
            raise RuntimeError("nothing may be read before verify")
        return BytesIO(self._data)

    async def commit(self, expected: ContentHash) -> None:
        """As `Upload.commit`."""
        await self.verify(expected)
        self._store.objects[expected] = bytes(self._data)
        await self.abort()

    async def abort(self) -> None:
        """As `Upload.abort`."""
        self._store.open_uploads -= self._is_open
        self._is_open = False

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
