"""Where a proxy goes: to its mirrors, and where its configuration allows it; never anywhere else.

A forward proxy that goes wherever it is sent is a tool for attackers. Here a client names a server
only to say which mirror it would like; names and ports are compared with a list, and a name that
leads to an address of the inside is refused unless that address is allowed by itself
(`proxy.guarded` looks at the address that is connected to).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[0-9a-f:.]{2,45}\]|[^/@\[\]:]+)(?::(?P<port>\d{1,5}))?",
    re.ASCII,
)
_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,252}[a-z0-9_])?", re.ASCII)
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|\d+)", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
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
        return not self.objection(host, port)

    def objection(self, host: str, port: int) -> str:
        """Why a client may not name this server; empty if it may."""
        host = host.lower().rstrip(".")
        bare = host.strip("[]")
        if f"{host}:{port}" in self.servers or f"[{bare}]:{port}" in self.servers:
            return ""
        if port not in self.ports:
            return f"port {port} is none of those that this proxy goes to"
        if not any(matches(each, bare) for each in self.hosts):
            return f"{host} is none of the servers that this proxy asks"
        if is_spelled_oddly(bare):
            return f"{host} is no name, and not how an address is written"
        if is_an_address(bare) and is_inside(bare):
            return f"{host} is an address of the inside"
        return ""


@dataclass(frozen=True, slots=True)
class Clients:
    """Who may use the proxy: networks of addresses."""

    networks: Sequence[Network] = field(
        default_factory=lambda: tuple(ip_network(each) for each in PRIVATE)
    )

    def allows(self, address: str) -> bool:
        """Whether a client of this address may."""
        try:
            client = _unmapped(ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        return any(client in each for each in self.networks if each.version == client.version)


def server_of(origin: str) -> tuple[str, int] | None:
    """Host and port of ``http://host[:port]``, as they are compared; None for anything else."""
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None or found["scheme"] not in _PORTS:
        return None
    host = found["host"] if found["host"].startswith("[") else found["host"].rstrip(".")
    return host, int(found["port"] or _PORTS[found["scheme"]])


def as_origin(text: str) -> str:
    """The one spelling of an origin, ``http://host:port``; what is none stays as it is."""
    server = server_of(text)
    return text if server is None else f"{text.partition(':')[0].lower()}://{server[0]}:{server[1]}"


def matches(pattern: str, host: str) -> bool:
    """Whether a pattern of the configuration names a host; only ``*`` is special."""
    pieces = (re.escape(each) for each in pattern.lower().strip("[]").split("*"))
    return re.fullmatch(".*".join(pieces), host) is not None


def is_an_address(host: str) -> bool:
    """Whether that is no name, but an address as everybody writes them."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_spelled_oddly(host: str) -> bool:
    """Whether resolvers take it for an address though it does not look like one.

    ``127.1``, ``0x7f000001``, ``2130706433`` and ``0177.0.0.1`` all lead to 127.0.0.1.
    """
    if is_an_address(host):
        return False
    return _NAME.fullmatch(host) is None or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def is_inside(address: str) -> bool:
    """Whether an address is of this host or its site, where a name of outside has no business."""
    try:
        found = _unmapped(ip_address(address.partition("%")[0]))
    except ValueError:
        return True
    return not found.is_global or found.is_multicast


_WITHIN: Final = tuple(ip_network(each) for each in ("64:ff9b::/96", "::/96"))
"""IPv6 networks whose addresses end in one of IPv4."""


def _unmapped(address: Address) -> Address:
    """The address of IPv4 that is meant by one of IPv6."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if any(address in each for each in _WITHIN) and int(address) > 1:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
