"""Who may come in: clients of the networks that are allowed.

That is decided once, when a connection is made. Those who may go on with the mirror's connection,
and every request costs what it costs there; all others are told the same whatever they ask.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from mirror.serve.clock import SERVER
from mirror.serve.connection import Connection
from mirror.serve.content import Outcome
from mirror.serve.gate import Gate
from mirror.serve.ledger import Ledger, Served
from mirror.serve.limits import ServeLimits
from mirror.serve.plain import Headers
from mirror.serve.resources import Kind
from mirror.serve.shelf import Shelf
from proxy.destinations import Clients

if TYPE_CHECKING:
    from collections.abc import Callable

_END: Final = b"\r\n\r\n"
_MOST_BYTES: Final = 64 * 1024
_NOBODY: Final = Headers("", "")
_PROXY_STATUS: Final = b"cvmfs-proxy; error=http_request_denied"


class ProxyGate(Gate):
    """A gate that asks where clients come from."""

    def __init__(
        self, shelf: Shelf, ledger: Ledger, limits: ServeLimits | None, clients: Clients
    ) -> None:
        """As `Gate`; let ``clients`` in."""
        super().__init__(shelf, ledger, limits)
        self.clients = clients

    def new_connection(self) -> Connection:
        """As `Gate.new_connection`."""
        return _ProxyConnection(self)


class _ProxyConnection(Connection):
    """Hands those who may not come in to somebody who says so."""

    __slots__ = ()
    _gate: ProxyGate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As `Connection.connection_made`."""
        super().connection_made(transport)
        if not self._gate.clients.allows(self.peer):
            outsider = _Outsider(self.peer, self._gate.ledger, self.connection_lost)
            cast("asyncio.Transport", transport).set_protocol(outsider)
            outsider.connection_made(transport)


class _Outsider(asyncio.Protocol):
    """Waits for a request, so that its refusal is read, and refuses it."""

    def __init__(self, peer: str, ledger: Ledger, lost: Callable[[Exception | None], None]) -> None:
        self._peer = peer
        self._ledger = ledger
        self._lost = lost
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is said to come from outside."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """It asks for something."""
        self._heard += data
        if self._transport.is_closing():
            return
        if _END in self._heard or len(self._heard) > _MOST_BYTES:
            line = self._heard.partition(b"\r\n")[0]
            text = b"403: %s is not in the networks that may use this proxy\n" % self._peer.encode()
            body = b"" if line.startswith(b"HEAD ") else text
            self._transport.write(_head(len(text)) + body)
            self._transport.close()
            self._enter(line if line.count(b" ") == 2 else b"- - -", len(body))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._lost(exc)

    def _enter(self, line: bytes, size: int) -> None:
        """As whatever is answered: the operator shall see who was turned away."""
        self._ledger.add(
            Served(self._peer, line, _NOBODY, 403, size, Outcome.ERROR, Kind.OTHER, 0.0, True)
        )


def _head(length: int) -> bytes:
    return (
        b"HTTP/1.1 403 Forbidden\r\nServer: %s\r\nProxy-Status: %s\r\nCache-Control: no-store\r\n"
        b"Connection: close\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
    ) % (SERVER.encode(), _PROXY_STATUS, length)
