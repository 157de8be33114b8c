"""Header blocks that need no second look: the memory of the fast path.

No HTTP is parsed here. aiohttp parses the first request of a kind; if what it found is plain, the
very bytes of its headers are remembered. A later request with the same bytes, and a request line of
the one plain spelling, means the same, so it need not be parsed again. Clients of CernVM-FS and
proxies send few kinds of headers, over and over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11
from aiohttp.web import BaseRequest

_MAX_BLOCK_BYTES: Final = 2048
_MAX_BLOCKS: Final = 4096
_IGNORABLE: Final = frozenset(
    {
        "accept",
        "accept-encoding",  # objects are packed as they are; nothing else is to be had
        "accept-language",
        "connection",
        "cvmfs-info",
        "forwarded",
        "host",
        "keep-alive",
        "pragma",
        "proxy-connection",
        "referer",
        "user-agent",
        "via",
        "x-cvmfs-gid",
        "x-cvmfs-info",
        "x-cvmfs-pid",
        "x-cvmfs-uid",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    }
)
"""What a whole answer with status 200 does not depend on."""


@dataclass(frozen=True, slots=True)
class Headers:
    """What logs want to know of remembered headers.

    Attributes:
        user_agent: the client's program.
        referer: where it found us.
        request_id: for following a request through proxies.
    """

    user_agent: str
    referer: str


def is_plain(request: BaseRequest) -> bool:
    """Whether the answer to ``request`` depends on its request line and nothing else.

    Method and version are part of that line, which is compared each time; they are asked here
    because a block says something only in the sense of HTTP/1.1.
    """
    return (
        request.method == "GET"
        and request.version == HttpVersion11
        and request.keep_alive
        and not request.body_exists
        and all(name.lower() in _IGNORABLE for name in request.headers)
        and "no-cache" not in request.headers.get("Pragma", "").lower()
        and "upgrade" not in request.headers.get("Connection", "").lower()
    )


class PlainBlocks:
    """The blocks that are known: from the end of the request line, blank line included."""

    def __init__(self) -> None:
        """Know none."""
        self.known: Final[dict[bytes, Headers]] = {}
        """To look into directly."""

    def learn(self, request: BaseRequest, raw: bytes) -> None:
        """Remember the headers of a request that arrived as these bytes, if they are plain."""
        _, separator, block = raw.partition(b"\r\n")
        if not separator or len(block) > _MAX_BLOCK_BYTES or not is_plain(request):
            return
        if len(self.known) >= _MAX_BLOCKS:
            self.known.clear()  # clients that never send the same twice; the others are soon back
        self.known[block] = headers_of(request)


def headers_of(request: BaseRequest) -> Headers:
    """What logs want to know."""
    return Headers(request.headers.get("User-Agent", ""), request.headers.get("Referer", ""))
