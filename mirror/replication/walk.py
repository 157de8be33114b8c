"""The tree of catalogs as one pipeline: catalogs and objects of all of them in flight together.

A few readers take catalogs from the graph, deepest first, open them and hand out what they refer
to; objects are delivered by tasks of their own, bounded in number; whoever settles the last thing a
catalog waits for sends it to be completed. What each of these steps does is the visitor's affair:
fetching for a snapshot, counting for a dry run, looking for a check.

An object that several catalogs want is claimed by the first and delivered once. The claim comes
before the look whether it is there, so two catalogs can never both find it missing. One that failed
is not tried again for the next catalog that wants it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from mirror.cvmfs.catalog import NestedRef, ObjectRef
from mirror.cvmfs.content_hash import ContentHash
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import object_path
from mirror.errors import Failure, FormatError, MirrorError, StoreError
from mirror.replication.graph import CatalogGraph, CatalogRef, Node
from mirror.replication.room import Room
from mirror.store.threads import in_thread

C = TypeVar("C", bound="OpenCatalog")

_BATCH: Final = 256
"""Objects looked at in one go; bounds memory, and the hops between threads."""
_LEAST_ROOM: Final = 8
"""What a batch takes up however few objects it has: their catalog waits in memory with them."""
_REMEMBERED: Final = 100_000
"""Objects known to have failed; beyond that many, memory matters more than a request too many."""


class OpenCatalog(Protocol):
    """A catalog being read; what the visitor needs to complete it later stays with it."""

    @property
    def nested(self) -> Sequence[NestedRef]:
        """What is nested in it."""

    @property
    def predecessor(self) -> ContentHash | None:
        """The root before it, if that is wanted too."""

    @property
    def is_small(self) -> bool:
        """Whether all of it is in memory, and so little that a thread is not worth its while."""

    def objects(self) -> Iterator[ObjectRef]:
        """What it refers to; reading blocks, unless it is small."""

    def close(self) -> None:
        """Nothing will be read any more; harmless when repeated."""


class Visitor(Protocol[C]):
    """What a walk does at each step. Errors it raises count against the catalog concerned."""

    async def open_catalog(self, ref: CatalogRef) -> C | None:
        """Open a catalog; None if nothing below it needs to be visited."""

    async def missing(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Those of the objects that must be delivered."""

    async def deliver_in_bulk(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """See to as many of these as can be had together; returns those that are left."""

    async def deliver_elsewhere(self, refs: Sequence[ObjectRef]) -> Sequence[ObjectRef]:
        """Likewise with what is left, in another way; the others do not wait for it."""

    async def deliver(self, ref: ObjectRef) -> None:
        """See to one object."""

    async def complete(self, ref: CatalogRef, catalog: C) -> None:
        """Everything below is done."""

    async def abandon(self, ref: CatalogRef, catalog: C) -> None:
        """Something below is not: forget this catalog."""

    def report(self, failure: Failure) -> None:
        """Hear of an object or catalog that could not be had."""


@dataclass(frozen=True, slots=True)
class Breadth:
    """How much is under way at once.

    Attributes:
        readers: catalogs being opened and read.
        bulk: objects being delivered in bulk.
        deliveries: objects being delivered one by one, those that wait for their commit included.
    """

    readers: int = 64
    bulk: int = 2048
    deliveries: int = 512


class Walk(Generic[C]):
    """One pass over the trees below some roots; see the module's text."""

    def __init__(self, visitor: Visitor[C], limits: Limits, breadth: Breadth | None = None) -> None:
        """Prepare; nothing happens until `run`."""
        self._visitor = visitor
        self._limits = limits
        self._breadth = breadth or Breadth()
        self._graph: CatalogGraph[C] = CatalogGraph()
        self._claims: dict[ContentHash, list[Node[C]]] = {}
        """Objects on their way, and the catalogs that wait for each."""
        self._failed: set[ContentHash] = set()
        self._bulk = Room(self._breadth.bulk)
        self._elsewhere = Room(self._breadth.bulk)
        self._slots = asyncio.Semaphore(self._breadth.deliveries)
        self._changed = asyncio.Event()
        self._busy = 0
        self._is_stuck = False

    async def run(self, roots: Iterable[CatalogRef]) -> None:
        """Walk until everything wanted is settled.

        Raises:
            StoreError: our own disk failed, so there is no point in going on.
        """
        for root in roots:
            self._graph.want(root)
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._breadth.readers):
                    tasks.create_task(self._read_catalogs(tasks))
        except BaseExceptionGroup as group:
            raise _first(group) from group
        finally:
            async with AsyncExitStack() as ends:  # each of them, whatever others raise
                for node in self._graph.open_nodes():
                    if node.content is not None:
                        node.content.close()
                        ends.push_async_callback(self._visitor.abandon, node.ref, node.content)

    # --- reading ----------------------------------------------------------------------------------

    async def _read_catalogs(self, tasks: asyncio.TaskGroup) -> None:
        while not (self._graph.is_settled or self._is_stuck):
            node = self._graph.next_unread()
            if node is not None:
                self._busy += 1
                await self._read(node, tasks)
                self._busy -= 1
                self._tell_readers()
            elif self._busy:
                self._changed.clear()
                await self._changed.wait()
            else:
                self._give_up_cycles()

    async def _read(self, node: Node[C], tasks: asyncio.TaskGroup) -> None:
        """Open one catalog, and set everything it refers to on its way."""
        try:
            if node.ref.depth > self._limits.depth:
                raise FormatError(f"catalogs are nested more than {self._limits.depth} deep")
            catalog = node.content = await self._visitor.open_catalog(node.ref)
            if catalog is not None:
                try:
                    self._want_catalogs(node, catalog)
                    await self._want_objects(node, catalog, tasks)
                finally:
                    catalog.close()
        except StoreError:
            raise
        except MirrorError as error:
            self._fail(node, node.ref.hash, error)
        self._release(node, tasks)

    def _want_catalogs(self, node: Node[C], catalog: C) -> None:
        ref = node.ref
        if catalog.predecessor is not None:
            self._graph.want(ref.before(catalog.predecessor), node)
        for nested in catalog.nested:
            self._graph.want(ref.below(nested), node)
        self._tell_readers()

    async def _want_objects(self, node: Node[C], catalog: C, tasks: asyncio.TaskGroup) -> None:
        objects = catalog.objects()

        def read() -> list[ObjectRef]:
            return list(islice(objects, _BATCH))

        while batch := read() if catalog.is_small else await in_thread(read):
            claimed = self._claim(node, batch)
            if not claimed:
                continue
            missing = await self._visitor.missing(list(claimed.values()))
            for ref in missing:
                del claimed[ref.hash]
            for content_hash in claimed:
                self._settle_object(content_hash, None, tasks)
            if missing:
                await self._bulk.enter(max(_LEAST_ROOM, len(missing)))
                self._busy += 1
                tasks.create_task(self._deliver_batch(missing, tasks))

    def _claim(self, node: Node[C], batch: Iterable[ObjectRef]) -> dict[ContentHash, ObjectRef]:
        """Take what nobody is seeing to yet; wait for the rest with whoever is."""
        claimed = {}
        for ref in batch:
            if ref.hash in self._failed:
                node.is_doomed = True
                continue
            waiting = self._claims.get(ref.hash)
            if waiting is None:
                self._claims[ref.hash] = [node]
                claimed[ref.hash] = ref
            elif waiting[-1] is node:
                continue  # the same file twice in one catalog
            else:
                waiting.append(node)
            node.waits_for += 1
        return claimed

    # --- settling ---------------------------------------------------------------------------------

    async def _deliver_batch(self, refs: Sequence[ObjectRef], tasks: asyncio.TaskGroup) -> None:
        try:
            left = await self._visitor.deliver_in_bulk(refs)
            self._settle_all_but(left, refs, tasks)
            if left:
                await self._elsewhere.enter(len(left))
        finally:
            self._bulk.leave(max(_LEAST_ROOM, len(refs)))
        if left:
            await self._deliver_left(left, tasks)
        self._busy -= 1
        self._tell_readers()

    async def _deliver_left(self, refs: Sequence[ObjectRef], tasks: asyncio.TaskGroup) -> None:
        """Once more together, without keeping others from their first turn; then one by one."""
        try:
            left = await self._visitor.deliver_elsewhere(refs)
            self._settle_all_but(left, refs, tasks)
            for ref in left:
                await self._slots.acquire()
                self._busy += 1
                tasks.create_task(self._deliver(ref, tasks))
        finally:
            self._elsewhere.leave(len(refs))

    def _settle_all_but(
        self, left: Sequence[ObjectRef], refs: Sequence[ObjectRef], tasks: asyncio.TaskGroup
    ) -> None:
        is_left = {ref.hash for ref in left}
        for ref in refs:
            if ref.hash not in is_left:
                self._settle_object(ref.hash, None, tasks)

    async def _deliver(self, ref: ObjectRef, tasks: asyncio.TaskGroup) -> None:
        error = None
        try:
            await self._visitor.deliver(ref)
        except StoreError:
            raise
        except MirrorError as caught:
            error = caught
        finally:
            self._slots.release()
        self._settle_object(ref.hash, error, tasks)
        self._busy -= 1
        self._tell_readers()

    def _settle_object(
        self, content_hash: ContentHash, error: MirrorError | None, tasks: asyncio.TaskGroup
    ) -> None:
        nodes = self._claims.pop(content_hash)
        if error is not None:
            self._fail(nodes[0], content_hash, error)
            if len(self._failed) < _REMEMBERED:
                self._failed.add(content_hash)
        for node in nodes:
            node.is_doomed |= error is not None
            self._release(node, tasks)

    def _fail(self, node: Node[C], content_hash: ContentHash, error: MirrorError) -> None:
        node.is_doomed = True
        self._visitor.report(Failure(object_path(content_hash), node.ref.place, error))

    def _release(self, node: Node[C], tasks: asyncio.TaskGroup) -> None:
        """One thing less to wait for; the last one sends the catalog to be completed."""
        node.waits_for -= 1
        if node.waits_for == 0:
            self._send(node, tasks)

    def _send(self, node: Node[C], tasks: asyncio.TaskGroup) -> None:
        self._busy += 1
        tasks.create_task(self._finish(node, tasks))

    async def _finish(self, node: Node[C], tasks: asyncio.TaskGroup) -> None:
        if node.content is not None:
            finish = self._visitor.abandon if node.is_doomed else self._visitor.complete
            await finish(node.ref, node.content)
            node.content = None
        for waiter in self._graph.settle(node, is_good=not node.is_doomed):
            self._send(waiter, tasks)
        self._busy -= 1
        self._tell_readers()

    def _tell_readers(self) -> None:
        """Wake them if there is something to read, nothing more to wait for, or a cycle."""
        if self._graph.has_unread or self._graph.is_settled or not self._busy:
            self._changed.set()

    def _give_up_cycles(self) -> None:
        """Catalogs that are open while nothing is under way wait for each other.

        Content hashes make that practically impossible, and a signed catalog is still not to be
        trusted with our patience.
        """
        self._is_stuck = True
        for node in self._graph.open_nodes():
            error = FormatError("this catalog is nested, by way of others, in itself")
            self._fail(node, node.ref.hash, error)
        self._changed.set()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first real error of a group; a walk is ended by one, the others are its echo."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
