"""What a path names, ready to go out: its headers and where its bytes are.

A body gives bytes in two ways. `Body.at_hand` never waits, so that it may be called on the event
loop: bytes in memory, or of pages that the kernel has in its cache. `Body.read` waits for the rest.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from mirror.serve.resources import Resource
from mirror.store.threads import in_thread

_NOT_NOW: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK})
Bytes = bytes | bytearray | memoryview


class Outcome(StrEnum):
    """How a request was answered (contract E.2)."""

    HIT_MEMORY = "hit_mem"
    HIT_DISK = "hit_disk"
    COALESCED = "coalesced"
    STALE = "stale"
    REVALIDATED = "revalidated"
    MISS = "miss"
    BYPASS = "bypass"
    ERROR = "error"


class Body(Protocol):
    """Bytes that are to be sent.

    One that lies in a file may offer it to sendfile, as `FileRange` does.

    Attributes:
        size_bytes: how many there are.
    """

    size_bytes: int

    def at_hand(self, first: int, end: int) -> Bytes | None:
        """Bytes from ``first`` on, at most up to ``end``; None if that would mean to wait."""

    async def read(self, first: int, end: int) -> Bytes:
        """The same, waiting; empty where there are fewer bytes than there should be.

        Raises:
            OSError: they cannot be read.
        """


class MemoryBody:
    """Bytes in memory, which any number of answers share."""

    __slots__ = ("_view", "size_bytes")

    def __init__(self, content: bytes) -> None:
        self._view = memoryview(content)
        self.size_bytes = len(content)

    def at_hand(self, first: int, end: int) -> Bytes:
        """As `Body.at_hand`."""
        return self._view[first:end]

    async def read(self, first: int, end: int) -> Bytes:
        """As `Body.read`."""
        return self._view[first:end]


class FileRange:
    """A part of a file that somebody has open, from ``base`` on."""

    __slots__ = ("_can_tell", "_owner", "base", "descriptor", "size_bytes")

    def __init__(
        self, descriptor: int, size_bytes: int, base: int = 0, owner: object = None
    ) -> None:
        """Read through a descriptor of a regular file, as long as ``owner`` has it open."""
        self.descriptor = descriptor
        self.size_bytes = size_bytes
        self.base = base
        self._owner = owner
        self._can_tell = True  # whether its file system can tell cached pages; tmpfs need not

    def at_hand(self, first: int, end: int) -> Bytes | None:
        """As `Body.at_hand`; what the kernel's cache lacks is not at hand."""
        if not self._can_tell:
            return os.pread(self.descriptor, end - first, self.base + first)
        buffer = memoryview(bytearray(end - first))
        count = self.fill(buffer, first)
        return None if count is None else buffer[:count]

    def fill(self, buffer: memoryview, first: int) -> int | None:
        """Read into a buffer, from ``first`` on, without waiting; None if that cannot be done.

        Raises:
            OSError: it cannot be read.
        """
        if not self._can_tell:
            return os.preadv(self.descriptor, [buffer], self.base + first)
        try:
            return os.preadv(self.descriptor, [buffer], self.base + first, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in _NOT_NOW:
                return None
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._can_tell = False
            return self.fill(buffer, first)

    def is_at_hand(self, end: int) -> bool:
        """Whether the byte before ``end`` can be had without waiting; so can those near it."""
        return self.fill(memoryview(bytearray(1)), end - 1) is not None

    async def read(self, first: int, end: int) -> Bytes:
        """As `Body.read`, in a thread."""
        at = self.base + first
        return await in_thread(partial(os.pread, self.descriptor, end - first, at))

    def fileno(self) -> int:
        """So that it can be given to sendfile."""
        return self.descriptor


class OpenFile(FileRange):
    """A file, open for reading until nobody has it any more.

    Kept by whoever found it and by everybody who is sending it, so there is nobody to close it but
    the last of them: it closes itself.
    """

    __slots__ = ()

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        """Take over the descriptor of a regular file of this size."""
        super().__init__(descriptor, size_bytes)

    def __del__(self) -> None:
        os.close(self.descriptor)


@dataclass(slots=True, eq=False)
class Found:
    """A resource and its bytes.

    Attributes:
        resource: what it is.
        head: its headers as they go out, the blank line included.
        content: all of its bytes, where they are in memory.
        body: its bytes, wherever they are.
        outcome: how a request for it is answered.
        weight: of the room where it is kept.
        is_wanted: as `hot.Entry`.
    """

    resource: Resource
    head: bytes
    content: bytes | None
    body: Body
    outcome: Outcome
    weight: int
    is_wanted: bool = False

    def small(self, scratch: memoryview) -> Bytes | None:
        """All of its bytes, if they fit into ``scratch``, and are at hand.

        They may lie in there, so they are good for one use only: a new buffer for each answer would
        cost more than reading it.
        """
        body, size = self.body, self.body.size_bytes
        if size > len(scratch):
            return None
        try:
            if not isinstance(body, FileRange):
                content = body.at_hand(0, size)
                return content if content is not None and len(content) == size else None
            return scratch[:size] if body.fill(scratch[:size], 0) == size else None
        except OSError:
            return None  # whoever sends it meets the same error, and can tell

    @staticmethod
    def in_memory(resource: Resource, content: bytes) -> Found:
        """One whose bytes are at hand."""
        head = resource.head(len(content))
        weight = len(content) + _OVERHEAD_BYTES
        return Found(resource, head, content, MemoryBody(content), Outcome.HIT_MEMORY, weight)

    @staticmethod
    def on_disk(resource: Resource, file: FileRange) -> Found:
        """One whose bytes are in a file."""
        head = resource.head(file.size_bytes)
        return Found(resource, head, None, file, Outcome.HIT_DISK, 1)


_OVERHEAD_BYTES: Final = 1024
"""What an entry takes beside its bytes: keys, headers, objects (measured: 900)."""
