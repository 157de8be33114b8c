"""Contents → stored objects, compressed and hashed on all cores.

zlib and the hash functions let go of Python's lock, so threads are enough. Objects are staged where
nobody looks; `Packing.settle` syncs once and then gives all of them their names: a publication that
was killed leaves nothing half written, and catalogs can follow.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import IO, Final, Self

from mirror.cvmfs.content_hash import Algorithm, ContentHash, Suffix
from mirror.cvmfs.limits import MIB
from mirror.errors import ConfigError
from mirror.store.local import LocalStore
from mirror.store.local_upload import FileCommit
from mirror.stratum0.chunking import ChunkSizes, Readable, chunks
from mirror.stratum0.entry import Chunk, Stored
from mirror.stratum0.source import SourceEntry

Packed = tuple[SourceEntry, Stored | None]

_BATCH_ENTRIES: Final = 64
_BATCH_BYTES: Final = 4 * MIB
_AHEAD_BYTES: Final = 128 * MIB
_AHEAD_BATCHES: Final = 64
_SETTLE_AFTER: Final = 20_000


@dataclass(frozen=True, slots=True)
class PackingOptions:
    """How contents become objects.

    Attributes:
        algorithm: names them.
        is_packed: compress file contents; catalogs and their like always are.
        sizes: of chunks.
    """

    algorithm: Algorithm = Algorithm.SHA1
    is_packed: bool = True
    sizes: ChunkSizes = field(default_factory=ChunkSizes)


@dataclass(slots=True)
class _Ahead:
    """Work under way for some entries, in the order of the source."""

    result: Future[list[Packed]]
    size_bytes: int


class Packing:
    """Takes contents, gives back what they became; use as a context manager.

    Attributes:
        new_objects: stored because they were not there.
        new_bytes: as stored.
    """

    def __init__(self, store: LocalStore, options: PackingOptions) -> None:
        self._store = store
        self._options = options
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="pack")
        self._lock = threading.Lock()
        self._staged: dict[ContentHash, FileCommit | None] = {}
        self.new_objects = 0
        self.new_bytes = 0

    def pack(self, entries: Iterable[SourceEntry]) -> Iterator[Packed]:
        """Each entry with what its content became, in their order; others pass through.

        Memory is bounded: so many bytes are under way and no more.
        """
        ahead: deque[_Ahead] = deque()
        ahead_bytes = 0
        for work in self._batches(entries):
            ahead.append(work)
            ahead_bytes += work.size_bytes
            while len(ahead) > _AHEAD_BATCHES or (ahead_bytes > _AHEAD_BYTES and len(ahead) > 1):
                done = ahead.popleft()
                ahead_bytes -= done.size_bytes
                yield from done.result.result()
        while ahead:
            yield from ahead.popleft().result.result()

    def store(self, content: bytes, suffix: Suffix, *, is_packed: bool = True) -> ContentHash:
        """Stage one object, unless it is there; blocks."""
        stored = zlib.compress(content) if is_packed else content
        name = ContentHash.of(self._options.algorithm, stored, suffix)
        with self._lock:
            if name in self._staged:
                return name
            self._staged[name] = None  # ours to write; whoever comes next need not
        if self._store.has(name):
            with self._lock:
                del self._staged[name]
            return name
        commit = self._store.staged(name, stored)
        with self._lock:
            self._staged[name] = commit
            self.new_objects += 1
            self.new_bytes += len(stored)
        return name

    def whole(self, content: bytes) -> Stored:
        """Stage a file's content as one object; blocks."""
        options = self._options
        name = self.store(content, Suffix.NONE, is_packed=options.is_packed)
        return Stored(len(content), name, (), options.is_packed, options.algorithm)

    def settle(self) -> None:
        """Make everything stored so far visible, and durable before that."""
        commits = [commit for commit in self._staged.values() if commit is not None]
        if commits:
            self._store.reveal_all(commits)
        self._staged = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._threads.shutdown(cancel_futures=True)
        for commit in self._staged.values():
            if commit is not None:
                commit.discard()

    # --- batches ----------------------------------------------------------------------------------

    def _batches(self, entries: Iterable[SourceEntry]) -> Iterator[_Ahead]:
        """Small files together, so that a thread has something to do; streams at once."""
        batch: list[SourceEntry] = []
        size_bytes = 0
        for entry in entries:
            if entry.stream is not None:
                if batch:
                    yield self._start(batch, size_bytes)
                    batch, size_bytes = [], 0
                yield self._start_stream(entry, entry.stream)
            else:
                batch.append(entry)
                size_bytes += entry.size_bytes
            if len(batch) >= _BATCH_ENTRIES or size_bytes >= _BATCH_BYTES:
                yield self._start(batch, size_bytes)
                batch, size_bytes = [], 0
            if len(self._staged) >= _SETTLE_AFTER:
                self._settle_early()
        if batch:
            yield self._start(batch, size_bytes)

    def _settle_early(self) -> None:
        """Bound what is staged; objects that no catalog names yet harm nobody."""
        with self._lock:
            done = {name: each for name, each in self._staged.items() if each is not None}
        self._store.reveal_all(done.values())
        with self._lock:
            for name in done:
                del self._staged[name]

    def _start(self, batch: list[SourceEntry], size_bytes: int) -> _Ahead:
        # A worker holds no more of a large file than a chunk of it.
        weight = min(size_bytes, 2 * self._options.sizes.largest)
        return _Ahead(self._threads.submit(self._pack_batch, batch), weight)

    def _pack_batch(self, batch: list[SourceEntry]) -> list[Packed]:
        return [(entry, self._pack_file(entry)) for entry in batch]

    def _pack_file(self, entry: SourceEntry) -> Stored | None:
        if entry.content is None:
            return None
        try:
            with entry.content() as file:
                return self._pack_content(file)
        except OSError as error:
            raise ConfigError([f"{error.filename!r}: {error.strerror}"]) from error

    def _pack_content(self, file: IO[bytes]) -> Stored:
        pieces = chunks(file, self._options.sizes)
        first = next(pieces)
        second = next(pieces, None)
        if second is None:
            return self.whole(first)
        stored: list[Chunk] = []
        for piece in chain((first, second), pieces):
            stored.append(self._piece(piece, _end(stored)))
        return self._in_chunks(stored)

    def _start_stream(self, entry: SourceEntry, stream: Readable) -> _Ahead:
        """Read it here, chunk by chunk, and let the threads do the rest."""
        pieces = chunks(stream, self._options.sizes)
        first = next(pieces)
        second = next(pieces, None)
        if second is None:
            return _Ahead(self._threads.submit(self._pack_alone, entry, first), len(first))
        under_way: deque[Future[Chunk]] = deque()
        done: list[Chunk] = []
        offset = 0
        for piece in chain((first, second), pieces):
            under_way.append(self._threads.submit(self._piece, piece, offset))
            offset += len(piece)
            if len(under_way) > 2 * (os.cpu_count() or 1):
                done.append(under_way.popleft().result())
        done.extend(each.result() for each in under_way)
        result: Future[list[Packed]] = Future()
        result.set_result([(entry, self._in_chunks(done))])
        return _Ahead(result, 0)

    def _pack_alone(self, entry: SourceEntry, content: bytes) -> list[Packed]:
        return [(entry, self.whole(content))]

    # --- objects ----------------------------------------------------------------------------------

    def _piece(self, content: bytes, offset: int) -> Chunk:
        name = self.store(content, Suffix.PARTIAL, is_packed=self._options.is_packed)
        return Chunk(offset, len(content), name)

    def _in_chunks(self, pieces: list[Chunk]) -> Stored:
        options = self._options
        return Stored(_end(pieces), None, tuple(pieces), options.is_packed, options.algorithm)


def _end(pieces: list[Chunk]) -> int:
    return pieces[-1].offset + pieces[-1].size_bytes if pieces else 0
