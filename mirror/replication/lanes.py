"""Several processes that fetch small objects, since one core is not enough for it (`lane`).

A lane only ever helps: what it cannot bring, and everything it had in hand when it died, comes back
as an error, and is fetched the careful way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from mirror.cvmfs.content_hash import ContentHash
from mirror.errors import Corrupted, NotFound, UpstreamError
from mirror.priority import Manners
from mirror.replication.lane_options import MAX_MESSAGE_BYTES, LaneOptions, pack
from mirror.store.threads import in_thread

PART_OBJECTS: Final = 64
"""Objects in one message: few enough to spread a catalog's objects over all lanes."""


_PATIENCE_S: Final = 30.0
"""With a lane that is to stop, and whose disk may be slow."""


class NotByLane(UpstreamError):
    """A lane did not bring it; the careful way may."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A small object to fetch: its name, and how many bytes it may have as stored."""

    content_hash: ContentHash
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """What became of objects that were ordered together.

    Attributes:
        wanted: which.
        sizes: as stored, of those that are staged; None for the others.
        errors: why not, of the others.
        lane: which has staged them; None if it has ended.
        number: how that lane calls this part.
    """

    wanted: Sequence[Wanted]
    sizes: Sequence[int | None]
    errors: Mapping[ContentHash, UpstreamError]
    lane: _LaneHandle | None
    number: int

    @property
    def count(self) -> int:
        """How many are staged."""
        return len(self.wanted) - len(self.errors)


class LanePool:
    """So many lanes for all replicas; use as a context manager. They are started when needed."""

    def __init__(self, count: int, manners: Manners | None = None) -> None:
        """Prepare so many processes, which give way more than we do, if it is said how much."""
        self._count = count
        self._manners = manners or Manners()
        self._lanes: list[_LaneHandle] = []
        self._starting: asyncio.Task[None] | None = None
        self._replicas = itertools.count(1)

    def start(self) -> None:
        """Start the processes, unless they were; returns at once."""
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())

    def number(self) -> int:
        """For one more replica."""
        return next(self._replicas)

    async def idlest(self) -> _LaneHandle | None:
        """The lane with the least to do; None if none is alive."""
        self.start()
        if self._starting is not None:
            await asyncio.shield(self._starting)
        alive = [lane for lane in self._lanes if lane.is_alive]
        return min(alive, key=lambda each: each.outstanding, default=None)

    async def close(self, replica: int) -> None:
        """Nothing more for this one."""
        await asyncio.gather(*(lane.close(replica) for lane in self._lanes))

    async def _start(self) -> None:
        starts = [self._start_one() for _ in range(self._count)]
        for error in await asyncio.gather(*starts, return_exceptions=True):
            if error is not None and not isinstance(error, OSError):
                raise error  # an OSError means: no more processes, or descriptors

    async def _start_one(self) -> None:
        self._lanes.append(await _LaneHandle.start(self._manners))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            await asyncio.gather(*(lane.end() for lane in self._lanes))


