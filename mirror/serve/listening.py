"""Sockets on which clients are awaited.

Each worker has sockets of its own for the same addresses (``SO_REUSEPORT``): the kernel shares
clients out among them. They belong to the supervisor, so a client that waits in the queue of one
whose worker is replaced is taken by the next worker, and not lost.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from mirror.errors import ConfigError

_BACKLOG: Final = 4096
Address = tuple[str, int]


@contextmanager
def listening(addresses: Sequence[Address]) -> Iterator[list[socket.socket]]:
    """Listen on all of them; a name or an empty host may mean several sockets.

    Raises:
        ConfigError: an address cannot be listened on.
    """
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(each) for address in addresses for each in _listen(*address)
        ]
        yield sockets


def bound(address: tuple[str, int], family: int) -> socket.socket:
    """One more socket for an address that is listened on already.

    Raises:
        OSError: it cannot be.
    """
    # the protocol has to be named: asyncio sends without delay only what it knows to be TCP
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Where clients find it."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _listen(host: str, port: int) -> list[socket.socket]:
    opened: list[socket.socket] = []
    try:
        for family, _, _, _, address in _resolved(host, port):
            opened.append(bound((str(address[0]), int(address[1])), family))
    except OSError as error:
        for each in opened:
            each.close()
        raise ConfigError(
            [f"cannot listen on {host}:{port}: {error.strerror}; is the port taken?"]
        ) from error
    return opened


def _resolved(host: str, port: int) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys(found))  # type: ignore[arg-type]  # typeshed knows no plain tuple
