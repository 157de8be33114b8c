"""The bytes that have come so far of something that is on its way."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from mirror.serve.content import FileRange

_IN_MEMORY_BYTES: Final = 1024 * 1024
"""Larger ones gather in a file: a thousand of them at once would not fit elsewhere."""
_PIECE_BYTES: Final = 1024 * 1024


class Arrived:
    """They only ever become more."""

    def __init__(self, directory: Path | None) -> None:
        """None yet; many are kept in a file in ``directory``, that has no name."""
        self._directory = directory
        self._memory = bytearray()
        self._descriptor = -1
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        """Some more; where the disk takes no more they stay in memory."""
        if self._descriptor < 0 and self.size_bytes + len(piece) > _IN_MEMORY_BYTES:
            self._go_to_disk()
        if self._descriptor >= 0 and not self._written(piece):
            self._go_to_memory()
        if self._descriptor < 0:
            self._memory += piece
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
        self._memory = bytearray(os.pread(self._descriptor, self.size_bytes, 0))
        self._close()

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        self._directory = None

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
