"""Servermon's question to our own geo API, asked where clients ask it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import aiohttp

from mirror.config import Settings
from mirror.daemon.listed import geodb_updated
from mirror.daemon.probes import GEO_CACHING, GEO_SERVERS
from mirror.daemon.servermon import NO_GEO, GeoFacts
from mirror.store.threads import in_thread

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10.0)
_MAX_BYTES: Final = 4096


class GeoQuestion:
    """Asks a worker."""

    def __init__(self, settings: Callable[[], Settings], urls: Callable[[], list[str]]) -> None:
        """``urls`` are those at which workers serve now."""
        self._settings = settings
        self._urls = urls

    async def __call__(self) -> GeoFacts:
        """As `mirror.daemon.probes.Geo`."""
        settings = self._settings()
        urls, names = self._urls(), [each.name for each in settings.replica]
        if not settings.geo.databases or not urls or not names:
            return NO_GEO
        updated = await in_thread(lambda: geodb_updated(settings.geo.databases))
        path = f"/cvmfs/{names[0]}/api/v1.0/geo/{GEO_CACHING}/{','.join(GEO_SERVERS)}"
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(urls[0] + path, ssl=False) as answer,
            ):
                text = (await answer.content.read(_MAX_BYTES)).decode("ascii", "replace").strip()
                status = answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            return GeoFacts(None, str(error) or type(error).__name__, updated)
        if status != 200:
            return GeoFacts(None, f"the geo API answers {status}", updated)
        return GeoFacts(text, "", updated)
