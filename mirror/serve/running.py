"""One worker: listening sockets, a gate, and an orderly end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from aiohttp import web

from mirror.serve.app import create_app
from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.limits import ServeLimits
from mirror.serve.listening import listening, url_of
from mirror.serve.tree import Tree

_DRAIN_LOOK_S: Final = 0.05
CreateApp = Callable[[Gate], web.Application]


class Worker:
    """Serves on sockets that somebody else opened, so that they outlive it."""

    def __init__(self, gate: Gate, create: CreateApp = create_app) -> None:
        """Answer through ``gate``; ``create`` makes aiohttp's side."""
        limits = gate.limits
        self._gate = gate
        self._runner = web.AppRunner(
            create(gate),
            handle_signals=False,
            access_log_class=gate.access_logger(),
            keepalive_timeout=0,  # the gate looks after idle connections
            max_line_size=limits.line_bytes,
            max_field_size=limits.line_bytes,
            max_headers=limits.headers,
        )
        self._servers: list[asyncio.Server] = []

    async def start(
        self, sockets: Sequence[tuple[socket.socket, ssl.SSLContext | None]], backlog: int = 4096
    ) -> None:
        """Let clients in."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("aiohttp made no server")
        self._gate.open(server)
        loop = asyncio.get_running_loop()
        for listener, tls in sockets:
            self._servers.append(
                await loop.create_server(
                    self._gate.new_connection,
                    sock=listener.dup(),
                    ssl=tls,
                    backlog=backlog,
                    ssl_handshake_timeout=self._gate.limits.header_s if tls else None,
                )
            )

    async def drain(self) -> None:
        """Take no new clients, and let those who are here end well, within the limit of time."""
        for server in self._servers:
            server.close()
        self._gate.drain()
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._gate.limits.drain_s
        while self._gate.connections and loop.time() < ends:  # noqa: ASYNC110 - an end of time too
            await asyncio.sleep(_DRAIN_LOOK_S)

    async def stop(self) -> None:
        """End, whatever is going on."""
        for server in self._servers:
            server.close()
        self._gate.close()
        await self._runner.cleanup()


@asynccontextmanager
async def serving(
    storage: Path,
    addresses: Sequence[tuple[str, int]],
    limits: ServeLimits | None = None,
    *,
    is_fast: bool = True,
) -> AsyncIterator[list[str]]:
    """Serve the trees below ``storage`` in this process; gives the URLs, with the ports taken.

    Args:
        storage: holds a directory for each repository.
        addresses: host and port each; an empty host is any, port 0 is whichever is free.
        limits: what clients may take.
        is_fast: answer plain requests without parsing them.

    Raises:
        ConfigError: an address cannot be listened on.
    """
    ledger = Ledger(memoryview(bytearray(8 * COUNTERS)).cast("Q"))
    with listening(addresses) as sockets:
        worker = Worker(Gate(Tree(storage), ledger, limits, is_fast=is_fast))
        await worker.start([(each, None) for each in sockets])
        try:
            yield [url_of(each) for each in sockets]
        finally:
            await worker.stop()
