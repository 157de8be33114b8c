"""The HTTP client for Stratum 0: the only user of aiohttp's client (contract B.10, C.1).

It asks as plainly as the reference client does: no Range, no condition, no encoding. Redirects are
refused unless configured, since a repository's URL is part of what the operator trusts.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp
from yarl import URL

from mirror.errors import (
    ConfigError,
    NotFound,
    Refused,
    TooLarge,
    TooSlow,
    Unavailable,
    printable,
)
from mirror.upstream.base import Body, Consume, Request, T

_PAST_CACHES: Final = {"Cache-Control": "no-cache", "Pragma": "no-cache"}
_TRY_AGAIN: Final = frozenset({408, 425, 429})
_GONE: Final = frozenset({404, 410})


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to talk to servers.

    Attributes:
        timeout_s: to connect, to wait for the first byte, and the window of ``min_bytes_per_s``;
            from the request to the end of the answer's headers twice as long.
        min_bytes_per_s: slower than this over a whole window is `TooSlow`.
        max_connections: open at once, to all servers.
        follow_redirects: whether a 3xx is obeyed.
        proxy: a forward proxy, ``http://host:port``; None goes directly.
        ca_bundle: certificate authorities for HTTPS instead of the system's.
    """

    timeout_s: float = 10.0
    min_bytes_per_s: int = 1024
    max_connections: int = 256
    follow_redirects: bool = False
    proxy: str | None = None
    ca_bundle: Path | None = None


@asynccontextmanager
async def http_session(options: HttpOptions) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with our manners; one serves any number of repositories.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=options.max_connections, ssl=_tls(options.ca_bundle), ttl_dns_cache=60
        ),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=options.timeout_s, sock_read=options.timeout_s
        ),
        headers={
            "User-Agent": f"cvmfs-mirror/{version('cvmfs-stratum1')}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    async with session:
        yield session


def _tls(ca_bundle: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"ca_bundle {ca_bundle}: not readable as PEM: {error}"]) from error


class HttpUpstream:
    """A repository below one base URL; see `Upstream` for the contract."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, options: HttpOptions) -> None:
        """Remember where; nothing is sent yet.

        Args:
            session: from `http_session`.
            base_url: as far as the repository, without a slash at the end.
            options: the same that the session was made with.
        """
        self._session = session
        self._base_url = base_url.rstrip("/")
        self._options = options

    @property
    def source(self) -> str:
        """The base URL."""
        return self._base_url

    async def fetch(self, request: Request, consume: Consume[T]) -> T:
        """One attempt.

        Raises:
            NotFound, Refused, Unavailable, TooSlow, TooLarge: by what the server did.
        """
        url = f"{self._base_url}/{request.path}"
        with self._translated(url):
            async with asyncio.timeout(2 * self._options.timeout_s):  # however headers trickle in
                response = await self._session.get(
                    URL(url, encoded=True),
                    headers=_PAST_CACHES if request.is_fresh else None,
                    proxy=self._options.proxy,
                    allow_redirects=self._options.follow_redirects,
                )
        async with response:
            _require_success(response, url)
            return await consume(self._body(response, request, url))

    async def _body(self, response: aiohttp.ClientResponse, request: Request, url: str) -> Body:
        """The body in pieces, as long as it is neither too long nor too slow."""
        declared = response.content_length
        if declared is not None and declared > request.max_bytes:
            raise TooLarge(f"{url}: {declared} bytes, but at most {request.max_bytes} can be right")
        received = 0
        window = _SpeedWindow(self._options)
        pieces = aiter(response.content.iter_any())
        while True:
            try:
                with self._translated(url):
                    async with asyncio.timeout_at(window.ends_at):
                        piece = await anext(pieces, None)
            except TooSlow as error:
                if window.is_stalled:
                    raise
                raise TooSlow(
                    f"{url}: less than {self._options.min_bytes_per_s} bytes a second for "
                    f"{self._options.timeout_s:g} s"
                ) from error
            if piece is None:
                return
            received += len(piece)
            if received > request.max_bytes:
                raise TooLarge(f"{url}: more than {request.max_bytes} bytes came, and it goes on")
            window.count(len(piece))
            window.pause()
            yield piece
            window.resume()

    @contextmanager
    def _translated(self, url: str) -> Iterator[None]:
        """Only around what the server does: what the consumer raises is not its fault."""
        try:
            yield
        except TimeoutError as error:
            raise TooSlow(
                f"{url}: nothing for {self._options.timeout_s:g} s; is the server up, and is "
                "the network in between?"
            ) from error
        except aiohttp.ClientPayloadError as error:
            raise Unavailable(f"{url}: the body was cut short") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            said = printable(str(error)) or type(error).__name__
            raise Unavailable(f"{url}: {said}") from error


class _SpeedWindow:
    """Demands so many bytes in each window, and begins the next as soon as they are here."""

    def __init__(self, options: HttpOptions) -> None:
        self._length_s = options.timeout_s
        self._due_bytes = options.min_bytes_per_s * options.timeout_s
        self._paused_at = 0.0
        self._begin()

    def _begin(self) -> None:
        self.ends_at = asyncio.get_running_loop().time() + self._length_s
        self._bytes = 0

    def count(self, received_bytes: int) -> None:
        self._bytes += received_bytes
        if self._bytes >= self._due_bytes:
            self._begin()

    def pause(self) -> None:
        """The consumer is at work: a slow disk of ours is not a slow server."""
        self._paused_at = asyncio.get_running_loop().time()

    def resume(self) -> None:
        """It is the server's turn again."""
        self.ends_at += asyncio.get_running_loop().time() - self._paused_at

    @property
    def is_stalled(self) -> bool:
        """Whether nothing at all came in this window."""
        return self._bytes == 0


def _require_success(response: aiohttp.ClientResponse, url: str) -> None:
    status = response.status
    reason = printable((response.reason or "")[:200])
    answer = f"{url}: the server answered {status} {reason}".rstrip()
    if status == 200:
        return
    if status in _GONE:
        raise NotFound(answer)
    if status >= 500 or status in _TRY_AGAIN:
        raise Unavailable(answer)
    location = response.headers.get("Location")
    if location is not None:
        raise Refused(
            f"{answer} to {printable(location[:200])}; set follow_redirects if that is right"
        )
    raise Refused(answer)
