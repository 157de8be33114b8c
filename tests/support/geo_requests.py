"""Random requests of the Geo API: of clients, of pranksters, and of bit rot."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network
from random import Random
from typing import Final, NamedTuple

from tests.support.geo_world import World

ODD: Final = (
    *("", ".", "..", "a..b", "-a.example.org", "x" * 64 + ".org", "x" * 300, "+PXYSEP+"),
    *("cern.example.org.", "CERN.example.org", "ip.cern.example.org", "2130706433", "131.225"),
    *("0x83e10001", "1.2.3.4.5", "256.1.1.1", "::", ":::", "fe80::1", "localhost", "short"),
    *("7d444840-9dc0-11d1-b245-5ffdce74fad2", "caf\xe9.org", "a b", "\x00", "%", "_", "*"),
)


class Asked(NamedTuple):
    """A request: the path from the repository on, headers, and the address it came from."""

    path: str
    headers: dict[str, str]
    peer: str


class Requests:
    """Makes them, the same from the same seed."""

    def __init__(self, world: World, seed: int) -> None:
        self._random = Random(seed)
        self._hosts = list(world.hosts)
        self._networks = [ip_network(each) for each in world.networks]

    def next(self) -> Asked:
        """Another one."""
        random = self._random
        headers = {}
        if random.random() < 0.5:
            headers["X-Forwarded-For"] = self._forwarded()
        if random.random() < 0.2:
            headers["CF-Connecting-IP"] = self._text() if random.random() < 0.2 else self._address()
        return Asked(self._path(), headers, self._address())

    def _path(self) -> str:
        random = self._random
        servers = [self._text() for _ in range(random.choice((1, 2, 3, 3, 4, 8, 20)))]
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            servers.insert(random.randrange(len(servers) + 1), "+PXYSEP+")
        caching = random.choice(("x", self._text(), self._address(), self._name()))
        path = f"/{random.choice(('r', ''))}/v1.0/geo/{caching}/{','.join(servers)}"
        return self._broken(path) if random.random() < 0.1 else path

    def _broken(self, path: str) -> str:
        random = self._random
        at = random.randrange(len(path))
        return random.choice(
            (
                path[:at] + path[at + 1 :],
                path[:at] + chr(random.randrange(256)) + path[at:],
                path[:at],
                path.replace("geo", "geo2"),
                path.replace("v1", "1"),
                path + "\n",
            )
        )

    def _text(self) -> str:
        kind = self._random.random()
        if kind < 0.15:
            return self._random.choice(ODD)
        return self._address() if kind < 0.3 else self._name()

    def _name(self) -> str:
        return self._random.choice(self._hosts)

    def _address(self) -> str:
        random = self._random
        kind = random.random()
        if kind < 0.1:
            return str(IPv4Address(random.getrandbits(32)))
        if kind < 0.15:
            return str(IPv6Address(random.getrandbits(128)))
        network = random.choice(self._networks)
        return str(network[random.randrange(min(network.num_addresses, 2**32))])

    def _forwarded(self) -> str:
        random = self._random
        addresses = [self._address() for _ in range(random.choice((1, 1, 2, 3)))]
        text = random.choice((", ", ",", " ")).join(addresses)
        return random.choice((text, text, text, f"{text} ", f"{text},", "unknown", ""))
