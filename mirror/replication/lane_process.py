"""A lane as a process of its own: ``python -P -m mirror.replication.lane_process DESCRIPTOR``.

The descriptor is one end of a socket pair. One process works for any number of replicas.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mirror.replication.lane import Lane, LaneOptions
from mirror.store.reserve import Floor
from mirror.store.staging import Staging
from mirror.upstream.concurrency import ConcurrencyRange
from mirror.upstream.lean import Server
from mirror.upstream.options import HttpOptions

MAX_MESSAGE_BYTES = 16 * 1024 * 1024


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


def _unpack(described: dict[str, Any]) -> LaneOptions:
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


class _Door:
    """Passes messages to the lanes of the replicas that are open."""

    def __init__(self, reply: Callable[[bytes], None]) -> None:
        self._reply = reply
        self._lanes: dict[int, Lane] = {}

    def hear(self, message: bytes) -> None:
        asked: dict[str, Any] = json.loads(message)
        match asked["do"]:
            case "open":
                self._lanes[asked["at"]] = Lane(_unpack(asked), self._reply)
            case "close":
                self._lanes.pop(asked["at"]).close()
                self._reply(json.dumps({"id": asked["id"]}).encode() + b"\n")
            case _:
                self._lanes[asked["at"]].hear(asked)

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.close()


async def _serve(descriptor: int) -> None:
    with socket.socket(fileno=descriptor) as ours:
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
        door = _Door(writer.write)
        try:
            while message := await reader.readline():
                door.hear(message)
        except ConnectionError:
            pass  # our parent has ended while we were telling it something
        finally:
            door.close()
            writer.close()


def main() -> None:
    """Run until the parent closes its end, or is no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    gc.freeze()  # what was imported stays
    asyncio.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
