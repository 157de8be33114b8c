"""Many small objects from one server: a few connections, kept full of requests.

`Upstream.fetch` costs a task and a future per object; here an object costs a place in a queue. What
comes is handed over whole, what does not come is handed back with the reason: whoever ordered it
asks again the careful way. There are no retries here but one: what a server drops unanswered when
it closes a connection goes to the next.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from mirror.errors import MirrorError, TooSlow, Unavailable, UpstreamError
from mirror.upstream.concurrency import AdaptiveLimit
from mirror.upstream.connection import Connection, Dropped, receiving_buffer
from mirror.upstream.lean import Server

_DEPTH: Final = 8
"""Requests on one connection. Fewer waste round trips; with more, one large answer makes many
small ones wait."""
_PROMPT_S: Final = 0.02
_PROMPT_ROUNDS: Final = 2.0
"""A server whose answers all take longer than this, and more round trips than these, is long at
work on each. Pipelined ones would wait for each other; those on connections of their own do not."""
_ATTEMPTS: Final = 3
"""By connections that brought nothing; others did more good than harm."""
_STRIKES: Final = 3
"""Connections that broke down under their first few requests, or wrong answers, until no more are
pipelined. Some servers close, or forget what came behind a request."""
_MANY: Final = 256
"""Pieces of a body, that are then put together: a server may send two bytes at a time."""


@dataclass(frozen=True, slots=True)
class Order:
    """One object that is wanted.

    Attributes:
        number: what the one who ordered calls it.
        path: below the repository's base URL.
        max_bytes: more than so many are `TooLarge`; all are held in memory.
    """

    number: int
    path: str
    max_bytes: int


class BulkClient:
    """Fetches orders from one server; `close` it in the end.

    Each order ends with exactly one call of ``deliver``: its number, and its body or an error.
    """

    def __init__(
        self,
        server: Server,
        limit: AdaptiveLimit,
        deliver: Callable[[int, bytes | MirrorError], None],
    ) -> None:
        """Prepare; nothing is sent until `submit`.

        Args:
            server: from where.
            limit: how many requests to have under way.
            deliver: takes what came, at once; must neither raise nor wait.
        """
        self._server = server
        self._start, self._tail = server.heads()
        self._limit = limit
        self._deliver = deliver
        self._buffer = receiving_buffer()
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Ordered] = deque()
        self._open: set[Connection] = set()
        self._opening = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._depth = 1  # until a server has kept a connection open, and answered promptly
        self._round_s = self._answer_s = math.inf  # the quickest ones: others waited for us, too
        self._strikes = 0
        self._is_liar = False
        self._wrong_until_liar = _STRIKES
        self._is_closed = False

    def submit(self, orders: Iterable[Order]) -> None:
        """Take orders; their bodies come by and by."""
        self._queue.extend(_Ordered(self, order) for order in orders)
        if self._is_closed:
            self._give_back(Unavailable(f"{self._server.base_url}: closed"))
        for connection in list(self._open):
            self._fill(connection)
        self._widen()

    def withdraw(self, numbers: Collection[int]) -> set[int]:
        """Take back orders; returns those that were not sent yet, and will not be delivered."""
        withdrawn = {each.number for each in self._queue if each.number in numbers}
        self._queue = deque(each for each in self._queue if each.number not in withdrawn)
        return withdrawn

    def suspect(self) -> None:
        """What was delivered last was wrong: it may be the answer to another request.

        If it goes on where nothing is pipelined any more, it was not that. The server lies, and may
        as well do it quickly.
        """
        if self._is_liar:
            return
        if self._strikes < _STRIKES:
            self._strike()
            if self._depth == 1:
                self._wrong_until_liar += len(self._open)  # each may have one that was pipelined
                for connection in [each for each in self._open if each.outstanding > 1]:
                    connection.close()
            return
        self._wrong_until_liar -= 1
        if not self._wrong_until_liar:
            self._is_liar = True
            self._strikes = 0

    def close(self) -> None:
        """Close all connections; what is under way is handed back as an error."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        for connection in list(self._open):
            connection.close()
        self._give_back(Unavailable(f"{self._server.base_url}: closed"))

    # --- what goes out ----------------------------------------------------------------------------

    def request(self, path: str) -> bytes:
        """The bytes of a request."""
        return f"{self._start}{path}{self._tail}\r\n".encode("ascii")

    def url(self, path: str) -> str:
        """For people."""
        return self._server.url(path)

    def _fill(self, connection: Connection) -> None:
        """Send as many requests on a connection as it and the limit have room for."""
        if not self._queue or not connection.is_open:
            return
        depth = self._depth
        if connection.outstanding > depth // 2:
            return  # several in one go, when more of them have been answered
        room = min(
            depth - connection.outstanding,
            self._limit.value - self._under_way,
            len(self._queue),
        )
        if room <= 0:
            return
        batch = [self._queue.popleft() for _ in range(room)]
        self._under_way += room
        connection.send(batch)

    def _widen(self) -> None:
        """Use, or open, connections until they can hold what the limit allows."""
        if self._is_closed or not self._queue or self._under_way >= self._limit.value:
            return
        for connection in [each for each in self._open if not each.outstanding]:
            self._fill(connection)
        if not self._queue:
            return
        wanted = min(self._limit.value, self._under_way + len(self._queue))
        connections = -(-wanted // self._depth)
        while len(self._open) + self._opening < connections:
            self._opening += 1
            task = self._loop.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        connection = Connection(self._server.options, self._changed, self._buffer)
        failure = None
        began_s = self._loop.time()
        try:
            await self._server.connect(connection)
            self._round_s = min(self._round_s, self._loop.time() - began_s)
        except UpstreamError as error:
            failure = error
        finally:
            self._opening -= 1
        if failure is None:
            self._open.add(connection)
            self._fill(connection)
            return
        self._limit.record(self._loop.time(), 0, is_failure=True)
        if not self._open and not self._opening:
            self._give_back(failure)

    def _give_back(self, error: UpstreamError) -> None:
        waiting, self._queue = self._queue, deque()
        for ordered in waiting:
            self._deliver(ordered.number, error)

    # --- what comes back --------------------------------------------------------------------------

    def _changed(self, connection: Connection) -> None:
        if not connection.is_open:
            self._open.discard(connection)
            self._judge(connection)
        elif connection.is_kept_alive and self._strikes < _STRIKES:
            self._answer_s = min(self._answer_s, connection.answer_s)
            is_prompt = self._answer_s <= max(_PROMPT_S, _PROMPT_ROUNDS * self._round_s)
            self._depth = _DEPTH if is_prompt else 1
        self._fill(connection)
        self._widen()

    def _judge(self, connection: Connection) -> None:
        """Pipeline no more where that is more than a server can take."""
        if self._strikes >= _STRIKES:
            return
        if connection.pipelined >= _DEPTH:
            self._strikes = 0
        elif connection.lost:
            self._strike()

    def _strike(self) -> None:
        self._strikes += 1
        if self._strikes == _STRIKES:
            self._depth = 1

    def settled(self, ordered: _Ordered, outcome: bytes | UpstreamError) -> None:
        """An answer has ended, or failed."""
        self._under_way -= 1
        if isinstance(outcome, Dropped) and (outcome.answered or ordered.may_try_again()):
            self._queue.append(ordered)
            return
        received_bytes = len(outcome) if isinstance(outcome, bytes) else 0
        self._limit.record(
            self._loop.time(),
            received_bytes,
            is_failure=isinstance(outcome, Unavailable | TooSlow),
            is_tight=bool(self._queue),
        )
        self._deliver(ordered.number, outcome)


class _Ordered:
    """An order as an `Exchange`."""

    __slots__ = ("_attempts", "_bulk", "_order", "_pieces")

    def __init__(self, bulk: BulkClient, order: Order) -> None:
        self._bulk = bulk
        self._order = order
        self._pieces: list[bytes] = []
        self._attempts = 1

    @property
    def number(self) -> int:
        return self._order.number

    @property
    def url(self) -> str:
        return self._bulk.url(self._order.path)

    @property
    def head(self) -> bytes:
        return self._bulk.request(self._order.path)

    @property
    def max_bytes(self) -> int:
        return self._order.max_bytes

    def began(self) -> None:
        self._pieces = []

    def received(self, piece: bytes) -> None:
        if len(self._pieces) == _MANY:
            self._pieces = [b"".join(self._pieces)]
        self._pieces.append(piece)

    def ended(self) -> None:
        pieces = self._pieces
        self._bulk.settled(self, pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def failed(self, error: UpstreamError) -> None:
        self._bulk.settled(self, error)

    def may_try_again(self) -> bool:
        """Whether a connection that was closed under it is no reason to give up yet."""
        self._attempts += 1
        return self._attempts <= _ATTEMPTS
