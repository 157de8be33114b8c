"""Connecting to servers that clients name: never to an address of the inside.

The address that was looked at is the one that is connected to: a name that is asked for twice may
mean something else the second time (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from mirror.errors import TooSlow, Unavailable, UpstreamError, printable
from mirror.upstream.answers import stalled
from mirror.upstream.connection import Connection
from mirror.upstream.lean import Server
from proxy.destinations import is_inside

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes host and port, gives addresses."""
_MOST_TRIED: Final = 4


class Forbidden(UpstreamError):
    """A name that clients may ask for leads where nobody may go."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """What the system's resolver says.

    Raises:
        OSError: nothing.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(at[0]) for *_, at in found))


async def allowed_addresses(host: str, port: int, resolve: Resolve = resolve) -> Sequence[str]:
    """Those that may be connected to; never none.

    Raises:
        Forbidden: all of them are of the inside.
        Unavailable: there are none.
    """
    try:
        found = await resolve(host, port)
    except (OSError, UnicodeError) as error:  # the latter for names that cannot be one
        said = printable(str(getattr(error, "strerror", None) or error))
        raise Unavailable(f"{host}: no address is known: {said}") from error
    allowed = [each for each in found if not is_inside(each)]
    if not allowed:
        raise Forbidden(f"{host} leads to an address of the inside, where this proxy does not go")
    return allowed[:_MOST_TRIED]


@dataclass(frozen=True, slots=True)
class GuardedServer(Server):
    """A `Server` that a client named.

    Attributes:
        resolve: names to addresses.
    """

    resolve: Resolve = resolve

    async def connect(self, connection: Connection) -> None:
        """As `Server.connect`.

        Raises:
            Forbidden: it is one of the inside.
        """
        errors: list[UpstreamError] = []
        for address in await self._addresses():
            at = Server(self.base_url, address, self.port, self.options, self.tls)
            try:
                await at.connect(connection)
            except UpstreamError as error:
                errors.append(error)
            else:
                return
        raise errors[-1]

    async def _addresses(self) -> Sequence[str]:
        try:
            async with asyncio.timeout(self.options.timeout_s):
                return await allowed_addresses(self.host, self.port, self.resolve)
        except TimeoutError as error:
            raise TooSlow(stalled(self.base_url, self.options.timeout_s)) from error


class GuardedResolver(AbstractResolver):
    """The same for aiohttp's client, but for the servers that are configured."""

    def __init__(self, servers: frozenset[str], resolve: Resolve = resolve) -> None:
        """``servers`` (``host:port``) may have any address."""
        self._servers = servers
        self._resolve = resolve

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """As `AbstractResolver.resolve`.

        Raises:
            OSError: there is no address, or none that may be connected to.
        """
        if f"{host.lower()}:{port}" in self._servers:
            found = await self._resolve(host, port)
        else:
            try:
                found = await allowed_addresses(host, port, self._resolve)
            except UpstreamError as error:
                raise OSError(str(error)) from error
        return [_result(host, each, port) for each in found if _fits(each, family)]

    async def close(self) -> None:
        """Nothing is open."""


def was_forbidden(error: OSError) -> bool:
    """Whether the resolver above refused."""
    return isinstance(error.__cause__, Forbidden)


def _fits(address: str, family: socket.AddressFamily) -> bool:
    is_six = ":" in address
    return family == socket.AF_UNSPEC or (family == socket.AF_INET6) == is_six


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )
