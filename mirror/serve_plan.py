"""From the configuration to what the supervisor of workers follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from mirror.config import Settings
from mirror.serve.tls import TlsFiles
from mirror.serve.tree import Room
from mirror.serve.workers import Plan
from mirror.serve_settings import addresses

_JOB: Final = "mirror.serve.running:tree_worker"


def serve_plan(
    settings: Settings,
    listen: Sequence[tuple[str, int]] = (),
    workers: int | None = None,
    daemon: Path | None = None,
) -> Plan:
    """The trees of all replicas, for clients.

    Args:
        settings: the configuration.
        listen: addresses instead of those for HTTP in the configuration; none: those.
        workers: how many, instead of what the configuration says.
        daemon: the socket of the one that answers for itself; None where none runs.
    """
    serve, tls = settings.serve, settings.serve.tls
    count = workers or serve.workers
    room = Room(memory_bytes=serve.memory // count, open_files=serve.open_files)
    return Plan(
        job=_JOB,
        about={
            "storage": str(settings.storage.path),
            "room": asdict(room),
            "access_log": serve.access_log.model_dump(),
            "geo": settings.geo.options.pack(),
            "pass_through": _passed(settings),
            "daemon": str(daemon) if daemon is not None else None,
        },
        limits=serve.limits.limits,
        listen=tuple(listen) or addresses(serve.listen),
        secure=addresses(tls.listen) if tls else (),
        tls=TlsFiles(tls.certificate, tls.key) if tls else None,
        workers=count,
        open_files=serve.open_files,
    )


def _passed(settings: Settings) -> dict[str, dict[str, object]]:
    """Of which nothing is stored, and where it is; `mirror.serve.pass_through.origins` reads it."""
    fetch = settings.fetch
    found: dict[str, dict[str, object]] = {}
    for each in settings.replica:
        if each.pass_through:
            bundle = each.ca_bundle or fetch.ca_bundle
            found[each.name] = {
                "urls": list(each.sources),
                "proxy": each.proxy or fetch.proxy,
                "ca_bundle": str(bundle) if bundle else None,
                "timeout_s": fetch.timeout_s,
            }
    return found
