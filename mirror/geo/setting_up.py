"""All of the room, from the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from mirror.geo.answering import Answerer, IsUnfit, Reply
from mirror.geo.atlas import Atlas
from mirror.geo.databases import LOOK_EVERY_S, Databases
from mirror.geo.limits import GeoLimits
from mirror.geo.location import Location
from mirror.geo.names import Names
from mirror.geo.naming import address_of, unmapped
from mirror.geo.request import Asker
from mirror.geo.resolver import Resolve, SystemResolver
from mirror.geo.table import Table, as_network
from mirror.store.threads import in_thread


@dataclass(frozen=True, slots=True)
class GeoOptions:
    """What there is to know.

    Attributes:
        databases: files, what is best first.
        trusted_proxies: whose word on who asks is believed, networks or addresses; empty: all.
        locations: of networks, addresses and host names.
        limits: what requests may take.
        look_every_s: between looks at the files.
    """

    databases: tuple[Path, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    locations: Mapping[str, Location] = field(default_factory=dict)
    limits: GeoLimits = field(default_factory=GeoLimits)
    look_every_s: float = LOOK_EVERY_S

    def pack(self) -> dict[str, Any]:
        """As anything that JSON can hold, for another process; the limits stay behind."""
        return {
            "databases": [str(each) for each in self.databases],
            "trusted_proxies": list(self.trusted_proxies),
            "locations": {key: list(each) for key, each in self.locations.items()},
        }

    @staticmethod
    def unpack(packed: Mapping[str, Any]) -> GeoOptions:
        """The inverse of `pack`."""
        return GeoOptions(
            databases=tuple(Path(each) for each in packed["databases"]),
            trusted_proxies=tuple(packed["trusted_proxies"]),
            locations={key: Location(*each) for key, each in packed["locations"].items()},
        )


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


def require_location(key: str) -> None:
    """Look whether a key of ``[geo.locations]`` can be one.

    Raises:
        ValueError: what is wrong with it.
    """
    network = as_network(key)
    if network is None:
        if "/" in key or not _looks_like_a_name(key):
            raise ValueError(f"{key!r} is no network, no address and no host name")
        return
    if "/" in key and ip_address(key.partition("/")[0]) != network.network_address:
        raise ValueError(f"{key!r} has bits set behind its prefix; write {network}")


def _looks_like_a_name(key: str) -> bool:
    labels = key.removesuffix(".").split(".")
    return key.isascii() and all(each and each.replace("-", "a").isalnum() for each in labels)
