"""The bytes that have come so far of something that is on its way."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from mirror.serve.content import FileRange

_IN_MEMORY_BYTES: Final = 1024 * 1024
"""Larger ones gather in a file: a thousand of them at once would not fit elsewhere."""
_PIECE_BYTES: Final = 1024 * 1024
_BACK_IN_MEMORY_BYTES: Final = 256 * 1024 * 1024
"""Larger ones do not come back from a disk that takes no more."""


class Arrived:
    """They only ever become more."""

    def __init__(self, directory: Path | None) -> None:
        """None yet; many are kept in a file in ``directory``, that has no name."""
        self._directory = directory
        self._memory: bytes | bytearray = b""  # a single piece is all of most objects: not copied
        self._descriptor = -1
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Some more; where the disk takes no more they stay in memory.

        Raises:
            OSError: there are too many for that, or the disk gives none back.
        """
        if self._descriptor < 0 and self.size_bytes + len(piece) > _IN_MEMORY_BYTES:
            self._go_to_disk()
        if self._descriptor >= 0 and not self._written(piece):
            self._go_to_memory()
        if self._descriptor < 0:
            self._remember(piece)
        self.size_bytes += len(piece)

    def read(self, first: int, end: int) -> bytes:
        """Some of them.

        Raises:
            OSError: the disk fails.
        """
        if self._descriptor >= 0:
            return os.pread(self._descriptor, end - first, first)
        return bytes(memoryview(self._memory)[first:end])

    def begins_like(self, other: Arrived, length: int) -> bool:
        """Whether so many bytes from the front are the same in both."""
        for first in range(0, length, _PIECE_BYTES):
            end = min(first + _PIECE_BYTES, length)
            if self.read(first, end) != other.read(first, end):
                return False
        return True

    @property
    def whole(self) -> bytes | FileRange:
        """All of them."""
        if self._descriptor >= 0:
            return FileRange(self._descriptor, self.size_bytes, 0, self)
        return bytes(self._memory)

    def _remember(self, piece: bytes) -> None:
        if not self._memory:
            self._memory = piece
        elif isinstance(self._memory, bytearray):
            self._memory += piece
        else:
            self._memory = bytearray(self._memory) + piece

    def _written(self, piece: bytes) -> bool:
        view, at = memoryview(piece), self.size_bytes
        try:
            while view:
                written = os.pwrite(self._descriptor, view, at)
                view, at = view[written:], at + written
        except OSError:
            return False
        return True

    def _go_to_disk(self) -> None:
        if self._directory is None:
            return
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                self._descriptor = os.dup(file.fileno())
        except OSError:
            self._directory = None
            return
        if self._memory_is_written():
            self._memory = bytearray()
        else:
            self._close()

    def _memory_is_written(self) -> bool:
        try:
            return os.pwrite(self._descriptor, self._memory, 0) == len(self._memory)
        except OSError:
            return False

    def _go_to_memory(self) -> None:
        if self.size_bytes > _BACK_IN_MEMORY_BYTES:
            raise OSError(errno.ENOSPC, "no room for an object on its way")
        memory = bytearray()
        while len(memory) < self.size_bytes:
            end = min(len(memory) + _PIECE_BYTES, self.size_bytes)
            piece = self.read(len(memory), end)
            if not piece:
                raise OSError(errno.EIO, "the disk does not give back what it took")
            memory += piece
        self._memory = memory
        self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._directory = None

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
