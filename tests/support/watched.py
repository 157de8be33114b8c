"""Whatever goes wrong on the disk: a store of which somebody sees every operation.

A `Watch` hears of each operation of a `WatchedStore` before it is done and after, and may raise:
`Recorder` never does, `FullDisk` raises `StoreFull` once so many bytes were written, and `Kill`
stops the world after so many operations.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Final, Protocol, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash
from mirror.cvmfs.paths import object_path
from mirror.errors import StoreFull
from mirror.store.base import ObjectStore, Upload


@dataclass(frozen=True, slots=True)
class Operation:
    """Something a store is asked to do.

    Attributes:
        kind: the method's name; an upload's too.
        name: the object's path or the root file's name; empty while it is not known.
        size_bytes: how much is written.
    """

    kind: str
    name: str = ""
    size_bytes: int = 0

    @property
    def is_writing(self) -> bool:
        """Whether it changes what is on the disk."""
        return self.kind not in _READING

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()


_READING: Final = frozenset(
    {"present", "sound", "open_object", "read_root_file", "upload", "verify", "reopen"}
)


class Watch(Protocol):
    """Sees every operation; what it raises is what the caller gets."""

    def before(self, operation: Operation) -> None:
        """It is about to be done."""

    def after(self, operation: Operation) -> None:
        """It was done."""


class Recorder:
    """Remembers what was done.

    Attributes:
        operations: those that wrote, in order.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def before(self, operation: Operation) -> None:
        """As `Watch.before`."""

    def after(self, operation: Operation) -> None:
        """As `Watch.after`."""
        if operation.is_writing:
            self.operations.append(operation)

    def names(self, *kinds: str) -> list[str]:
        """What operations of these kinds were about."""
        return [each.name for each in self.operations if each.kind in kinds]


class FullDisk:
    """Takes so many bytes and no more.

    Attributes:
        free_bytes: what it still takes.
    """

    def __init__(self, free_bytes: int, *, notices_at: str) -> None:
        """Set the size.

        Args:
            free_bytes: of objects and root files together.
            notices_at: which operation on an upload uses space: ``write`` or ``commit``.
        """
        self.free_bytes = free_bytes
        self._kinds = ("write_root_file", notices_at)

    def before(self, operation: Operation) -> None:
        """As `Watch.before`."""
        if operation.kind in self._kinds:
            if operation.size_bytes > self.free_bytes:
                self.free_bytes = 0
                raise StoreFull(f"{operation}: no space left on device")
            self.free_bytes -= operation.size_bytes

    def after(self, operation: Operation) -> None:
        """As `Watch.after`."""


class Killed(BaseException):
    """The process is gone: nothing that it still does reaches the disk."""


class Kill:
    """Lets so many writing operations be done, and is the end of the process then.

    Reading changes nothing on the disk, so dying there is dying after the write before.

    Attributes:
        is_over: whether it came so far.
    """

    def __init__(self, after: int, *, is_last_told: bool) -> None:
        """Set the moment.

        Args:
            after: how many operations are done.
            is_last_told: whether whoever asked for the last one still hears that it was done, and
                goes on to whatever needs no store; else it dies between the two.
        """
        self._left = after
        self._is_last_told = is_last_told
        self.is_over = False

    def before(self, operation: Operation) -> None:
        """As `Watch.before`."""
        if self.is_over or (self._left == 0 and operation.is_writing):
            self._die()
        self._left -= operation.is_writing

    def after(self, operation: Operation) -> None:
        """As `Watch.after`."""
        is_last = self._left == 0 and operation.is_writing
        if self.is_over or (is_last and not self._is_last_told):
            self._die()

    def _die(self) -> None:
        self.is_over = True
        raise Killed


@asynccontextmanager
async def _watched(watch: Watch, operation: Operation) -> AsyncIterator[None]:
    watch.before(operation)
    yield
    watch.after(operation)


class WatchedStore:
    """Decorator of an `ObjectStore`: a `Watch` sees everything.

    Attributes:
        inner: what does the work.
    """

    def __init__(self, inner: ObjectStore, watch: Watch) -> None:
        self.inner = inner
        self._watch = watch

    async def present(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.present`."""
        async with _watched(self._watch, Operation("present")):
            return await self.inner.present(hashes)

    async def sound(self, hashes: Collection[ContentHash]) -> set[ContentHash]:
        """As `ObjectReader.sound`."""
        async with _watched(self._watch, Operation("sound")):
            return await self.inner.sound(hashes)

    def open_object(self, content_hash: ContentHash) -> IO[bytes]:
        """As `ObjectReader.open_object`."""
        operation = Operation("open_object", object_path(content_hash))
        self._watch.before(operation)
        return self.inner.open_object(content_hash)

    async def read_root_file(self, name: str, max_bytes: int) -> bytes | None:
        """As `ObjectReader.read_root_file`."""
        async with _watched(self._watch, Operation("read_root_file", name)):
            return await self.inner.read_root_file(name, max_bytes)

    async def prepare(self) -> None:
        """As `ObjectStore.prepare`."""
        async with _watched(self._watch, Operation("prepare")):
            await self.inner.prepare()

    def upload(self, algorithm: Algorithm) -> Upload:
        """As `ObjectStore.upload`."""
        self._watch.before(Operation("upload"))
        return WatchedUpload(self.inner.upload(algorithm), self._watch)

    async def place_alternative(self, content_hash: ContentHash) -> None:
        """As `ObjectStore.place_alternative`."""
        operation = Operation("place_alternative", object_path(content_hash))
        async with _watched(self._watch, operation):
            await self.inner.place_alternative(content_hash)

    async def write_root_file(self, name: str, data: bytes, *, is_durable: bool = True) -> None:
        """As `ObjectStore.write_root_file`."""
        async with _watched(self._watch, Operation("write_root_file", name, len(data))):
            await self.inner.write_root_file(name, data, is_durable=is_durable)

    def flip(self) -> AbstractAsyncContextManager[None]:
        """As `ObjectStore.flip`."""
        return self.inner.flip()

    async def remove_root_file(self, name: str) -> None:
        """As `ObjectStore.remove_root_file`."""
        async with _watched(self._watch, Operation("remove_root_file", name)):
            await self.inner.remove_root_file(name)


class WatchedUpload:
    """An upload of a `WatchedStore`."""

    def __init__(self, inner: Upload, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    @property
    def size_bytes(self) -> int:
        """As `Upload.size_bytes`."""
        return self._inner.size_bytes

    async def write(self, data: bytes) -> None:
        """As `Upload.write`."""
        async with _watched(self._watch, Operation("write", size_bytes=len(data))):
            await self._inner.write(data)

    async def verify(self, expected: ContentHash) -> None:
        """As `Upload.verify`."""
        async with _watched(self._watch, Operation("verify", object_path(expected))):
            await self._inner.verify(expected)

    def reopen(self) -> IO[bytes]:
        """As `Upload.reopen`."""
        self._watch.before(Operation("reopen"))
        return self._inner.reopen()

    async def commit(self, expected: ContentHash) -> None:
        """As `Upload.commit`."""
        operation = Operation("commit", object_path(expected), self.size_bytes)
        async with _watched(self._watch, operation):
            await self._inner.commit(expected)

    async def abort(self) -> None:
        """As `Upload.abort`."""
        async with _watched(self._watch, Operation("abort")):
            await self._inner.abort()

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
