"""The HTTP client for what `lean` does not do, redirects and tunnels (contract B.10, C.1).

The only user of aiohttp's client; imported only where it is needed, since that takes a tenth of a
second.

It asks as plainly as the reference client does: no Range, no condition, no encoding. Redirects are
refused unless configured, since a repository's URL is part of what the operator trusts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

import aiohttp
from yarl import URL

from mirror import __version__
from mirror.errors import TooLarge, TooSlow, Unavailable, printable
from mirror.upstream.answers import refusal, stalled, too_slow
from mirror.upstream.base import Body, Consume, Request, T
from mirror.upstream.options import HttpOptions, tls_context

_PAST_CACHES: Final = {"Cache-Control": "no-cache", "Pragma": "no-cache"}


@asynccontextmanager
async def http_session(options: HttpOptions) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with our manners; one serves any number of repositories.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=options.max_connections, ssl=tls_context(options.ca_bundle), ttl_dns_cache=60
        ),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=options.timeout_s, sock_read=options.timeout_s
        ),
        headers={
            "User-Agent": f"cvmfs-mirror/{__version__}",
            "Accept": "*/*",
            "Accept-Encoding": "identity",
        },
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    async with session:
        yield session


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
                slow = too_slow(url, self._options.timeout_s, self._options.min_bytes_per_s)
                raise TooSlow(slow) from error
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
            raise TooSlow(stalled(url, self._options.timeout_s)) from error
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
    said = response.headers
    error = refusal(
        url, response.status, response.reason or "", said.get("Location"), said.get("Retry-After")
    )
    if error is not None:
        raise error
