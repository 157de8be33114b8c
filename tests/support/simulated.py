"""A Stratum 0 without a network: it implements `Upstream`, and remembers what it was asked for.

stratum0 = SimulatedStratum0(repository.files)
stratum0.faults["data/ab/cdef…"] = once(corrupted)   # see `tests.support.faults`
stratum0.paths                                       # what was asked for, in order

Pieces come one by one, with a turn of the loop before each, so that much is under way at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from mirror.errors import NotFound, TooLarge
from mirror.upstream.base import Body, Consume, Request, T
from tests.support.faults import Fault

_PIECE_BYTES: Final = 16 * 1024


class SimulatedStratum0:
    """One repository at a server in memory.

    Attributes:
        source: as `Upstream.source`.
        files: path below the repository → bytes.
        faults: path → what becomes of its body on the way; also for paths that are not there.
        fault: the same for all other paths; None for nothing.
        requests: what was asked for, in order.
        under_way: requests not answered yet.
        most_under_way: the most there were at one time.
    """

    def __init__(self, files: Mapping[str, bytes], source: str = "simulated://stratum0") -> None:
        self.source = source
        self.files = files
        self.faults: dict[str, Fault] = {}
        self.fault: Fault | None = None
        self.requests: list[Request] = []
        self.under_way = 0
        self.most_under_way = 0

    @property
    def paths(self) -> list[str]:
        """The paths asked for, in order."""
        return [request.path for request in self.requests]

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """As `Upstream.fetch`."""
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            return await consume(_within(request, self._body(request.path)))
        finally:
            self.under_way -= 1

    def _body(self, path: str) -> Body:
        fault = self.faults.get(path, self.fault)
        content = self.files.get(path)
        if fault is not None:
            return fault(_pieces(content or b""))
        if content is None:
            raise NotFound(f"{path}: the server answered 404")
        return _pieces(content)


async def _pieces(content: bytes) -> Body:
    for start in range(0, len(content), _PIECE_BYTES):
        await asyncio.sleep(0)
        yield content[start : start + _PIECE_BYTES]


async def _within(request: Request, body: Body) -> Body:
    received = 0
    async for piece in body:
        received += len(piece)
        if received > request.max_bytes:
            raise TooLarge(f"{request.path}: more than {request.max_bytes} bytes came")
        yield piece
