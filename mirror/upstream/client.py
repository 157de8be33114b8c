"""Which client asks a server: the quick one where it can, the general one where it must."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.upstream.base import Upstream
from mirror.upstream.lean import can_do, lean_upstream
from mirror.upstream.options import HttpOptions


@asynccontextmanager
async def http_upstream(base_url: str, options: HttpOptions) -> AsyncIterator[Upstream]:
    """A client for one repository at one server; its connections are closed at the end.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    if can_do(base_url, options):
        async with lean_upstream(base_url, options) as lean:
            yield lean
    else:
        from mirror.upstream.http import (  # noqa: PLC0415 - a tenth of a second, rarely needed
            HttpUpstream,
            http_session,
        )

        async with http_session(options) as session:
            yield HttpUpstream(session, base_url, options)
