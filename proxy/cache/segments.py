"""Files of one size that are filled from front to end, in a ring: the oldest is replaced.

A record is a header and the object's bytes. The header has its name, so that an index entry that
points somewhere else is found out before anything is hashed.

    magic 4 │ bytes 4 │ length of name 2 │ name … │ zeros up to 96 │ the object

A segment that is used anew is a new file under a new name, its *generation* in it: whoever still
sends from the old one goes on sending what was there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.cache.index import OFFSET_UNIT

HEADER_BYTES: Final = 96
_HEADER: Final = struct.Struct("<4sIH")
_MAGIC: Final = b"cvC1"
_MAX_NAME_BYTES: Final = HEADER_BYTES - _HEADER.size
GENERATIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Record:
    """One object in a segment.

    Attributes:
        name: ``data/ab/cdef…C``.
        offset: of its header.
        size_bytes: of the object.
    """

    name: bytes
    offset: int
    size_bytes: int

    @property
    def length(self) -> int:
        """With its header."""
        return HEADER_BYTES + self.size_bytes


def header(name: bytes, size_bytes: int) -> bytes:
    """What stands before an object.

    Raises:
        ValueError: the name is too long; no object has such a name.
    """
    if len(name) > _MAX_NAME_BYTES:
        raise ValueError(name)
    return (_HEADER.pack(_MAGIC, size_bytes, len(name)) + name).ljust(HEADER_BYTES, b"\0")


def parse_header(raw: bytes | bytearray | memoryview, offset: int) -> Record | None:
    """The record that begins so; None if none does."""
    if len(raw) < HEADER_BYTES:
        return None
    magic, size_bytes, length = _HEADER.unpack_from(raw)
    if magic != _MAGIC or length > _MAX_NAME_BYTES:
        return None
    return Record(bytes(raw[_HEADER.size : _HEADER.size + length]), offset, size_bytes)


def aligned(offset: int) -> int:
    """The next offset at which a record may begin."""
    return -(-offset // OFFSET_UNIT) * OFFSET_UNIT


class SegmentFile:
    """One generation of one segment; closes itself when nobody has it any more."""

    __slots__ = ("descriptor", "generation", "path")

    def __init__(self, path: Path, generation: int, *, room_bytes: int = 0) -> None:
        """Open what is there, or make it with so much room.

        Raises:
            OSError: it is not there, or there is no room for it.
        """
        if room_bytes:
            path.unlink(missing_ok=True)  # never change what somebody may be sending from
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if room_bytes else 0)
        self.descriptor = os.open(path, flags, 0o600)
        self.generation = generation
        self.path = path
        if room_bytes:
            os.posix_fallocate(self.descriptor, 0, room_bytes)  # so that no write finds it full

    @property
    def is_replaced(self) -> bool:
        """Whether it lives on only because we have it open."""
        return not os.fstat(self.descriptor).st_nlink

    def records(self, end: int) -> Iterator[Record]:
        """From the front up to ``end``, as far as they are whole."""
        offset = 0
        while offset + HEADER_BYTES <= end:
            record = parse_header(os.pread(self.descriptor, HEADER_BYTES, offset), offset)
            if record is None or offset + record.length > end:
                return
            yield record
            offset = aligned(offset + record.length)

    def __del__(self) -> None:
        descriptor = getattr(self, "descriptor", -1)
        if descriptor >= 0:
            os.close(descriptor)
