"""A worker of a proxy, `WorkerOptions.job`: the mirror's serving core over a cache."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from mirror.serve.access_log import open_access_log
from mirror.serve.app import AddRoutes, create_app
from mirror.serve.gate import Gate
from mirror.serve.ledger import Ledger
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve.running import Log, Worker, counters_of
from mirror.serve.worker_options import WorkerOptions
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.cache.disk import DiskTier
from proxy.destinations import Clients, Destinations, server_of
from proxy.fetching import Fetcher, by_latency, in_order
from proxy.fetching import Mirror as Upstream
from proxy.gate import ProxyGate
from proxy.guarded import GuardedServer
from proxy.pool import Pool
from proxy.refusals import only_reads
from proxy.relay import Relay
from proxy.roots import Freshness, Roots
from proxy.shelf import Cache, ProxyShelf, Room
from proxy.siblings.host import Host

JOB: Final = "proxy.running:proxy_worker"
_LOOK_S: Final = 0.1
_TIDY_EVERY_LOOKS: Final = 50
Listener = tuple[socket.socket, ssl.SSLContext | None]


@dataclass(frozen=True, slots=True)
class ProxyOptions:
    """What a worker of a proxy is told; all of it JSON can hold.

    Attributes:
        upstreams: base URLs of mirrors, ``http://mirror:8000``.
        order: ``configured`` or ``latency``.
        connections: to each upstream, at most.
        timeout_s: to connect, and for the first byte.
        memory_bytes: for objects.
        object_bytes: of one in memory.
        cache_directory: of the disk tier; None for none.
        cache_bytes: of it.
        hosts: that clients of the forward proxy may name, with wildcards.
        ports: likewise.
        servers: ``host:port`` that they may name whatever address it has, beside the upstreams.
        clients: networks of those who may use it; empty for those of a site.
        stale_s: how long root files are given while nobody answers.
        workers: how many share the cache.
        siblings: the directory where they find each other; None leaves each to itself.
        access_log: as `AccessLogSettings`.
    """

    upstreams: Sequence[str]
    order: str = "configured"
    connections: int = 256
    timeout_s: float = 3.0
    memory_bytes: int = 256 * 1024 * 1024
    object_bytes: int = 256 * 1024
    cache_directory: str | None = None
    cache_bytes: int = 0
    hosts: Sequence[str] = ()
    ports: Sequence[int] = (80, 8000, 8080)
    servers: Sequence[str] = ()
    clients: Sequence[str] = ()
    stale_s: float = 86_400.0
    workers: int = 1
    siblings: str | None = None
    access_log: dict[str, Any] = field(default_factory=dict)

    def pack(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """The inverse."""
        return cls(**packed)


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind a proxy's gate.

    Attributes:
        fetcher: brings what is not here.
        disk: keeps it; None for none.
        host: the other workers; None for none.
        tidy: lets go of what was replaced; called every few seconds.
    """

    fetcher: Fetcher
    disk: DiskTier | None
    host: Host | None
    tidy: Callable[[], None]


class ProxyWorker(Worker):
    """One that also looks after flights and the disk."""

    def __init__(
        self,
        gate: Gate,
        behind: Behind,
        logs: Sequence[Log],
        parts: Sequence[AddRoutes] = (),
    ) -> None:
        """Look after these while clients are served through the gate, and by further routes."""
        super().__init__(gate, lambda it: create_app(it, *parts), logs)
        self._fetcher = behind.fetcher
        self._disk = behind.disk
        self._tidy = behind.tidy
        self._host = behind.host
        self._looking: asyncio.Task[None] | None = None

    async def start(self, sockets: Sequence[Listener], backlog: int = 4096) -> None:
        """As `Worker.start`."""
        if self._host is not None:
            await self._host.open()
        await super().start(sockets, backlog)
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def drain(self, within_s: float | None = None) -> None:
        """As `Worker.drain`; the successor may write to the disk from now on."""
        if self._host is not None:
            self._host.leave()
        if self._disk is not None:
            await asyncio.to_thread(self._disk.release)
        if self._host is None:
            await super().drain(within_s)
        else:
            await asyncio.gather(super().drain(within_s), self._host.drain(within_s))

    async def stop(self) -> None:
        """As `Worker.stop`."""
        if self._looking is not None:
            self._looking.cancel()
        await super().stop()
        if self._host is not None:
            await self._host.stop()
        self._fetcher.close()
        if self._disk is not None:
            await asyncio.to_thread(self._disk.close)

    async def _look(self) -> None:
        for look in count(1):
            await asyncio.sleep(_LOOK_S)
            self._fetcher.look()
            if look % _TIDY_EVERY_LOOKS == 0:
                self._tidy()


