"""Large contents cut where they say, exactly as the reference cuts them.

A checksum over the last 32 bytes (each older byte shifted left by one more bit, all of them XORed)
slides over the content; where it comes near a magic number, a chunk ends. So a change in the middle
moves no other cut, and a repository that was begun with ``cvmfs_server`` shares its chunks with
what is published here. The numbers below are the reference's and define where cuts are.

A Python loop would need a minute for what NumPy does in a tenth of a second: by doubling, five
steps give the checksum of every window at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

from mirror.cvmfs.limits import MIB

_WINDOW: Final = 32
_MAGIC: Final = 0x7FFF_FFFF
_STEP_BYTES: Final = MIB


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Bounds of chunks, and what is aimed at; the reference's defaults."""

    smallest: int = 4 * MIB
    average: int = 8 * MIB
    largest: int = 16 * MIB


class Readable(Protocol):
    """What contents are read from; fewer bytes than asked for means that it has ended."""

    def read(self, size: int = -1, /) -> bytes:
        """As a file's."""


def chunks(content: Readable, sizes: ChunkSizes) -> Iterator[bytes]:
    """Cut a content; memory is bounded by one chunk. Empty content is one empty chunk."""
    pending = b""
    is_first = True
    while True:
        wanted = sizes.largest - len(pending)
        pending += content.read(wanted) if wanted else b""
        if not pending and not is_first:
            return
        is_first = False
        cut = _next_cut(pending, sizes)
        yield pending[:cut]
        pending = pending[cut:]


def _next_cut(data: bytes, sizes: ChunkSizes) -> int:
    """Where the first chunk of ``data`` ends; its length if nothing in it says so."""
    if len(data) <= sizes.smallest:
        return len(data)
    import numpy as np  # noqa: PLC0415 - costs a tenth of a second, and few files are this large

    threshold = 0xFFFF_FFFF // sizes.average
    start = sizes.smallest
    while start < len(data):
        end = min(start + _STEP_BYTES, len(data))
        sums = _checksums(data[start - _WINDOW : end])[_WINDOW:]
        distance = (sums - np.uint32(_MAGIC)).view(np.int32)
        hits = np.flatnonzero(np.abs(distance) < threshold)
        if hits.size:
            return start + int(hits[0])
        start = end
    return len(data)


def _checksums(data: bytes) -> npt.NDArray[np.uint32]:
    """For each position the checksum over it and the 31 bytes before it, if there are any."""
    import numpy as np  # noqa: PLC0415 - as above

    sums = np.frombuffer(data, np.uint8).astype(np.uint32)
    reach = 1
    while reach < _WINDOW:
        doubled = sums.copy()
        doubled[reach:] ^= sums[:-reach] << np.uint32(reach)
        sums = doubled
        reach *= 2
    return sums
