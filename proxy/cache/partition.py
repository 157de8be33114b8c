"""One index and two rings of segments: S3-FIFO on a disk.

Newcomers go into the short ring, *probation*. When its oldest segment is replaced, what was asked
for again moves to the long ring, *settled*; the rest is forgotten, but its index entries stay as
memories until they are needed, and who comes back while remembered settles at once. When the oldest
settled segment is replaced, what was asked for since it came goes round once more. So a job that
reads millions of files once only ever passes through probation.

One process writes (it holds `Partition.lock`), all workers of the host read.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

from mirror.serve.content import FileRange
from proxy.cache.index import Index, Place
from proxy.cache.ring import Ring
from proxy.cache.segments import (
    HEADER_BYTES,
    SegmentFile,
    aligned,
    header,
)

_PROBATION: Final = 0.1
_SETTLED: Final = 0x8000
"""Set in the number of a segment of the long ring."""
_KEY_BYTES: Final = 12
_PIECE_BYTES: Final = 1024 * 1024


def key_of(name: bytes) -> bytes:
    """What the index knows an object by."""
    return blake2b(name, digest_size=_KEY_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Layout:
    """How a partition is divided.

    Attributes:
        segments: of both rings.
        segment_bytes: of each.
        entries: that the index has room for.
    """

    segments: int
    segment_bytes: int
    entries: int

    @property
    def probation(self) -> int:
        """Segments of the short ring: two at least, one that is filled and one that waits."""
        return max(2, round(self.segments * _PROBATION))

    @property
    def settled(self) -> int:
        """Segments of the long ring."""
        return max(2, self.segments - self.probation)


class Partition:
    """See above. What is not found, or cannot be read, is not there: it is a cache."""

    def __init__(self, directory: Path, layout: Layout) -> None:
        """Open it; it is usable at once, whatever it holds.

        Raises:
            OSError: it cannot be opened or made.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._layout = layout
        size = layout.segment_bytes
        with _alone(directory):
            self._index = Index(directory / "index", layout.entries)
            self._probation = Ring(directory / "probation", layout.probation, size)
            self._settled = Ring(directory / "settled", layout.settled, size)
        self._files: dict[int, SegmentFile] = {}
        self._lock: int | None = None
        self.evictions = 0

    # --- reading ----------------------------------------------------------------------------------

    def find(self, key: bytes) -> tuple[Place, SegmentFile] | None:
        """Where a record should be; reads nothing of it."""
        place = self._index.find(key)
        if place is None or self._is_stale(place.segment, place.generation):
            return None
        try:
            return place, self._file(place.segment, place.generation)
        except OSError:
            return None

    @staticmethod
    def is_record(name: bytes, place: Place, raw: bytes | memoryview) -> bool:
        """Whether what lies at a place is the record of this name.

        Args:
            name: of the object.
            place: where it should be.
            raw: the record's first bytes.
        """
        size = place.length - HEADER_BYTES
        return size >= 0 and raw[:HEADER_BYTES] == header(name, size)

    def want(self, key: bytes) -> None:
        """Somebody asked for it again."""
        self._index.want(key)

    def forget(self, key: bytes) -> None:
        """It was not what it should be."""
        self._index.forget(key)

    # --- writing ----------------------------------------------------------------------------------

    def lock(self) -> bool:
        """Become the one that writes; False while another process is.

        Raises:
            OSError: nobody can.
        """
        if self._lock is not None:
            return True
        descriptor = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        self._clean()
        return True

    def unlock(self) -> None:
        """Let another process write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def fits(self, size_bytes: int) -> bool:
        """Whether an object of this size can be kept at all."""
        return HEADER_BYTES + size_bytes <= self._layout.segment_bytes

    def add(self, name: bytes, content: bytes | FileRange) -> None:
        """Keep an object; blocks.

        Whoever was here not long ago settles, and so does everybody while nothing has to go.

        Raises:
            OSError: the disk is full, or fails. What was kept before is still there.
        """
        key = key_of(name)
        is_settled = self._settled.is_unfilled or self._index.find(key) is not None
        self._append(key, name, content, is_settled=is_settled)

    def close(self) -> None:
        """Let go of everything."""
        self.unlock()
        self._files.clear()
        for each in (self._index, self._probation, self._settled):
            each.close()

    def tidy(self) -> None:
        """Let go of files that were replaced: as long as somebody has them they take room."""
        for number, file in list(self._files.items()):
            if file.is_replaced:
                self._files.pop(number, None)

    # --- inside -----------------------------------------------------------------------------------

    def _append(
        self, key: bytes, name: bytes, content: bytes | FileRange, *, is_settled: bool
    ) -> None:
        size = content.size_bytes if isinstance(content, FileRange) else len(content)
        length = HEADER_BYTES + size
        ring = self._settled if is_settled else self._probation
        if not ring.has_room(length):
            self._advance(ring)
        number = ring.current | (_SETTLED if is_settled else 0)
        generation, offset = ring.generation(ring.current), ring.offset
        file = self._file_to_write(number, generation)
        _write(file.descriptor, header(name, size), content, offset)
        ring.filled_to(aligned(offset + length))
        place = Place(number, generation, offset, length)
        self._index.put(key, place, self._is_stale)

    def _advance(self, ring: Ring) -> None:
        """Replace the oldest segment, and keep of it what was asked for again."""
        mark = _SETTLED if ring is self._settled else 0
        oldest = (ring.current + 1) % ring.count if ring.generation(ring.current) else ring.current
        generation = ring.generation(oldest)
        old = self._oldest(oldest | mark, generation)
        number = ring.advance() | mark
        if old is not None:
            old.path.unlink(missing_ok=True)  # who sends from it still has it open
        self._make(number, ring.generation(ring.current))
        if old is not None:
            self._keep_wanted(old, number, generation)

    def _make(self, number: int, generation: int) -> SegmentFile:
        room = self._layout.segment_bytes
        file = SegmentFile(self._path(number, generation), generation, room_bytes=room)
        self._files[number] = file
        return file

    def _file_to_write(self, number: int, generation: int) -> SegmentFile:
        try:
            return self._file(number, generation)
        except FileNotFoundError:
            return self._make(number, generation)  # there was no room for it when its turn came

    def _clean(self) -> None:
        """Remove what a kill, or a cache of another size, has left."""
        for path in self._directory.glob("[ps][0-9a-f][0-9a-f][0-9a-f][0-9a-f].[0-9a-f][0-9a-f]"):
            number = int(path.name[1:5], 16) | (_SETTLED if path.name[0] == "s" else 0)
            if self._is_stale(number, int(path.suffix[1:], 16)):
                path.unlink(missing_ok=True)

    def _oldest(self, number: int, generation: int) -> SegmentFile | None:
        try:
            return self._file(number, generation) if generation else None
        except OSError:
            return None

    def _keep_wanted(self, old: SegmentFile, number: int, generation: int) -> None:
        """Let what somebody asked for again go on; at most half a segment of it."""
        room = self._layout.segment_bytes // 2
        for record in old.records(self._layout.segment_bytes):
            key = key_of(record.name)
            place = self._index.find(key)
            if place is None or (place.segment, place.generation, place.offset) != (
                number,
                generation,
                record.offset,
            ):
                continue
            if place.is_wanted and record.length <= room:
                room -= record.length
                offset = record.offset + HEADER_BYTES
                content = FileRange(old.descriptor, record.size_bytes, offset, old)
                self._append(key, record.name, content, is_settled=True)
            else:
                self.evictions += 1

    def _is_stale(self, number: int, generation: int) -> bool:
        ring = self._settled if number & _SETTLED else self._probation
        number &= _SETTLED - 1
        return number >= ring.count or not generation or ring.generation(number) != generation

    def _file(self, number: int, generation: int) -> SegmentFile:
        file = self._files.get(number)
        if file is None or file.generation != generation:
            file = SegmentFile(self._path(number, generation), generation)
            self._files[number] = file
        return file

    def _path(self, number: int, generation: int) -> Path:
        ring = "s" if number & _SETTLED else "p"
        return self._directory / f"{ring}{number & (_SETTLED - 1):04x}.{generation:02x}"


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """While nobody else is: two that make the same file would not share it.

    Raises:
        OSError: it cannot be locked.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(descriptor: int, head: bytes, content: bytes | FileRange, offset: int) -> None:
    """Write a record; a large one's header last, a small one's with it.

    A torn record is never found: whatever leads to it is written afterwards.

    Raises:
        OSError: it could not be written.
    """
    at = offset + len(head)
    if isinstance(content, FileRange):
        _copy(content, descriptor, at)
    elif os.pwritev(descriptor, [head, content], offset) == len(head) + len(content):
        return
    else:
        _write_all(descriptor, content, at)
    _write_all(descriptor, head, offset)


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _copy(source: FileRange, descriptor: int, offset: int) -> None:
    left, first = source.size_bytes, source.base
    while left:
        piece = os.pread(source.descriptor, min(left, _PIECE_BYTES), first)
        if not piece:
            raise OSError(errno.EIO, "there are fewer bytes than there should be")
        _write_all(descriptor, piece, offset)
        left, first, offset = left - len(piece), first + len(piece), offset + len(piece)
