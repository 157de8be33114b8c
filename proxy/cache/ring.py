"""A ring of segments: where to write next, and which generation of each is the one that counts.

The state is a memory-mapped file, so that it is there again after a kill, and so that workers that
only read see at once when a segment is replaced.

    current 4 │ offset 8 │ generations, one byte each
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from proxy.cache.index import mapped
from proxy.cache.segments import GENERATIONS

_STATE: Final = struct.Struct("<IQ")


class Ring:
    """Numbers of segments, from ``first`` on."""

    def __init__(self, path: Path, count: int, segment_bytes: int) -> None:
        """Open the state of so many segments, or begin it.

        Raises:
            OSError: it cannot be opened or made.
        """
        self._state = mapped(path, _STATE.size + count)
        self.count = count
        self._segment_bytes = segment_bytes

    @property
    def current(self) -> int:
        """The segment that is being filled."""
        return int(_STATE.unpack_from(self._state)[0]) % self.count

    @property
    def offset(self) -> int:
        """Where the next record begins."""
        return min(int(_STATE.unpack_from(self._state)[1]), self._segment_bytes)

    def generation(self, number: int) -> int:
        """The one that counts; 0 for a segment that was never used."""
        return self._state[_STATE.size + number]

    @property
    def is_unfilled(self) -> bool:
        """Whether some of it was never used, so that nothing has to go yet."""
        return self.generation(self.count - 1) == 0

    def has_room(self, length: int) -> bool:
        """Whether a record fits into the current segment."""
        return self.generation(self.current) != 0 and self.offset + length <= self._segment_bytes

    def filled_to(self, offset: int) -> None:
        """The next record begins there."""
        _STATE.pack_into(self._state, 0, self.current, offset)

    def advance(self) -> int:
        """Go to the oldest segment and give it a new generation; what was in it is no more."""
        number = self.current
        if self.generation(number):
            number = (number + 1) % self.count
        following = self.generation(number) % (GENERATIONS - 1) + 1
        self._state[_STATE.size + number] = following
        _STATE.pack_into(self._state, 0, number, 0)
        return number

    def close(self) -> None:
        """Let go of the state."""
        self._state.close()