def proxy_worker(options: WorkerOptions) -> Worker:
    """Make one.

    Raises:
        ConfigError: what it is told cannot be done.
    """
    about = ProxyOptions.unpack(dict(options.about))
    log = open_access_log(AccessLogSettings(**about.access_log)) if about.access_log else None
    ledger = Ledger(counters_of(options), log.hear if log else None)
    fetcher = _fetcher(about)
    disk = _disk(about, options.worker)
    host = _host(about, options.worker)
    directory = Path(about.cache_directory) if about.cache_directory else None
    cache = Cache(Room(about.memory_bytes, about.object_bytes), disk, directory)
    loop = asyncio.get_running_loop()
    destinations = _destinations(about)
    roots = Roots(Freshness(stale_s=about.stale_s), loop.time)
    shelf = ProxyShelf(cache, fetcher, destinations, roots, host.siblings if host else None)
    if host is not None:
        host.share(shelf)
    gate = ProxyGate(shelf, ledger, options.limits, _clients(about))
    relay = Relay(shelf, fetcher, destinations.servers, about.timeout_s)
    behind = Behind(fetcher, disk, host, shelf.tidy)
    return ProxyWorker(gate, behind, [log] if log else [], [relay, only_reads])


def _fetcher(about: ProxyOptions) -> Fetcher:
    options = HttpOptions(timeout_s=about.timeout_s, max_connections=about.connections)

    def mirror(url: str, kind: type[Server] = Server) -> Upstream:
        return Upstream(Pool(kind.at(f"{url.rstrip('/')}/cvmfs", options), about.connections))

    trusted = _servers(about)

    def named(url: str) -> Upstream:
        return mirror(url, Server if _host_and_port(url) in trusted else GuardedServer)

    order = by_latency if about.order == "latency" else in_order
    return Fetcher([mirror(url) for url in about.upstreams], named, order)


def _destinations(about: ProxyOptions) -> Destinations:
    return Destinations(tuple(about.hosts), tuple(about.ports), _servers(about))


def _clients(about: ProxyOptions) -> Clients:
    if not about.clients:
        return Clients()
    return Clients(tuple(ip_network(each) for each in about.clients))


def _servers(about: ProxyOptions) -> frozenset[str]:
    """Those that may have any address: somebody wrote them down."""
    written = [*about.upstreams, *(f"http://{each}" for each in about.servers)]
    return frozenset(_host_and_port(url) for url in written)


def _host_and_port(url: str) -> str:
    host, port = server_of(f"{urlsplit(url).scheme}://{urlsplit(url).netloc}") or ("", 0)
    return f"{host}:{port}"


def _host(about: ProxyOptions, worker: int) -> Host | None:
    if about.siblings is None or about.workers < 2:
        return None
    patience_s = about.timeout_s * (1 + len(about.upstreams))
    return Host(Path(about.siblings), worker % about.workers, about.workers, patience_s)


def _disk(about: ProxyOptions, worker: int) -> DiskTier | None:
    if about.cache_directory is None or not about.cache_bytes:
        return None

    def is_ours(partition: int) -> bool:
        return partition % about.workers == worker % about.workers

    return DiskTier(Path(about.cache_directory), about.cache_bytes, is_ours)
