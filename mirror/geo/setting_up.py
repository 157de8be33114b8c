"""All of the room, from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from mirror.geo.answering import Answerer, IsUnfit, Reply
from mirror.geo.atlas import Atlas
from mirror.geo.databases import Databases
from mirror.geo.location import Location
from mirror.geo.names import Names
from mirror.geo.naming import address_of, unmapped
from mirror.geo.options import GeoOptions
from mirror.geo.request import Asker
from mirror.geo.resolver import Resolve, SystemResolver
from mirror.geo.table import Table
from mirror.store.threads import in_thread


class Geo:
    """Answers requests of the Geo API, as an HTTP server takes them apart."""

    def __init__(
        self,
        options: GeoOptions,
        resolve: Resolve | None = None,
        is_unfit: IsUnfit | None = None,
    ) -> None:
        """Nothing is read yet: see `ready`. Needs a running event loop.

        Args:
            options: the configuration.
            resolve: asks for addresses; the system's resolver if there is none.
            is_unfit: as `Answerer`.
        """
        limits = options.limits
        self._options = options
        self._trusted = Table(dict.fromkeys(options.trusted_proxies, Location(0.0, 0.0)))
        self.databases: Final = Databases(options.databases)
        self.atlas: Final = Atlas(Table(options.locations), self.databases)
        self.clock: Final = asyncio.get_running_loop().time
        resolver = resolve or SystemResolver(limits.look_ups)
        self.names: Final = Names(self.atlas, resolver, self.clock, limits)
        self.limits: Final = limits
        self.answerer: Final = Answerer(self.atlas, self.names, limits, is_unfit)

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Read the databases, and look after them meanwhile."""
        await in_thread(self.databases.refresh)
        watching = asyncio.ensure_future(self.databases.watch(self._options.look_every_s))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await self.names.close()

    def asker(self, peer: str, forwarded: str | None, connecting: str | None) -> Asker:
        """Who asks, as far as the peer is believed (`Asker`)."""
        if self._trusted and not self._is_trusted(peer):
            return Asker(peer)
        return Asker(peer, forwarded, connecting)

    async def answer(self, path: str, asker: Asker) -> Reply:
        """As `Answerer.answer`."""
        return await self.answerer.answer(path, asker)

    def _is_trusted(self, peer: str) -> bool:
        address = address_of(unmapped(peer))
        return address is not None and self._trusted.place(address) is not None
