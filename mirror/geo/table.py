"""Networks, addresses and host names whose places the operator knows better than any database."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from mirror.geo.location import Location, Place

_Key = tuple[int, int, int]


class Table:
    """Tells places; the narrowest network counts."""

    def __init__(self, entries: Mapping[str, Location]) -> None:
        """Each entry is a network, an address, or a host name."""
        self._names: dict[str, Place] = {}
        self._networks: dict[_Key, Place] = {}
        for key, location in entries.items():
            place = Place(location, f"[geo.locations] {key}")
            network = as_network(key)
            if network is None:
                self._names[host_key(key)] = place
            else:
                version, prefix = network.version, network.prefixlen
                self._networks[version, prefix, int(network.network_address)] = place
        lengths = {(version, prefix) for version, prefix, _ in self._networks}
        self._lengths = sorted(lengths, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._names or self._networks)

    def of_name(self, name: str) -> Place | None:
        """Where the host of this name is."""
        return self._names.get(host_key(name)) if self._names else None

    def place(self, address: str) -> Place | None:
        """As `Locations.place`."""
        if not self._networks:
            return None
        parsed = ip_address(address)
        number, bits = int(parsed), parsed.max_prefixlen
        for version, prefix in self._lengths:
            if version == parsed.version:
                shift = bits - prefix
                found = self._networks.get((version, prefix, number >> shift << shift))
                if found is not None:
                    return found
        return None


def as_network(key: str) -> IPv4Network | IPv6Network | None:
    """The network or address that a key of the table is; None for a host name."""
    try:
        return ip_network(key, strict=False)
    except ValueError:
        return None


def host_key(name: str) -> str:
    """Host names are the same in any case."""
    return name.lower().removesuffix(".")
