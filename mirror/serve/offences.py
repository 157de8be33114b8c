"""What a request must not be, beyond what aiohttp refuses itself: it is told so and sent away.

Whoever stands between client and server may understand such a request otherwise than we do, and
then take part of it for another request. So nothing behind it is answered.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import HttpVersion10, HttpVersion11
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web import BaseRequest, Response, StreamResponse

from mirror.serve.clock import SERVER
from mirror.serve.resources import NOT_FOUND_HEADERS

_NAME: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[\w.~%!$&'()*+,;=-]{least,255})(?::\d{0,5})?"
_HOST: Final = re.compile(_NAME.replace("least", "0"), re.ASCII)
_TARGET: Final = re.compile(
    rf"(?:https?://{_NAME.replace('least', '1')}(?![^/?]))?(?:[/?][^#]*)?", re.ASCII | re.IGNORECASE
)
_METHODS: Final = frozenset({"GET", "HEAD"})


def offence(request: BaseRequest) -> StreamResponse | None:
    """What to answer to a request that must not be answered otherwise; None for all others."""
    if request.version not in {HttpVersion10, HttpVersion11}:
        return _OtherVersion(status=505)
    reason = _why_bad(request)
    if reason:
        return Response(status=400, text=f"400: {reason}\n", headers=NOT_FOUND_HEADERS)
    return None


def _why_bad(request: BaseRequest) -> str:
    coding = request.headers.get("Transfer-Encoding")
    if coding is not None and coding.lower() != "chunked":
        return "transfer coding is not chunked"  # RFC 9112, 6.1
    if coding is not None and request.version == HttpVersion10:
        return "HTTP/1.0 has no transfer codings"  # RFC 9112, 6.1
    hosts = request.headers.getall("Host", ())
    if len(hosts) > 1 or (not hosts and request.version == HttpVersion11):
        return "one Host is needed"  # RFC 9112, 3.2
    if hosts and not _HOST.fullmatch(hosts[0]):
        return "Host is no host"  # RFC 9112, 3.2
    if request.method in _METHODS and not _TARGET.fullmatch(request.raw_path):
        return "not a target of HTTP"  # RFC 9112, 3.2; RFC 9110, 4.2.4
    return ""


class _OtherVersion(StreamResponse):
    """Refused in a version that we do speak (RFC 9110, 2.5), where aiohttp would echo theirs."""

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """All of it at once."""
        self.force_close()
        if request.transport is not None:
            request.transport.write(
                b"HTTP/1.1 505 HTTP Version Not Supported\r\nServer: %s\r\n"
                b"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                % SERVER.encode()
            )
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left."""
