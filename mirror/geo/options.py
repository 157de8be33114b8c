"""What the operator says of places; quick to import, since every verb reads the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mirror.geo.limits import GeoLimits
from mirror.geo.location import Location
from mirror.geo.table import as_network


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
    look_every_s: float = 5.0

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
