"""What a request asks, and who asks: pure (contract B.11).

    /cvmfs/<repository>/api/v1.0/geo/<caching string>/<server>,<server>,…[,+PXYSEP+,<proxy>,…]

Neither repository nor version is checked, as the reference does not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mirror.geo.naming import unmapped

SEPARATOR: Final = "+PXYSEP+"
"""Stands between servers and fall-back proxies."""
COUNTER: Final = "_namelookups_"
"""A caching string that asks for the number of look-ups instead, as the reference's tests do."""
_API: Final = re.compile(r"^/([^/]*)/(v[^/]*)/([^/]*)/(.*)$")


class BadRequest(Exception):
    """Cannot be answered; the text says why, in the reference's words."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked.

    Attributes:
        caching: what clients that share a proxy have in common: its name, or anything.
        servers: to be sorted, separator and proxies included.
    """

    caching: str
    servers: tuple[str, ...]

    @property
    def hosts(self) -> tuple[str, ...]:
        """The servers themselves."""
        return self.servers[: self.servers.index(SEPARATOR)] if self.has_proxies else self.servers

    @property
    def proxies(self) -> tuple[str, ...]:
        """Fall-back proxies."""
        return self.servers[self.servers.index(SEPARATOR) + 1 :] if self.has_proxies else ()

    @property
    def has_proxies(self) -> bool:
        """Whether the separator is there, with proxies behind it or not."""
        return SEPARATOR in self.servers


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, as far as headers can be believed.

    Attributes:
        peer: address at the other end of the connection.
        forwarded: ``X-Forwarded-For``; None if it is not there, or not believed.
        connecting: ``CF-Connecting-IP``, likewise.
    """

    peer: str
    forwarded: str | None = None
    connecting: str | None = None

    @property
    def is_behind_cdn(self) -> bool:
        """Then servers may be behind one, too, and ``ip.<server>`` is where they really are."""
        return self.connecting is not None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the client may be, what is best first."""
        found = [] if self.connecting is None else [self.connecting]
        if self.forwarded is not None:
            found.append(last_forwarded(self.forwarded))
        return (*found, unmapped(self.peer))


def last_forwarded(header: str) -> str:
    """The last address in ``X-Forwarded-For``, cut out as the reference does.

    It is the proxy that talked to the one in front of us: whoever wrote what stands before may have
    made it up.
    """
    start = header.rfind(" ") + 1 or header.rfind(",") + 1
    return header[start:]


def parse(path: str) -> Query:
    """What a path asks: ``/<repository>/<version>/geo/…``, each byte of it one character.

    Raises:
        BadRequest: nothing that can be answered.
    """
    found = _API.search(path)
    if found is None:
        raise BadRequest(f"malformed api URL: {path}")
    function, rest = found.group(3), found.group(4)
    if function != "geo":
        raise BadRequest("unrecognized api function")
    caching, slash, servers = rest.partition("/")
    if not slash:
        raise BadRequest("no slash in geo path")
    return Query(caching, tuple(servers.split(",")))
