"""All partitions of a cache directory: the disk tier.

Objects are spread over partitions by their names. Each partition is written by one worker of the
host, in a thread of its own, and read by all of them. Reading never waits for writing, and nothing
that comes from here is believed before its hash was compared.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from mirror.cvmfs.content_hash import ContentHash
from mirror.serve.content import FileRange
from mirror.store.threads import in_thread
from proxy.cache.partition import Layout, Partition, key_of
from proxy.cache.segments import HEADER_BYTES

PARTITIONS: Final = 8
_SEGMENTS: Final = 16
_MIN_SEGMENT_BYTES: Final = 8 * 1024 * 1024
_MAX_SEGMENT_BYTES: Final = 256 * 1024 * 1024
_OBJECT_BYTES: Final = 8 * 1024
"""Median of what CernVM-FS repositories hold; the index has room for so many of them."""
_MOST_QUEUED_BYTES: Final = 64 * 1024 * 1024
_PIECE_BYTES: Final = 1024 * 1024
_SCRATCH_BYTES: Final = 64 * 1024
_GATHERING_S: Final = 0.005
_log: Final = logging.getLogger(__name__)
_Waiting = tuple[bytes, bytes | FileRange, Callable[[], object] | None]


def layout_of(size_bytes: int) -> Layout:
    """How each partition of a cache of this size is divided."""
    share = size_bytes // PARTITIONS
    segment = min(max(share // _SEGMENTS, _MIN_SEGMENT_BYTES), _MAX_SEGMENT_BYTES)
    return Layout(max(4, share // segment), segment, max(1000, share // _OBJECT_BYTES))


class DiskTier:
    """Finds objects, and takes new ones."""

    def __init__(
        self,
        directory: Path,
        size_bytes: int,
        is_ours: Callable[[int], bool] = lambda _: True,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        """Open it.

        Args:
            directory: of the cache.
            size_bytes: of everything in it, but for the index.
            is_ours: which partitions this worker writes.
            say: takes what the operator has to know.

        Raises:
            OSError: it cannot be opened or made.
        """
        layout = layout_of(size_bytes)
        self._partitions = [
            Partition(directory / f"{number:02x}", layout) for number in range(PARTITIONS)
        ]
        self._is_ours = is_ours
        self._say = say
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._put_bytes = self._written_bytes = 0  # each changed by one thread only
        self._is_failing = False
        self.stored = self.dropped = self.damaged = 0
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._writer = threading.Thread(target=self._write_all, name="cache writer", daemon=True)
        self._writer.start()

    @staticmethod
    def partition_of(name: bytes) -> int:
        """Which partition an object belongs to."""
        return key_of(name)[-1] % PARTITIONS

    @property
    def evictions(self) -> int:
        """Objects that had to go since we started."""
        return sum(each.evictions for each in self._partitions)

    # --- reading ----------------------------------------------------------------------------------

    def now(self, name: bytes, expected: ContentHash, most: int) -> bytes | None:
        """A small object's bytes, right ones, if they can be had without waiting.

        Args:
            name: of the object.
            expected: its hash.
            most: larger ones are not given.
        """
        key = key_of(name)
        partition = self._partitions[key[-1] % PARTITIONS]
        found = partition.find(key)
        if found is None or not HEADER_BYTES <= found[0].length <= HEADER_BYTES + most:
            return None
        place, file = found
        raw = self._at_hand(FileRange(file.descriptor, place.length, place.offset, file))
        if raw is None or not partition.is_record(name, place, raw):
            return None
        if not place.is_wanted:
            partition.want(key)
        return self._judged(name, expected, bytes(raw[HEADER_BYTES:]))

    async def get(self, name: bytes, expected: ContentHash, most: int) -> bytes | FileRange | None:
        """An object that has its hash, waiting for the disk; as a range if it is larger."""
        return await in_thread(partial(self._read, name, expected, most))

    def forget(self, name: bytes) -> None:
        """It is to be fetched anew."""
        key = key_of(name)
        self._partitions[key[-1] % PARTITIONS].forget(key)

    def _at_hand(self, record: FileRange) -> memoryview | None:
        """All of a record, header and object in one call; good until the next one."""
        size = record.size_bytes
        is_small = size <= len(self._scratch)
        raw = self._scratch[:size] if is_small else memoryview(bytearray(size))
        try:
            return raw if record.fill(raw, 0) == size else None
        except OSError:
            return None  # `get` meets it again, and tells

    def _locate(self, name: bytes, *, may_wait: bool) -> FileRange | None:
        """Where its bytes are; somebody asks for it, so it is wanted from now on."""
        key = key_of(name)
        partition = self._partitions[key[-1] % PARTITIONS]
        found = partition.find(key)
        if found is None:
            return None
        place, file = found
        whole = FileRange(file.descriptor, place.length, place.offset, file)
        try:
            head = whole.at_hand(0, HEADER_BYTES)
            if head is None and may_wait:
                head = os.pread(file.descriptor, HEADER_BYTES, place.offset)
        except OSError as error:
            self._fail(error)
            return None
        if head is None or not partition.is_record(name, place, bytes(head)):
            return None
        if not place.is_wanted:
            partition.want(key)
        size = place.length - HEADER_BYTES
        return FileRange(file.descriptor, size, place.offset + HEADER_BYTES, file)

    def _read(self, name: bytes, expected: ContentHash, most: int) -> bytes | FileRange | None:
        located = self._locate(name, may_wait=True)
        if located is None:
            return None
        try:
            if located.size_bytes <= most:
                content = os.pread(located.descriptor, located.size_bytes, located.base)
                return self._judged(name, expected, content)
            return self._judged_range(name, expected, located)
        except OSError as error:
            self._fail(error)
            return None

    def _judged(self, name: bytes, expected: ContentHash, content: bytes) -> bytes | None:
        hasher = expected.algorithm.hasher()
        hasher.update(content)
        if hasher.digest() == expected.digest:
            return content
        self._damage(name)
        return None

    def _judged_range(
        self, name: bytes, expected: ContentHash, located: FileRange
    ) -> FileRange | None:
        hasher = expected.algorithm.hasher()
        for first in range(0, located.size_bytes, _PIECE_BYTES):
            length = min(_PIECE_BYTES, located.size_bytes - first)
            hasher.update(os.pread(located.descriptor, length, located.base + first))
        if hasher.digest() == expected.digest:
            return located
        self._damage(name)
        return None

    def tidy(self) -> None:
        """Let go of what was replaced by another worker; to be called now and then."""
        for each in self._partitions:
            each.tidy()

    def _damage(self, name: bytes) -> None:
        self.damaged += 1
        self.forget(name)

    # --- writing ----------------------------------------------------------------------------------

    def has(self, name: bytes) -> bool:
        """Whether it is worth looking; reads nothing."""
        key = key_of(name)
        return self._partitions[key[-1] % PARTITIONS].find(key) is not None

    def put(
        self, name: bytes, content: bytes | FileRange, done: Callable[[], object] | None = None
    ) -> bool:
        """Keep an object if the disk keeps up, and this worker writes its partition.

        Returns at once, and whether it will be tried; ``done`` is called by the writing thread.
        """
        size = content.size_bytes if isinstance(content, FileRange) else len(content)
        number = self.partition_of(name)
        if not self._is_ours(number) or not self._partitions[number].fits(size):
            return False
        queued = self._put_bytes - self._written_bytes
        if queued and queued + size > _MOST_QUEUED_BYTES:
            self.dropped += 1
            return False
        self._put_bytes += size
        self._queue.put((name, content, done))
        return True

    def release(self) -> None:
        """Write what is queued, and let other workers write from now on."""
        self._is_ours = lambda _: False
        self._queue.put(None)
        self._writer.join()
        while not self._queue.empty():  # put while we were about to end
            waiting = self._queue.get()
            if waiting is not None and waiting[2] is not None:
                waiting[2]()
        for each in self._partitions:
            each.unlock()

    def close(self) -> None:
        """Let go of everything."""
        self.release()
        for each in self._partitions:
            each.close()

    def _write_all(self) -> None:
        while True:
            for waiting in self._gathered():
                if waiting is None:
                    return
                self._write_one(*waiting)

    def _gathered(self) -> Iterator[_Waiting | None]:
        """Wait for one object, and a little for others.

        Woken for each of them we would stand in the event loop's way as often.
        """
        yield self._queue.get()
        time.sleep(_GATHERING_S)
        while not self._queue.empty():
            yield self._queue.get()

    def _write_one(
        self, name: bytes, content: bytes | FileRange, done: Callable[[], object] | None
    ) -> None:
        try:
            self._write(name, content)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next ones are written
            self._fail(error)
        if done is not None:
            done()
        size = content.size_bytes if isinstance(content, FileRange) else len(content)
        self._written_bytes += size

    def _write(self, name: bytes, content: bytes | FileRange) -> None:
        partition = self._partitions[self.partition_of(name)]
        if not partition.lock():
            self.dropped += 1  # the worker before us still writes
            return
        partition.add(name, content)
        self.stored += 1
        if self._is_failing:
            self._is_failing = False
            self._say("the cache's disk takes objects again")

    def _fail(self, error: Exception) -> None:
        self.dropped += 1
        if not self._is_failing:
            self._is_failing = True
            self._say(f"the cache's disk fails: {error}; serving goes on from memory and upstream")
