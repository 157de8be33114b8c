"""A lane as a process of its own: ``python -P -m mirror.replication.lane_process DESCRIPTOR``.

The descriptor is one end of a socket pair; the first message says what to do (`LaneOptions`).
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from mirror.replication.lane import Lane, LaneOptions
from mirror.store.reserve import Floor
from mirror.store.staging import Staging
from mirror.upstream.concurrency import ConcurrencyRange
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


def pack(options: LaneOptions) -> bytes:
    """The first message."""
    bounds = options.concurrency
    described = {
        "root": str(options.staging.root),
        "prefix": options.staging.prefix,
        "concurrency": [bounds.initial, bounds.lowest, bounds.highest],
        "reserve": [options.reserve.share, options.reserve.most_bytes],
        "servers": [_pack_server(server) for server in options.servers],
    }
    return json.dumps(described).encode() + b"\n"


def _pack_server(server: Server) -> dict[str, object]:
    options = server.options
    return {
        "base_url": server.base_url,
        "timeout_s": options.timeout_s,
        "min_bytes_per_s": options.min_bytes_per_s,
        "proxy": options.proxy,
        "ca_bundle": str(options.ca_bundle) if options.ca_bundle else None,
    }


def _unpack(message: bytes) -> LaneOptions:
    described: dict[str, Any] = json.loads(message)
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


async def _serve(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as door:
        reader, writer = await asyncio.open_connection(sock=door, limit=MAX_MESSAGE_BYTES)
        lane = Lane(_unpack(await reader.readline()), writer.write)
        try:
            while message := await reader.readline():
                lane.hear(message)
        finally:
            lane.close()
            writer.close()


def main() -> None:
    """Run until the parent closes its end, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    gc.disable()  # nothing here makes cycles by the thousand, and it ends soon
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
