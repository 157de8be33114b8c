"""Contents → stored objects, compressed and hashed on all processors.

`Packer` does the work: in this process as long as there is little of it, else in `Workers`, since
threads would wait for Python's lock. Here is the account: which objects are staged, how many are
new. `Packing.settle` syncs once and then gives all of them their names: a publication that was
killed leaves nothing half written, and catalogs can follow.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from types import TracebackType
from typing import Final, Self

from mirror.cvmfs.content_hash import ContentHash, Suffix
from mirror.cvmfs.limits import KIB, MIB
from mirror.store.local import LocalStore
from mirror.store.staging import Staged
from mirror.stratum0.chunking import chunks
from mirror.stratum0.entry import Chunk, Stored
from mirror.stratum0.packer import Content, Cut, Packer, PackingOptions, Part
from mirror.stratum0.source import SourceEntry
from mirror.stratum0.workers import Workers

Packed = tuple[SourceEntry, Stored | None]

_BATCH_ENTRIES: Final = 64
_BATCH_BYTES: Final = 4 * MIB
_FEW_BYTES: Final = 16 * MIB
"""One process packs these while others would start."""
_ENTRY_BYTES: Final = 4 * KIB
"""An entry costs as much as packing so many bytes, however small it is."""
_SETTLE_AFTER: Final = 4_000
"""Objects; more of them are more to remember, and fewer are more syncs."""


@dataclass(slots=True)
class _Batch:
    """Some entries, in the order of the source; or one, of whose pieces more may follow."""

    entries: list[SourceEntry] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    size_bytes: int = 0
    is_to_continue: bool = False

    def add(self, entry: SourceEntry, content: Content | None, size_bytes: int) -> None:
        self.entries.append(entry)
        if content is not None:
            self.contents.append(content)
            self.size_bytes += size_bytes

    @property
    def is_full(self) -> bool:
        return len(self.entries) >= _BATCH_ENTRIES or self.size_bytes >= _BATCH_BYTES

    @property
    def cost_bytes(self) -> int:
        return self.size_bytes + _ENTRY_BYTES * len(self.entries)

    def take_contents(self) -> list[Content]:
        """And forget them: they may be large, and somebody else has them now."""
        contents, self.contents = self.contents, []
        return contents


class Packing:
    """Takes contents, gives back what they became; use as a context manager.

    Attributes:
        new_objects: stored because they were not there.
        new_bytes: as stored.
    """

    def __init__(self, store: LocalStore, options: PackingOptions) -> None:
        self._options = options
        self._staging = store.staging()
        self._packer = Packer(self._staging, options)
        self._workers = Workers(self._packer.pack, _processors())
        self._staged: dict[str, Staged] = {}
        self._settling: dict[str, Staged] = {}
        self._settled = Future[None]()
        self._settled.set_result(None)
        self._settler = ThreadPoolExecutor(1, thread_name_prefix="settle")
        self._parts: list[Part] = []
        self.new_objects = 0
        self.new_bytes = 0

    def pack(self, entries: Iterable[SourceEntry]) -> Iterator[Packed]:
        """Each entry with what its content became, in their order; others pass through.

        Memory is bounded: a process holds a batch or two chunks, and few batches are under way.

        Raises:
            ConfigError: a content cannot be read.
            StoreFull, StoreUnavailable: it cannot be kept, or a worker was killed.
        """
        batches = self._batches(entries)
        first: deque[_Batch] = deque()
        cost_bytes = 0
        while cost_bytes <= _FEW_BYTES and (batch := next(batches, None)) is not None:
            first.append(batch)
            cost_bytes += batch.cost_bytes
        tasks = ((each, each.take_contents()) for each in chain(_drained(first), batches))
        if cost_bytes > _FEW_BYTES and _processors() > 1:
            results = self._workers.map(tasks)
        else:
            results = ((each, self._packer.pack(contents)) for each, contents in tasks)
        for done, found in results:
            yield from self._finish(done, found)
        self._workers.close()

    def store(self, content: bytes, suffix: Suffix, *, is_packed: bool = True) -> ContentHash:
        """Stage one object, unless it is there; blocks."""
        part = self._packer.stage(content, suffix, is_packed=is_packed)
        self._keep(part)
        return ContentHash(self._options.algorithm, part.digest, suffix)

    def whole(self, content: bytes) -> Stored:
        """Stage a file's content as one object; blocks."""
        options = self._options
        name = self.store(content, Suffix.NONE, is_packed=options.is_packed)
        return Stored(len(content), name, (), options.is_packed, options.algorithm)

    def settle(self) -> None:
        """Make everything stored so far visible, and durable before that.

        Raises:
            StoreFull, StoreUnavailable: not everything is.
        """
        if self._staged:
            self._begin_to_settle()
        self._settled.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._workers.close()
        self._settler.shutdown()
        self._staging.sweep()

    # --- batches ----------------------------------------------------------------------------------

    def _batches(self, entries: Iterable[SourceEntry]) -> Iterator[_Batch]:
        """Small files together, so that it is worth a process's while."""
        batch = _Batch()
        for entry in entries:
            if entry.stream is None:
                batch.add(entry, entry.content, entry.size_bytes)
            else:
                pieces = chunks(entry.stream, self._options.sizes)
                first, second = next(pieces), next(pieces, None)
                if second is None:
                    batch.add(entry, Cut(first, Suffix.NONE), len(first))
                else:
                    if batch.entries:
                        yield batch
                        batch = _Batch()
                    yield from _cut(entry, chain((first, second), pieces))
            if batch.is_full:
                yield batch
                batch = _Batch()
        if batch.entries:
            yield batch

    def _finish(self, batch: _Batch, found: Iterable[list[Part]]) -> Iterator[Packed]:
        results = iter(found)
        for entry in batch.entries:
            if entry.content is None and entry.stream is None:
                yield entry, None
                continue
            for part in next(results):
                self._keep(part)
                self._parts.append(part)
            if not batch.is_to_continue:
                parts, self._parts = self._parts, []
                yield entry, self._stored(parts)
        if len(self._staged) >= _SETTLE_AFTER:
            self._begin_to_settle()

    # --- the account ------------------------------------------------------------------------------

    def _begin_to_settle(self) -> None:
        """While the rest is packed; objects that no catalog names yet harm nobody."""
        self._settled.result()
        self._settling, self._staged = self._staged, {}
        self._settled = self._settler.submit(self._staging.reveal, self._settling.values())

    def _keep(self, part: Part) -> None:
        """Count it; unless two processes staged the same, one perhaps while the other's settled."""
        staged = part.staged
        if staged is None:
            return
        if staged.target in self._staged or staged.target in self._settling:
            self._staging.discard(staged)
            return
        self._staged[staged.target] = staged
        self.new_objects += 1
        self.new_bytes += staged.size_bytes

    def _stored(self, parts: list[Part]) -> Stored:
        algorithm, is_packed = self._options.algorithm, self._options.is_packed
        if len(parts) == 1:
            name = ContentHash(algorithm, parts[0].digest)
            return Stored(parts[0].size_bytes, name, (), is_packed, algorithm)
        pieces: list[Chunk] = []
        offset = 0
        for part in parts:
            name = ContentHash(algorithm, part.digest, Suffix.PARTIAL)
            pieces.append(Chunk(offset, part.size_bytes, name))
            offset += part.size_bytes
        return Stored(offset, None, tuple(pieces), is_packed, algorithm)


def _cut(entry: SourceEntry, pieces: Iterator[bytes]) -> Iterator[_Batch]:
    """A large content, each piece by itself."""
    piece = next(pieces)
    for following in pieces:
        yield _piece(entry, piece, is_last=False)
        piece = following
    yield _piece(entry, piece, is_last=True)


def _piece(entry: SourceEntry, piece: bytes, *, is_last: bool) -> _Batch:
    return _Batch([entry], [Cut(piece, Suffix.PARTIAL)], len(piece), is_to_continue=not is_last)


def _drained(batches: deque[_Batch]) -> Iterator[_Batch]:
    while batches:
        yield batches.popleft()


def _processors() -> int:
    return len(os.sched_getaffinity(0))
