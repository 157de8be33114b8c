"""Decorator: what one source does goes on the scoreboard, and what it should not do is told."""

from __future__ import annotations

import asyncio

from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import Corrupted, NotFound, Unavailable, UpstreamError
from mirror.events import Emit, SourceLied, SourceRecovered, SourceSuspended
from mirror.upstream.base import Body, Consume, Request, T, Upstream
from mirror.upstream.scoring import Scoreboard
from mirror.upstream.track_record import Delivery, Fault


class Scored:
    """One of several sources, by its number on the board that they share."""

    def __init__(
        self, inner: Upstream, board: Scoreboard, index: int, fqrn: Fqrn, emit: Emit
    ) -> None:
        """Decorate ``inner``; what it waits for a turn of its own counts as latency, rightly."""
        self._inner = inner
        self._board = board
        self._index = index
        self._fqrn = fqrn
        self._emit = emit

    @property
    def source(self) -> str:
        """As the inner one."""
        return self._inner.source

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """Fetch, and take note of how it went."""
        stopwatch = _Stopwatch()
        self._board.begin(self._index)
        try:
            result = await self._inner.fetch(
                request, lambda body: consume(stopwatch.measured(body))
            )
        except UpstreamError as error:
            self._failed(request, error)
            raise
        except BaseException:
            self._board.release(self._index)
            raise
        now_s = _now_s()
        if self._board.record_success(self._index, now_s, stopwatch.delivery()):
            self._emit(SourceRecovered(self._fqrn, self.source))
        return result

    def lied(self, request: Request, error: Corrupted) -> None:
        """What came whole was found to be wrong."""
        self._emit(SourceLied(self._fqrn, self.source, request.path, str(error)))
        self._suspended(self._board.record_lie(self._index, _now_s()), "it delivered wrong bytes")

    def overtaken(self) -> None:
        """Another one answered first though it was asked later."""
        pause_s = self._board.record_straggler(self._index, _now_s())
        self._suspended(pause_s, "others answer before it again and again")

    def _failed(self, request: Request, error: UpstreamError) -> None:
        fault, reason, asked_s = Fault.FAILED, str(error), None
        if isinstance(error, NotFound):
            fault = Fault.LACKING
        elif isinstance(error, Corrupted):
            fault, reason = Fault.LIED, "it delivered wrong bytes"
            self._emit(SourceLied(self._fqrn, self.source, request.path, str(error)))
        elif isinstance(error, Unavailable):
            asked_s = error.retry_after_s
        pause_s = self._board.record_failure(self._index, _now_s(), fault, asked_s)
        self._suspended(pause_s, reason)

    def _suspended(self, pause_s: float | None, reason: str) -> None:
        if pause_s is not None:
            self._emit(SourceSuspended(self._fqrn, self.source, pause_s, reason))


class _Stopwatch:
    """Runs while it is the server's turn, and stands while the consumer is at work."""

    def __init__(self) -> None:
        self._asked_s = _now_s()
        self._latency_s = self._body_s = 0.0
        self._received_bytes = 0

    async def measured(self, body: Body) -> Body:
        """The body as it is; measuring begins anew with each attempt."""
        turn_s = _now_s()
        self._latency_s = turn_s - self._asked_s
        self._body_s, self._received_bytes = 0.0, 0
        async for piece in body:
            self._body_s += _now_s() - turn_s
            self._received_bytes += len(piece)
            yield piece
            turn_s = _now_s()
        self._body_s += _now_s() - turn_s

    def delivery(self) -> Delivery:
        """What was measured."""
        return Delivery(self._latency_s, self._body_s, self._received_bytes)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
