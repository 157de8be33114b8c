"""One worker: listening sockets, a gate, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from mirror.geo.options import GeoOptions
from mirror.serve.access_log import open_access_log
from mirror.serve.app import AddRoutes, create_app
from mirror.serve.counters import Counters
from mirror.serve.forwarding import Forwarding
from mirror.serve.gate import Gate
from mirror.serve.geo import with_geo
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.limits import ServeLimits
from mirror.serve.listening import listening, url_of
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve.pass_through import Elsewhere, PassThrough, origins
from mirror.serve.shelf import Shelf
from mirror.serve.tree import Room, Tree
from mirror.serve.worker_options import WorkerOptions

_DRAIN_LOOK_S: Final = 0.05
_ROUNDS_TO_BE_LET_IN: Final = 8
_NEVER_S: Final = 365 * 86_400
CreateApp = Callable[[Gate], web.Application]


class Log(Protocol):
    """Files that are written to, and that others may rename meanwhile."""

    def reopen(self) -> None:
        """Go on in a file of the configured name."""

    def close(self) -> None:
        """Write what is left."""


class Worker:
    """Serves on sockets that somebody else opened, so that they outlive it."""

    def __init__(
        self, gate: Gate, create: CreateApp = create_app, logs: Sequence[Log] = ()
    ) -> None:
        """Answer through ``gate``; ``create`` makes aiohttp's side; the logs are ours to close."""
        limits = gate.limits
        self._gate = gate
        self._logs = tuple(logs)
        self._runner = web.AppRunner(
            create(gate),
            handle_signals=False,
            logger=_quiet(),
            access_log_class=gate.access_logger(),
            keepalive_timeout=_NEVER_S,  # the gate looks after idle connections
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

    def reopen(self) -> None:
        """Open the logs anew."""
        for each in self._logs:
            each.reopen()

    async def drain(self, within_s: float | None = None) -> None:
        """Take no new clients, and let those who are here end well, within the limit of time.

        Who waits in the queue of a socket is here, too: perhaps nobody else listens on it.
        """
        await self._let_in()
        for server in self._servers:
            server.close()
        self._gate.drain()
        await self._let_in()
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self._gate.limits.drain_s if within_s is None else within_s)
        while self._gate.connections and loop.time() < ends:  # noqa: ASYNC110 - an end of time too
            await asyncio.sleep(_DRAIN_LOOK_S)

    @staticmethod
    async def _let_in() -> None:
        """Give the event loop the rounds it needs from a client in the queue to a connection."""
        for _ in range(_ROUNDS_TO_BE_LET_IN):
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """End, whatever is going on."""
        for server in self._servers:
            server.close()
        self._gate.close()
        await self._runner.cleanup()
        for each in self._logs:
            each.close()


def _quiet() -> logging.Logger:
    """Where aiohttp tells of mistakes; those of clients, who learn of them, are nobody else's."""
    logger = logging.getLogger("mirror.serve.aiohttp")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def tree_worker(options: WorkerOptions) -> Worker:
    """A worker of a mirror, `WorkerOptions.job`: serves the trees of all replicas.

    Its options say where they lie (``storage``), how much of them is kept at hand (``room``), and
    how it is told (``access_log``). If they say so, it also answers requests of the Geo API from
    what is known of places (``geo``), has the daemon answer for itself at a socket (``daemon``),
    and passes requests on for repositories of which nothing is stored (``pass_through``).

    Raises:
        ConfigError: the log cannot be written.
    """
    about = options.about
    elsewhere = origins(about.get("pass_through", {}))
    tree: Shelf = Tree(Path(about["storage"]), Room(**about["room"]))
    shelf = Elsewhere(tree, elsewhere) if elsewhere else tree
    log = open_access_log(AccessLogSettings(**about["access_log"]))
    ledger = Ledger(counters_of(options), log.hear if log else None)
    logs, geo = [log] if log else [], about.get("geo")
    parts: list[AddRoutes] = [PassThrough(elsewhere)] if elsewhere else []
    if about.get("daemon") is not None:
        parts.append(Forwarding(Path(about["daemon"])))
    if geo is None:
        gate = Gate(shelf, ledger, options.limits)
        return Worker(gate, lambda it: create_app(it, *parts), logs)
    known = GeoOptions.unpack(geo)
    return Worker(*with_geo(shelf, ledger, options.limits, known, *parts), logs)


def counters_of(options: WorkerOptions) -> memoryview:
    """What the worker counts in: memory of the supervisor's, or else its own."""
    descriptor = options.descriptors.get("counters")
    if descriptor is None or options.number is None:
        return memoryview(bytearray(8 * COUNTERS)).cast("Q")
    return Counters(descriptor).slot(options.number)


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
