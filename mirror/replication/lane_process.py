"""A lane as a process: ``python -P -m mirror.replication.lane_process DESCRIPTOR IO NICE``.

The descriptor is one end of a socket pair; the others say how much to give way (`mirror.priority`).
One process works for any number of replicas.
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from mirror.priority import Manners
from mirror.replication.lane import Lane
from mirror.replication.lane_options import MAX_MESSAGE_BYTES, unpack


class _Door:
    """Passes messages to the lanes of the replicas that are open."""

    def __init__(self, reply: Callable[[bytes], None]) -> None:
        self._reply = reply
        self._lanes: dict[int, Lane] = {}

    def hear(self, message: bytes) -> None:
        asked: dict[str, Any] = json.loads(message)
        match asked["do"]:
            case "open":
                self._lanes[asked["at"]] = Lane(unpack(asked), self._reply)
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

        def reply(message: bytes) -> None:
            if not writer.is_closing():  # else nobody hears it, and asyncio would log every attempt
                writer.write(message)

        door = _Door(reply)
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
    descriptor, io_priority, nice = sys.argv[1:]
    Manners(io_priority, int(nice)).show()
    asyncio.run(_serve(int(descriptor)))


if __name__ == "__main__":
    main()
