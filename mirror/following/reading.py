"""Fetching a list; the only thing here that waits."""

from __future__ import annotations

from mirror.following.listing import LIST_BYTES, Listing, parse_listing, server_of
from mirror.upstream.base import Request, read_all
from mirror.upstream.client import http_upstream
from mirror.upstream.options import HttpOptions


async def read_listing(url: str, options: HttpOptions) -> Listing:
    """What that server has.

    Raises:
        UpstreamError: it does not answer.
        FormatError: what it answers is no list.
        ConfigError: the CA bundle cannot be read.
    """
    server, path = server_of(url)
    async with http_upstream(server, options) as upstream:
        raw = await upstream.fetch(Request(path, LIST_BYTES, is_fresh=True), read_all)
    return parse_listing(raw, server)
