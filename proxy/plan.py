"""From the configuration to what the supervisor of workers follows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mirror.serve.tls import TlsFiles
from mirror.serve.workers import Plan
from mirror.serve_settings import addresses
from proxy.config import Settings
from proxy.running import JOB, ProxyOptions

_OPEN_FILES: Final = 8192
"""Objects on the disk that are kept open, segments of it, and connections to mirrors."""


def proxy_plan(settings: Settings, siblings: Path | None = None) -> Plan:
    """A proxy, for the clients of a site; its workers find each other in ``siblings``."""
    proxy, tls = settings.proxy, settings.proxy.tls
    return Plan(
        job=JOB,
        about=_options(settings, siblings).pack(),
        limits=proxy.limits.limits,
        listen=addresses(proxy.listen),
        secure=addresses(tls.listen) if tls else (),
        tls=TlsFiles(tls.certificate, tls.key) if tls else None,
        workers=proxy.workers,
        open_files=_OPEN_FILES,
    )


def _options(settings: Settings, siblings: Path | None) -> ProxyOptions:
    proxy, cache, access = settings.proxy, settings.cache, settings.access
    return ProxyOptions(
        upstreams=proxy.upstreams,
        order=proxy.order,
        connections=proxy.connections,
        timeout_s=proxy.timeout_s,
        memory_bytes=proxy.memory // proxy.workers,
        cache_directory=str(cache.directory) if cache.directory else None,
        cache_bytes=cache.size,
        hosts=access.hosts,
        ports=access.ports,
        servers=access.servers,
        clients=access.clients,
        stale_s=settings.stale.root_files_s,
        workers=proxy.workers,
        access_log=proxy.access_log.model_dump(),
        siblings=str(siblings) if siblings else None,
    )
