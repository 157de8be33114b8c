"""Connections to a sibling: those of an upstream, but over a socket of this host."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mirror.errors import TooSlow, Unavailable
from mirror.upstream.answers import stalled
from mirror.upstream.connection import Connection
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.pool import Pool
from proxy.siblings.words import HEARD, Said

_BASE_URL: Final = "http://sibling/cvmfs"


class SiblingConnection(Connection):
    """One that hears what siblings say of their answers.

    Attributes:
        said: of the last one.
    """

    def __init__(
        self, options: HttpOptions, on_change: Callable[[Connection], None], buffer: memoryview
    ) -> None:
        super().__init__(options, on_change, buffer)
        self.said: Said = {}

    def on_message_begin(self) -> None:
        """As `Connection.on_message_begin`."""
        self.said = {}
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """As `Connection.on_header`."""
        if (lowered := name.lower()) in HEARD:
            self.said[lowered] = value
        super().on_header(name, value)


class _Socket(Server):
    """A `Server` that is found by the path of its socket, which is in place of a host."""

    async def connect(self, connection: Connection) -> None:
        """As `Server.connect`."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.options.timeout_s):
                await loop.create_unix_connection(lambda: connection, self.host)
        except TimeoutError as error:
            raise TooSlow(stalled(self.base_url, self.options.timeout_s)) from error
        except OSError as error:
            raise Unavailable(f"{self.base_url}: nobody there: {error.strerror}") from error
        if not connection.is_open:
            raise Unavailable(f"{self.base_url}: the connection was closed at once")


class SiblingPool(Pool):
    """Connections to one sibling."""

    def __init__(self, path: str, options: HttpOptions) -> None:
        """Of the one whose socket is there, or will be."""
        super().__init__(_Socket(_BASE_URL, path, 0, options, None), options.max_connections)

    def _connection(self) -> Connection:
        return SiblingConnection(self._server.options, self._changed, self._buffer)
