"""What a lane needs to know of a replica, and how its parent tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mirror.store.reserve import Floor
from mirror.store.staging import Staging
from mirror.upstream.concurrency import ConcurrencyRange
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """What a lane needs to know.

    Attributes:
        servers: the sources, in the order of their numbers.
        staging: where it writes.
        concurrency: bounds of the requests under way to each source.
        reserve: of the disk, that objects do not touch.
    """

    servers: Sequence[Server]
    staging: Staging
    concurrency: ConcurrencyRange
    reserve: Floor = field(default_factory=Floor)


def pack(options: LaneOptions) -> dict[str, object]:
    """What a lane is told when it is opened for a replica."""
    bounds = options.concurrency
    return {
        "root": str(options.staging.root),
        "prefix": options.staging.prefix,
        "concurrency": [bounds.initial, bounds.lowest, bounds.highest],
        "reserve": [options.reserve.share, options.reserve.most_bytes],
        "servers": [_pack_server(server) for server in options.servers],
    }


def _pack_server(server: Server) -> dict[str, object]:
    options = server.options
    return {
        "base_url": server.base_url,
        "timeout_s": options.timeout_s,
        "min_bytes_per_s": options.min_bytes_per_s,
        "proxy": options.proxy,
        "ca_bundle": str(options.ca_bundle) if options.ca_bundle else None,
    }


def unpack(described: dict[str, Any]) -> LaneOptions:
    """The inverse of `pack`."""
    servers = []
    for each in described["servers"]:
        bundle = each["ca_bundle"]
        options = HttpOptions(
            timeout_s=each["timeout_s"],
            min_bytes_per_s=each["min_bytes_per_s"],
            proxy=each["proxy"],
            ca_bundle=Path(bundle) if bundle else None,
        )
        servers.append(Server.at(each["base_url"], options))
    staging = Staging(Path(described["root"]), described["prefix"])
    concurrency, reserve = ConcurrencyRange(*described["concurrency"]), Floor(*described["reserve"])
    return LaneOptions(servers, staging, concurrency, reserve)
