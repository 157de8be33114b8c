"""The way to a server that has databases.

Redirects are followed, since MaxMind's answers with one; a name and a password never go along to
another host. What comes is believed by its checksum alone.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mirror import __version__
from mirror.errors import NotFound, Refused, TooLarge, TooSlow, Unavailable, printable

if TYPE_CHECKING:
    import aiohttp

User = tuple[str, str] | None
_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Web:
    """How to get there.

    Attributes:
        timeout_s: to connect, to answer, and for any standstill.
        proxy: to ask; None for none.
        tls: whom to believe; None for whom the system does.
    """

    timeout_s: float = 30.0
    proxy: str | None = None
    tls: ssl.SSLContext | None = None

    async def text(self, url: str, user: User, most: int) -> str:
        """A short text.

        Raises:
            UpstreamError: it is not to be had.
        """
        pieces: list[bytes] = []
        await self.fetch(url, user, most, pieces.append, lambda _come, _all: None)
        return b"".join(pieces).decode("utf-8", "replace")

    async def fetch(
        self,
        url: str,
        user: User,
        most: int,
        take: Callable[[bytes], object],
        tell: Callable[[int, int | None], None],
    ) -> None:
        """All bytes of a URL, piece by piece, and how many have come.

        Raises:
            UpstreamError: by what the server did.
        """
        come = 0
        with _translated(url, self.timeout_s):
            async with self._answer(url, user) as response:
                _require_success(response.status, url)
                async for piece in response.content.iter_chunked(_PIECE_BYTES):
                    come += len(piece)
                    if come > most:
                        raise TooLarge(f"{url}: more than {most} bytes")
                    take(piece)
                    tell(come, response.content_length)

    @asynccontextmanager
    async def _answer(self, url: str, user: User) -> AsyncIterator[aiohttp.ClientResponse]:
        import aiohttp  # noqa: PLC0415 - a tenth of a second, for this one verb

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.timeout_s, sock_read=self.timeout_s
        )
        headers = {"User-Agent": f"cvmfs-mirror/{__version__}", "Accept-Encoding": "identity"}
        if user is not None:  # aiohttp leaves it out when it is sent on to another host
            headers["Authorization"] = f"Basic {b64encode(':'.join(user).encode()).decode()}"
        async with (
            aiohttp.ClientSession(
                timeout=timeout, headers=headers, auto_decompress=False
            ) as session,
            session.get(url, proxy=self.proxy, ssl=self.tls or True) as response,
        ):
            yield response


def _require_success(status: int, url: str) -> None:
    if status in {401, 403}:
        raise Refused(f"{url}: {status}; look at the account and its licence key")
    if status in {404, 410}:
        raise NotFound(f"{url}: {status}; look at the URL, or the name of the edition")
    if status == 429 or status >= 500:
        raise Unavailable(f"{url}: {status}; try again later")
    if status != 200:
        raise Refused(f"{url}: {status}")


@contextmanager
def _translated(url: str, timeout_s: float) -> Iterator[None]:
    import aiohttp  # noqa: PLC0415 - as above

    try:
        yield
    except TimeoutError as error:
        raise TooSlow(f"{url}: nothing came for {timeout_s:g} s") from error
    except aiohttp.ClientPayloadError as error:
        raise Unavailable(f"{url}: the body was cut short") from error
    except (aiohttp.ClientError, ConnectionError) as error:
        raise Unavailable(f"{url}: {printable(str(error)) or type(error).__name__}") from error
