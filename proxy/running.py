"""A worker of a proxy, `WorkerOptions.job`: the mirror's serving core over a cache."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from mirror.serve.access_log import open_access_log
from mirror.serve.app import create_app
from mirror.serve.counters import Counters
from mirror.serve.gate import Gate
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve.running import Log, Worker
from mirror.serve.worker_options import WorkerOptions
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions
from proxy.cache.disk import DiskTier
from proxy.destinations import Destinations
from proxy.fetching import Fetcher, by_latency, in_order
from proxy.fetching import Mirror as Upstream
from proxy.pool import Pool
from proxy.roots import Freshness, Roots
from proxy.shelf import Cache, ProxyShelf, Room

JOB: Final = "proxy.running:proxy_worker"
_LOOK_S: Final = 0.1
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
        stale_s: how long root files are given while nobody answers.
        workers: how many share the cache.
        access_log: as `AccessLogSettings`.
    """

    upstreams: Sequence[str]
    order: str = "configured"
    connections: int = 256
    timeout_s: float = 5.0
    memory_bytes: int = 256 * 1024 * 1024
    object_bytes: int = 256 * 1024
    cache_directory: str | None = None
    cache_bytes: int = 0
    hosts: Sequence[str] = ()
    ports: Sequence[int] = (80, 8000, 8080)
    stale_s: float = 86_400.0
    workers: int = 1
    access_log: dict[str, Any] = field(default_factory=dict)

    def pack(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def unpack(cls, packed: dict[str, Any]) -> Self:
        """The inverse."""
        return cls(**packed)


class ProxyWorker(Worker):
    """One that also looks after flights and the disk."""

    def __init__(
        self, gate: Gate, fetcher: Fetcher, disk: DiskTier | None, logs: Sequence[Log]
    ) -> None:
        """Look after these while clients are served through the gate."""
        super().__init__(gate, create_app, logs)
        self._fetcher = fetcher
        self._disk = disk
        self._looking: asyncio.Task[None] | None = None

    async def start(self, sockets: Sequence[Listener], backlog: int = 4096) -> None:
        """As `Worker.start`."""
        await super().start(sockets, backlog)
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def drain(self, within_s: float | None = None) -> None:
        """As `Worker.drain`; the successor may write to the disk from now on."""
        if self._disk is not None:
            await asyncio.to_thread(self._disk.release)
        await super().drain(within_s)

    async def stop(self) -> None:
        """As `Worker.stop`."""
        if self._looking is not None:
            self._looking.cancel()
        await super().stop()
        self._fetcher.close()
        if self._disk is not None:
            await asyncio.to_thread(self._disk.close)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._fetcher.look()


def proxy_worker(options: WorkerOptions) -> Worker:
    """Make one.

    Raises:
        ConfigError: what it is told cannot be done.
    """
    about = ProxyOptions.unpack(dict(options.about))
    log = open_access_log(AccessLogSettings(**about.access_log)) if about.access_log else None
    ledger = Ledger(_counters(options), log.hear if log else None)
    fetcher = _fetcher(about)
    disk = _disk(about, options.number or 0)
    directory = Path(about.cache_directory) if about.cache_directory else None
    cache = Cache(Room(about.memory_bytes, about.object_bytes), disk, directory)
    loop = asyncio.get_running_loop()
    shelf = ProxyShelf(
        cache, fetcher, _destinations(about), Roots(Freshness(stale_s=about.stale_s), loop.time)
    )
    gate = Gate(shelf, ledger, options.limits)
    return ProxyWorker(gate, fetcher, disk, [log] if log else [])


def _fetcher(about: ProxyOptions) -> Fetcher:
    options = HttpOptions(timeout_s=about.timeout_s, max_connections=about.connections)

    def mirror(url: str) -> Upstream:
        return Upstream(Pool(Server.at(f"{url.rstrip('/')}/cvmfs", options), about.connections))

    order = by_latency if about.order == "latency" else in_order
    return Fetcher([mirror(url) for url in about.upstreams], mirror, order)


def _destinations(about: ProxyOptions) -> Destinations:
    servers = frozenset(_host_and_port(url) for url in about.upstreams)
    return Destinations(tuple(about.hosts), tuple(about.ports), servers)


def _host_and_port(url: str) -> str:
    host = url.partition("://")[2].partition("/")[0].lower()
    return host if host.rpartition(":")[2].isdecimal() else f"{host}:80"


def _disk(about: ProxyOptions, number: int) -> DiskTier | None:
    if about.cache_directory is None or not about.cache_bytes:
        return None

    def is_ours(partition: int) -> bool:
        return partition % about.workers == number % about.workers

    return DiskTier(Path(about.cache_directory), about.cache_bytes, is_ours)


def _counters(options: WorkerOptions) -> memoryview:
    descriptor = options.descriptors.get("counters")
    if descriptor is None or options.number is None:
        return memoryview(bytearray(8 * COUNTERS)).cast("Q")
    return Counters(descriptor).slot(options.number)
