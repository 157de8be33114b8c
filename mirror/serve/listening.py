"""Sockets on which clients are awaited.

Each worker has sockets of its own for the same addresses (``SO_REUSEPORT``): the kernel shares
clients out among them. They belong to the supervisor, so a client that waits in the queue of one
whose worker is replaced is taken by the next worker, and not lost.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mirror.errors import ConfigError

BACKLOG: Final = 4096
Address = tuple[str, int]
_NOT_ON_THIS_HOST: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_ADVICE: Final = (
    (errno.EADDRINUSE, "another program has the port"),
    (errno.EACCES, "ports below 1024 need CAP_NET_BIND_SERVICE"),
    (errno.EADDRNOTAVAIL, "this host has no such address"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen: a host and port of the configuration, resolved."""

    family: int
    host: str
    port: int

    def require_free(self) -> None:
        """Nobody else listens there, whom ``SO_REUSEPORT`` would let us share clients with.

        Raises:
            OSError: somebody does, or nobody could.
        """
        with closing(_bound((self.host, self.port), self.family, is_shared=False)):
            pass


Listeners = tuple[socket.socket, ...]
_NONE: Final[Mapping[Place, Listeners]] = MappingProxyType({})


def places(address: Address) -> list[Place]:
    """What a host and port mean; a name or an empty host may mean several places.

    Raises:
        ConfigError: the name is not known.
    """
    host, port = address
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except UnicodeError as error:
        raise ConfigError([f"cannot listen on {host}:{port}: that is no name of a host"]) from error
    except OSError as error:
        raise ConfigError([refusal(address, error)]) from error
    return list(dict.fromkeys(Place(family, str(at[0]), int(at[1])) for family, *_, at in found))


@contextmanager
def listening(addresses: Sequence[Address]) -> Iterator[list[socket.socket]]:
    """Listen on all of them, for this process alone.

    Raises:
        ConfigError: an address cannot be listened on.
    """
    with ExitStack() as opened:
        yield [
            opened.enter_context(each)
            for address in addresses
            for sockets in listen(address, 1).values()
            for each in sockets
        ]


def listen(
    address: Address, count: int, known: Mapping[Place, Listeners] = _NONE
) -> dict[Place, Listeners]:
    """So many sockets for each place an address means; of those in ``known``, only what lacks.

    A place this host does not have is passed over if the address means another one, too.

    Raises:
        ConfigError: it cannot be listened on, and then nothing was opened.
    """
    found: dict[Place, Listeners] = {}
    missing: OSError | None = None
    with ExitStack() as opened:
        for place in places(address):
            try:
                found[place] = _listen(place, count, known, opened)
            except OSError as error:
                if error.errno not in _NOT_ON_THIS_HOST:
                    raise ConfigError([refusal(address, error)]) from error
                missing = error
        if missing is not None and not found:
            raise ConfigError([refusal(address, missing)]) from missing
        opened.pop_all()
    return found


def bound(address: Address, family: int) -> socket.socket:
    """One more socket for an address that is listened on already, by us.

    Raises:
        OSError: it cannot be.
    """
    listener = _bound(address, family, is_shared=True)
    try:
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def refusal(address: Address, error: OSError) -> str:
    """Why an address cannot be listened on."""
    host, port = address
    advice = dict(_ADVICE).get(error.errno or 0, "is the address right?")
    return f"cannot listen on {host or '*'}:{port}: {error.strerror}; {advice}"


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Where clients find it."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bound(address: Address, family: int, *, is_shared: bool) -> socket.socket:
    # the protocol has to be named: asyncio sends without delay only what it knows to be TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def _listen(
    place: Place, count: int, known: Mapping[Place, Listeners], opened: ExitStack
) -> Listeners:
    sockets = list(known.get(place, ())[:count])
    if not sockets and place.port not in {each.port for each in known}:
        place.require_free()
    while len(sockets) < count:
        # port 0 is whichever is free, but the same for all
        port = sockets[0].getsockname()[1] if sockets else place.port
        sockets.append(opened.enter_context(bound((place.host, port), place.family)))
    return tuple(sockets)
