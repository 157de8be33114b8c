"""The quick HTTP client, `Upstream` over `Connection`: a fifth of what aiohttp costs per answer.

It does what a Stratum 0 or mirror needs, over TCP or TLS, directly or by way of a forward proxy;
see `can_do` for what is left to `mirror.upstream.http`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from ssl import SSLContext
from typing import Final
from urllib.parse import urlsplit

from mirror import __version__
from mirror.errors import ConfigError, TooSlow, Unavailable, UpstreamError, printable
from mirror.upstream.answers import stalled
from mirror.upstream.base import Body, Consume, Request, T
from mirror.upstream.connection import Connection, Dropped, receiving_buffer
from mirror.upstream.options import HttpOptions, tls_context

_PORTS: Final = {"http": 80, "https": 443}
_PAST_CACHES: Final = "Cache-Control: no-cache\r\nPragma: no-cache\r\n"
_BUFFER_BYTES: Final = 256 * 1024
"""More than this waits in the kernel, and then at the server, until our consumer has caught up."""
_HAPPY_EYEBALLS_S: Final = 0.25
"""Only for names, which may have several addresses: cancelled, asyncio's race leaves a socket to
the garbage collector."""


def can_do(base_url: str, options: HttpOptions) -> bool:
    """Whether this client knows how: no redirects, credentials, tunnels or international names."""
    parts = urlsplit(base_url)
    proxy = urlsplit(options.proxy or "")
    is_plain = base_url.isascii() and base_url.isprintable() and " " not in base_url
    is_tunnel = bool(options.proxy) and parts.scheme == "https"
    has_credentials = "@" in parts.netloc or "@" in proxy.netloc
    return is_plain and not (options.follow_redirects or is_tunnel or has_credentials)


@dataclass(frozen=True, slots=True)
class Server:
    """One server and how to ask it.

    Attributes:
        base_url: as far as the repository, without a slash at the end.
        host: to connect to: the server, or the proxy before it.
        port: likewise.
        options: time-outs and the like.
        tls: how its certificate is checked; None for plain HTTP.
    """

    base_url: str
    host: str
    port: int
    options: HttpOptions
    tls: SSLContext | None

    @classmethod
    def at(cls, base_url: str, options: HttpOptions) -> Server:
        """The server of a URL that `can_do` accepts.

        Raises:
            ConfigError: the CA bundle cannot be read, or the port is none.
        """
        parts = urlsplit(base_url.rstrip("/"))
        door = urlsplit(options.proxy) if options.proxy else parts
        try:
            port = door.port or _PORTS[door.scheme]
        except ValueError as error:
            raise ConfigError([f"{options.proxy or base_url}: {error}"]) from error
        tls = tls_context(options.ca_bundle) if parts.scheme == "https" else None
        return cls(base_url.rstrip("/"), door.hostname or "", port, options, tls)

    def url(self, path: str) -> str:
        """Of something in the repository."""
        return f"{self.base_url}/{path}"

    def heads(self) -> tuple[str, str]:
        """What stands before and behind a path in every request."""
        parts = urlsplit(self.base_url)
        target = self.base_url if self.options.proxy else parts.path
        host = parts.netloc
        agent = f"cvmfs-mirror/{__version__}"
        tail = (
            f" HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n"
            "Accept-Encoding: identity\r\n"
        )
        return f"GET {target}/", tail

    async def connect(self, connection: Connection) -> None:
        """Open a connection.

        Raises:
            Unavailable, TooSlow: nobody answers there.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.options.timeout_s):
                await loop.create_connection(
                    lambda: connection,
                    self.host,
                    self.port,
                    ssl=self.tls,
                    happy_eyeballs_delay=None if _is_address(self.host) else _HAPPY_EYEBALLS_S,
                )
        except TimeoutError as error:
            raise TooSlow(stalled(self.base_url, self.options.timeout_s)) from error
        except (OSError, UnicodeError) as error:  # the latter for names that cannot be one
            said = str(getattr(error, "strerror", None) or error) or type(error).__name__
            raise Unavailable(
                f"{self.base_url}: cannot connect to {self.host}:{self.port}: {printable(said)}"
            ) from error
        if not connection.is_open:
            raise Unavailable(f"{self.base_url}: the server closed the connection at once")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@asynccontextmanager
async def lean_upstream(base_url: str, options: HttpOptions) -> AsyncIterator[LeanUpstream]:
    """A client for one repository at one server; its connections are closed at the end.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    upstream = LeanUpstream(Server.at(base_url, options))
    try:
        yield upstream
    finally:
        upstream.close()


class LeanUpstream:
    """A repository below one base URL; see `Upstream` for the contract."""

    def __init__(self, server: Server) -> None:
        """Remember where; nothing is sent yet."""
        self._server = server
        self._start, self._tail = server.heads()
        self._buffer = receiving_buffer()
        self._idle: list[Connection] = []
        self._taken: set[Connection] = set()
        self._all: set[Connection] = set()

    @property
    def source(self) -> str:
        """The base URL."""
        return self._server.base_url

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """One attempt, and one more if the server had closed an idle connection meanwhile.

        Raises:
            NotFound, Refused, Unavailable, TooSlow, TooLarge: by what the server did.
        """
        delivery = await self._begin(request)
        try:
            return await consume(delivery.body())
        finally:
            self._leave(delivery)

    def close(self) -> None:
        """Close all connections."""
        for connection in list(self._all):
            connection.close()

    async def _begin(self, request: Request) -> _Delivery:
        while self._idle:
            with suppress(Dropped):
                return await self._send(request, self._idle.pop())
        connection = Connection(self._server.options, self._changed, self._buffer)
        await self._server.connect(connection)
        self._all.add(connection)
        try:
            return await self._send(request, connection)
        except Dropped as error:
            raise Unavailable(f"{self._server.url(request.path)}: {error}") from error

    async def _send(self, request: Request, connection: Connection) -> _Delivery:
        caches = _PAST_CACHES if request.is_fresh else ""
        head = f"{self._start}{request.path}{self._tail}{caches}\r\n".encode("ascii")
        delivery = _Delivery(connection, self._server.url(request.path), head, request.max_bytes)
        self._taken.add(connection)
        connection.send([delivery])
        try:
            await delivery.begin()
        except BaseException:
            self._leave(delivery)
            raise
        return delivery

    def _leave(self, delivery: _Delivery) -> None:
        delivery.leave()
        self._taken.discard(delivery.connection)
        self._changed(delivery.connection)

    def _changed(self, connection: Connection) -> None:
        """Keep what is idle for the next request.

        Not before its consumer has left: it may stop the connection's clock, or pause it.
        """
        if not connection.is_open:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
        elif not (connection.outstanding or connection in self._taken or connection in self._idle):
            self._idle.append(connection)


class _Delivery:
    """An `Exchange` whose body is handed on piece by piece."""

    def __init__(self, connection: Connection, url: str, head: bytes, max_bytes: int) -> None:
        self.url = url
        self.head = head
        self.max_bytes = max_bytes
        self.connection = connection
        self._pieces: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._has_begun = self._has_ended = self._is_paused = False
        self._error: UpstreamError | None = None
        self._news: asyncio.Future[None] | None = None

    # --- what the connection says -----------------------------------------------------------------

    def began(self) -> None:
        self._has_begun = True
        self._tell()

    def received(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._buffered_bytes += len(piece)
        if self._buffered_bytes > _BUFFER_BYTES and not self._is_paused:
            self._is_paused = True
            self.connection.pause()
        self._tell()

    def ended(self) -> None:
        self._has_ended = True
        self._tell()

    def failed(self, error: UpstreamError) -> None:
        self._error = error
        self._has_ended = True
        self._tell()

    # --- what the consumer asks -------------------------------------------------------------------

    async def begin(self) -> None:
        """Wait for the head of the answer; raise what it says if it is no success."""
        while not (self._has_begun or self._has_ended):
            await self._wait()
        if self._error is not None and not self._has_begun:
            raise self._error

    async def body(self) -> Body:
        """The body in pieces; what came before a failure is handed on first."""
        while True:
            self.connection.stop_clock()
            while self._pieces:
                yield self._pieces.popleft()
            self._go_on()
            if self._has_ended:
                break
            await self._wait()
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """What is still to come would be somebody else's: not on this connection."""
        if self._has_ended:
            self._go_on()
        else:
            self.connection.close()

    def _go_on(self) -> None:
        self._buffered_bytes = 0
        self.connection.start_clock()
        if self._is_paused:
            self._is_paused = False
            self.connection.resume()

    async def _wait(self) -> None:
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
