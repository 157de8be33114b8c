"""Unpacking within a stated size (contract B.5: zlib streams with a two-byte header)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import IO, Final, Protocol

from mirror.errors import FormatError

_STEP_BYTES: Final = 256 * 1024
"""What one call may unpack: a bomb of a thousandfold never gets more than this into memory."""


def decompress(packed: bytes, max_bytes: int, what: str) -> bytes:
    """Unpack a whole zlib stream held in memory.

    Args:
        packed: the stream, and nothing behind it.
        max_bytes: how large the result may be.
        what: the name of the thing, for the error.

    Raises:
        FormatError: not zlib, cut short, followed by more bytes, or larger than ``max_bytes``.
    """
    return b"".join(_unpack([packed], max_bytes, what))


class Sink(Protocol):
    """Whatever takes bytes, piece by piece."""

    def write(self, data: bytes, /) -> object:
        """Take the next piece."""


def decompress_into(sink: Sink, packed: IO[bytes], max_bytes: int, what: str) -> int:
    """Unpack from a file and return the size; memory stays constant.

    Raises:
        FormatError: as `decompress`.
    """
    size_bytes = 0
    for piece in _unpack(iter(lambda: packed.read(_STEP_BYTES), b""), max_bytes, what):
        sink.write(piece)
        size_bytes += len(piece)
    return size_bytes


def _unpack(packed: Iterable[bytes], max_bytes: int, what: str) -> Iterable[bytes]:
    unpacker = zlib.decompressobj()
    size_bytes = 0
    try:
        for block in packed:
            pending = block
            while pending and not unpacker.eof:
                piece = unpacker.decompress(pending, _STEP_BYTES)
                pending = unpacker.unconsumed_tail
                size_bytes += len(piece)
                if size_bytes > max_bytes:
                    raise FormatError(
                        f"{what} unpacks to more than {max_bytes} bytes, the limit for it"
                    )
                yield piece
            if unpacker.eof and (unpacker.unused_data or pending):
                raise FormatError(f"{what} has bytes behind the end of its zlib stream")
    except zlib.error as error:
        raise FormatError(f"{what} is not a zlib stream: {error}") from error
    if not unpacker.eof:
        raise FormatError(f"{what} is a zlib stream cut short after {size_bytes} bytes")