class Lanes:
    """The lanes of a pool, as one replica uses them; use as a context manager."""

    def __init__(self, pool: LanePool, options: LaneOptions) -> None:
        """Prepare.

        Args:
            pool: the processes.
            options: what they do; their prefix tells their temporaries from others'.
        """
        self._pool = pool
        self._options = options
        self._number = pool.number()

    def start(self) -> None:
        """There will be work: get ready meanwhile."""
        self._pool.start()

    async def fetch(self, wanted: Sequence[Wanted], source: int = 0) -> Part:
        """Fetch some objects, not many more than `PART_OBJECTS`; nothing is visible yet.

        Cancelled, what was not asked for yet never will be.
        """
        lane = await self._pool.idlest()
        if lane is None:
            return _lost(wanted, "no lane is alive")
        objects = [
            (each.content_hash.text, each.content_hash.suffix, each.max_bytes) for each in wanted
        ]
        reply = await self._ask(lane, do="fetch", source=source, objects=objects)
        if reply is None:
            return _lost(wanted, "its lane has ended")
        errors = {
            wanted[position].content_hash: _error(kind, text)
            for position, kind, text in reply["errors"]
        }
        return Part(wanted, reply["sizes"], errors, lane, reply["id"])

    async def reveal(self, part: Part) -> bool:
        """Give staged objects their names; False if it could not be done."""
        if part.lane is None:
            return False
        reply = await self._ask(part.lane, do="reveal", part=part.number)
        return reply is not None and reply["error"] is None

    def drop(self, part: Part) -> None:
        """Forget what is staged."""
        if part.lane is not None:
            part.lane.drop(part.number, self._number)

    async def look(self, hashes: Sequence[ContentHash]) -> set[ContentHash] | None:
        """Those that are in the store; None if nobody looked."""
        lane = await self._pool.idlest()
        if lane is None:
            return None
        objects = [(each.text, each.suffix) for each in hashes]
        reply = await self._ask(lane, do="look", objects=objects)
        present = reply["present"] if reply is not None else None
        if present is None:
            return None
        return {each for each, is_there in zip(hashes, present, strict=True) if is_there}

    async def _ask(self, lane: _LaneHandle, **message: object) -> dict[str, Any] | None:
        lane.open(self._number, self._options)
        return await lane.ask(at=self._number, **message)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._pool.close(self._number)
        finally:
            await in_thread(self._options.staging.sweep)


def _lost(wanted: Sequence[Wanted], why: str) -> Part:
    error = NotByLane(why)
    errors = {each.content_hash: error for each in wanted}
    return Part(wanted, [None] * len(wanted), errors, None, 0)


def _error(kind: str, text: str) -> UpstreamError:
    """What says something about the source; a careful fetch finds out everything else."""
    kinds: dict[str, type[UpstreamError]] = {"Corrupted": Corrupted, "NotFound": NotFound}
    return kinds.get(kind, NotByLane)(text)


class _LaneHandle:
    """One process, seen from its parent."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._open: set[int] = set()
        self._waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self.is_alive = True
        self._listening = asyncio.get_running_loop().create_task(self._listen())

    @classmethod
    async def start(cls, manners: Manners) -> _LaneHandle:
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-m", "mirror.replication.lane_process"),
                    *(str(theirs.fileno()), manners.io_priority, str(manners.nice)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is for us, and we end them
                )
            except BaseException:
                writer.close()
                raise
        return cls(process, reader, writer)

    @property
    def outstanding(self) -> int:
        return len(self._waiting)

    async def ask(self, **message: object) -> dict[str, Any] | None:
        """Send a message and wait for the answer; None if there will be none."""
        if not self.is_alive:
            return None
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send(id=number, **message)
        try:
            return await answer
        except asyncio.CancelledError:
            if message["do"] == "fetch":  # a dropped part is never answered for
                self._waiting.pop(number, None)
                self.drop(number, message["at"])
            raise

    def drop(self, part: int, replica: object) -> None:
        """Nobody waits for this one, or for what is staged of it."""
        if replica in self._open:
            self._send(do="drop", at=replica, part=part)

    def open(self, replica: int, options: LaneOptions) -> None:
        """Get ready for a replica, unless that was done."""
        if replica not in self._open:
            self._open.add(replica)
            self._send(do="open", at=replica, **pack(options))

    async def close(self, replica: int) -> None:
        """Nothing more for this one; what is under way for it is dropped."""
        if replica in self._open:
            self._open.remove(replica)
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await self.ask(do="close", at=replica)
            except TimeoutError:
                self._kill()  # or what it does would go on behind our back

    def _send(self, **message: object) -> None:
        if self.is_alive:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def end(self) -> None:
        """End the process; what it is still at has no name, and is of no use to anybody."""
        self._kill()
        self._writer.close()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._process.wait()

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _listen(self) -> None:
        try:
            while message := await self._reader.readline():
                reply: dict[str, Any] = json.loads(message)
                self._settle(reply["id"], reply)
        except (OSError, ValueError):
            pass  # it died in the middle of a message
        finally:
            self.is_alive = False
            for number in list(self._waiting):
                self._settle(number, None)

    def _settle(self, number: int, reply: dict[str, Any] | None) -> None:
        answer = self._waiting.pop(number, None)  # None: it was dropped as it was answered
        if answer is not None and not answer.done():
            answer.set_result(reply)
