"""A small world: networks with places, host names with addresses, and databases of both schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped] # it has no types, and no stubs here

Point = tuple[float, float]
SITES: Final[Mapping[str, tuple[str, Point]]] = {
    "cern.example.org": ("128.142.0.0/16", (46.2, 6.1)),
    "fnal.example.org": ("131.225.0.0/16", (41.8, -88.3)),
    "ihep.example.org": ("202.122.32.0/20", (39.9, 116.4)),
    "ral.example.org": ("130.246.0.0/16", (51.6, -1.3)),
    "asgc.example.org": ("117.103.96.0/20", (25.0, 121.6)),
    "twin.example.org": ("192.41.0.0/16", (46.2, 6.1)),
    "six.example.org": ("2001:1458::/32", (46.3, 6.0)),
    "far.example.org": ("2400:3200::/32", (-36.8, 174.7)),
}
"""Host names, the network each is in, and where that is; the first address of it is the host's."""
NOWHERE: Final = "198.51.100.0/24"
"""A network that a database knows, but not where it is."""


@dataclass(slots=True)
class World:
    """What databases and resolvers would tell.

    Attributes:
        networks: and where they are; None for one of which that is not known.
        hosts: addresses by name.
    """

    networks: dict[str, Point | None] = field(default_factory=dict)
    hosts: dict[str, Sequence[str]] = field(default_factory=dict)

    async def resolve(self, name: str) -> Sequence[str]:
        """As `mirror.geo.resolver.Resolve`."""
        try:
            return self.hosts[name]
        except KeyError:
            raise OSError(name) from None

    def find(self, address: str) -> tuple[bool, Point | None]:
        """Whether a database would have a record of an address, and the point in it."""
        parsed = ip_address(address)
        for network, point in self.networks.items():
            if parsed in ip_network(network):
                return True, point
        return False, None


def small_world() -> World:
    """All sites, a network that is nowhere, and hosts with more than one address."""
    world = World(dict(SITES.values()))
    world.networks[NOWHERE] = None
    world.hosts = {name: (first_address(network),) for name, (network, _) in SITES.items()}
    cern, six = first_address(SITES["cern.example.org"][0]), world.hosts["six.example.org"][0]
    world.hosts |= {
        "both.example.org": ("2400:3200::9", cern),
        "unknown-four.example.org": (six, "203.0.113.9"),
        "nowhere-four.example.org": (six, "198.51.100.9"),
        "nowhere.example.org": ("198.51.100.7",),
        "unknown.example.org": ("203.0.113.7",),
        "cdn.example.org": ("203.0.113.8",),
        "ip.cdn.example.org": world.hosts["ihep.example.org"],
        "ip.ral.example.org": world.hosts["asgc.example.org"],
        "short": world.hosts["fnal.example.org"],
    }
    return world


def first_address(network: str) -> str:
    """Of a network, one that a host could have."""
    return str(ip_network(network)[1])


def write_database(
    path: Path, networks: Mapping[str, Point | None], *, is_flat: bool = False, version: int = 6
) -> None:
    """Write a database in GeoLite2's schema, or the flat one."""
    kind = "flat-city" if is_flat else "GeoLite2-City"
    writer = MMDBWriter(version, kind, ipv4_compatible=version == 6, float_type="f64")
    for network, point in networks.items():
        if version == 6 or ":" not in network:
            writer.insert_network(IPSet([network]), _record(point, is_flat=is_flat))
    writer.to_db_file(str(path))


def _record(point: Point | None, *, is_flat: bool) -> dict[str, Any]:
    if point is None:
        return {"country_code": "ZZ"}
    both = {"latitude": point[0], "longitude": point[1]}
    return {"city": "Somewhere", **both} if is_flat else {"location": both}
