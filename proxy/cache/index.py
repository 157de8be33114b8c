"""Which names are where: a hash table in a memory-mapped file.

A key of 12 bytes chooses a bucket by four of them and is recognised by the other eight. A bucket is
256 bytes: twelve entries of 20 bytes and some rest. An entry says where a record lies, in which
*generation* of its segment, and whether somebody has asked for it since it came. When the segment
is used anew its generation moves on, and all entries that point to the old one are stale; they stay
as memories of what was there (a newcomer that comes back is no newcomer any more).

    tag 8 │ segment 2 │ generation 1 │ wanted 1 │ offset 4 │ length 4

One process writes, any number read and set ``wanted``. Nobody locks: a torn entry points to bytes
that do not have the name or the hash, and that is a miss.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_ENTRY: Final = struct.Struct("<8sHBBII")
ENTRY_BYTES: Final = _ENTRY.size
_BUCKET_BYTES: Final = 256
_WAYS: Final = _BUCKET_BYTES // ENTRY_BYTES
_NOTHING: Final = bytes(8)
_WANTED_AT: Final = 11
_FILL: Final = 0.75
"""Of the entries; above that buckets overflow, and what is in an overfull one is forgotten."""
OFFSET_UNIT: Final = 64
"""Records begin at multiples of this."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record is said to be.

    Attributes:
        segment: number of its file.
        generation: of that file, when the record was written.
        offset: first byte.
        length: of the record, its header included.
        is_wanted: somebody has asked for it since it was written.
    """

    segment: int
    generation: int
    offset: int
    length: int
    is_wanted: bool = False


def mapped(path: Path, size: int) -> mmap.mmap:
    """The file of this size as memory, made of zeros if there is none such.

    One of another size is replaced, not changed: another worker may have it in its memory.

    Raises:
        OSError: it cannot be opened or made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size != size:
            fresh = path.with_name(f"{path.name}.new")
            os.close(descriptor)
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.ftruncate(descriptor, size)
            fresh.replace(path)
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)


class Index:
    """A table in a file; open it for as long as the process lives."""

    def __init__(self, path: Path, entries: int) -> None:
        """Open the table, or make one for so many entries; one of another size is made anew.

        Raises:
            OSError: it cannot be opened or made.
        """
        buckets = max(1, round(entries / _FILL / _WAYS))
        size = buckets * _BUCKET_BYTES
        self._table = mapped(path, size)
        self._buckets = buckets

    def find(self, key: bytes) -> Place | None:
        """Where the record of this key was put last; it need not be there any more."""
        at = self._position(key)
        if at is None:
            return None
        _, segment, generation, wanted, offset, length = _ENTRY.unpack_from(self._table, at)
        return Place(segment, generation, offset * OFFSET_UNIT, length, bool(wanted))

    def want(self, key: bytes) -> None:
        """Somebody has asked for it."""
        at = self._position(key)
        if at is not None:
            self._table[at + _WANTED_AT] = 1

    def put(self, key: bytes, place: Place, is_stale: Callable[[int, int], bool]) -> None:
        """Remember where a record is; instead of a stale one if there is no room.

        Args:
            key: of the record.
            place: where it is.
            is_stale: tells of segment and generation whether they are no more.
        """
        at = self._position(key)
        if at is None:
            at = self._room(key, is_stale)
        _ENTRY.pack_into(
            self._table,
            at,
            key[4:],
            place.segment,
            place.generation,
            place.is_wanted,
            place.offset // OFFSET_UNIT,
            place.length,
        )

    def forget(self, key: bytes) -> None:
        """Remember nothing of it."""
        at = self._position(key)
        if at is not None:
            self._table[at : at + ENTRY_BYTES] = bytes(ENTRY_BYTES)

    def close(self) -> None:
        """Let go of the file."""
        self._table.close()

    def _bucket(self, key: bytes) -> int:
        return int.from_bytes(key[:4], "little") % self._buckets * _BUCKET_BYTES

    def _position(self, key: bytes) -> int | None:
        first = self._bucket(key)
        tag, end = key[4:], first + _WAYS * ENTRY_BYTES
        at = self._table.find(tag, first, end)
        while at >= 0 and (at - first) % ENTRY_BYTES:  # in the middle of some entry
            at = self._table.find(tag, at + 1, end)
        return at if at >= 0 else None

    def _room(self, key: bytes, is_stale: Callable[[int, int], bool]) -> int:
        """An entry that is free, or else stale, or else one by chance."""
        first = self._bucket(key)
        stale = None
        for at in range(first, first + _WAYS * ENTRY_BYTES, ENTRY_BYTES):
            tag, segment, generation, *_ = _ENTRY.unpack_from(self._table, at)
            if tag == _NOTHING:
                return at
            if is_stale(segment, generation):
                stale = at
        return stale if stale is not None else first + key[-1] % _WAYS * ENTRY_BYTES
