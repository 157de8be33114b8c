"""Where a proxy goes: to its mirrors, and where its configuration allows it; never anywhere else.

A forward proxy that goes wherever it is sent is a tool for attackers. Here a client names a server
only to say which mirror it would like; names and ports are compared with a list, and a name that
leads to an address of the inside is refused unless that address is allowed by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_HOST: Final = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])")
DEFAULT_PORTS: Final = (80, 8000, 8080)
PRIVATE: Final = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""Networks of a site: whoever may use a proxy that nobody configured."""


@dataclass(frozen=True, slots=True)
class Destinations:
    """What may be asked for by clients that name a server.

    Attributes:
        hosts: names, with wildcards, or addresses.
        ports: of them.
        servers: ``host:port`` that are allowed as they are, whatever address they have: mirrors.
    """

    hosts: Sequence[str] = ()
    ports: Sequence[int] = DEFAULT_PORTS
    servers: frozenset[str] = frozenset()

    def allows(self, host: str, port: int) -> bool:
        """Whether a client may name this server."""
        host = host.lower().rstrip(".")
        if f"{host}:{port}" in self.servers:
            return True
        if _HOST.fullmatch(host) is None or port not in self.ports:
            return False
        return any(fnmatchcase(host, each.lower()) for each in self.hosts)


@dataclass(frozen=True, slots=True)
class Clients:
    """Who may use the proxy: networks of addresses."""

    networks: Sequence[Network] = field(
        default_factory=lambda: tuple(ip_network(each) for each in PRIVATE)
    )

    def allows(self, address: str) -> bool:
        """Whether a client of this address may."""
        try:
            client = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        if isinstance(client, IPv6Address) and client.ipv4_mapped is not None:
            client = client.ipv4_mapped
        return any(client in each for each in self.networks if each.version == client.version)


def is_inside(address: str) -> bool:
    """Whether an address is of this host or its site, where a name of outside has no business."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return True
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return not found.is_global or found.is_multicast
