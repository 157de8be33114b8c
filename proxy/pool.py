"""Connections to one upstream, kept open between requests."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, Protocol
from urllib.parse import urlsplit

from mirror.errors import Unavailable, UpstreamError
from mirror.upstream.connection import Connection, Exchange, receiving_buffer
from mirror.upstream.lean import Server

_MOST_QUEUED: Final = 10_000


class Sent(Exchange, Protocol):
    """An exchange that wants to know on which connection it goes."""

    def sent(self, connection: Connection) -> None:
        """It is on its way."""


class Pool:
    """Sends exchanges, each alone on its connection: nobody waits behind a large answer."""

    def __init__(self, server: Server, most: int) -> None:
        """Nothing is open yet; ``most`` connections at once."""
        self._server = server
        self._most = most
        self._buffer = receiving_buffer()
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._queue: deque[Sent] = deque()
        self._opening = 0
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._head, self._tail = server.heads()

    @property
    def base_url(self) -> str:
        """Of the upstream."""
        return self._server.base_url

    @property
    def origin(self) -> str:
        """The server alone, ``http://host:port``."""
        parts = urlsplit(self._server.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    def url(self, path: str) -> str:
        """Of something there."""
        return self._server.url(path)

    def head(self, path: str, more: str = "") -> bytes:
        """A request, as it is sent; ``more`` are further headers, each with its line end."""
        return f"{self._head}{path}{self._tail}{more}\r\n".encode("ascii")

    @property
    def under_way(self) -> int:
        """Requests that wait for an answer, or to be sent."""
        return len(self._all) - len(self._idle) + len(self._queue)

    def send(self, exchange: Sent) -> None:
        """Send it as soon as there is a connection; it hears of whatever goes wrong."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                self._send(exchange, connection)
                return
        if self._is_closed or len(self._queue) >= _MOST_QUEUED:
            reason = "it is asked no more" if self._is_closed else "too many requests wait for it"
            exchange.failed(Unavailable(f"{self.base_url}: {reason}"))
            return
        self._queue.append(exchange)
        self._make_way()

    def send_again(self, exchange: Sent) -> None:
        """Send one that a connection which had been idle has dropped; not by another such."""
        for connection in list(self._idle):
            connection.close()  # its server has begun to close them
        if self._is_closed:
            self.send(exchange)
            return
        self._queue.appendleft(exchange)
        self._make_way()

    def withdraw(self, exchange: Sent) -> bool:
        """Take one back that was not sent yet; whether that was so."""
        if exchange in self._queue:
            self._queue.remove(exchange)
            return True
        return False

    def close(self) -> None:
        """Close all connections; what is under way fails."""
        self._is_closed = True
        for task in self._tasks:
            task.cancel()
        waiting, self._queue = self._queue, deque()
        for exchange in waiting:
            exchange.failed(Unavailable(f"{self.base_url}: it is asked no more"))
        for connection in list(self._all):
            connection.close()

    @staticmethod
    def _send(exchange: Sent, connection: Connection) -> None:
        exchange.sent(connection)
        connection.send([exchange])

    def _make_way(self) -> None:
        """Open a connection for each that waits, as far as there may be so many."""
        while self._opening < len(self._queue) and len(self._all) + self._opening < self._most:
            self._opening += 1
            task = asyncio.get_running_loop().create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _connection(self) -> Connection:
        return Connection(self._server.options, self._changed, self._buffer)

    async def _open(self) -> None:
        connection = self._connection()
        try:
            await self._server.connect(connection)
        except UpstreamError as error:
            self._opening -= 1
            self._nobody_answers(error)
            return
        except BaseException:
            self._opening -= 1
            raise
        self._opening -= 1
        self._all.add(connection)
        self._changed(connection)

    def _nobody_answers(self, error: UpstreamError) -> None:
        """One who waits hears of it, or all where nothing else is open that could answer."""
        is_nobody_left = not (self._all or self._opening)
        waiting = [
            self._queue.popleft()
            for _ in range(len(self._queue) if is_nobody_left else 1)
            if self._queue
        ]
        for exchange in waiting:
            exchange.failed(error)

    def _changed(self, connection: Connection) -> None:
        if not connection.is_open:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._make_way()
        elif not connection.outstanding and connection not in self._idle:
            if self._queue:
                self._send(self._queue.popleft(), connection)
            else:
                self._idle.append(connection)
