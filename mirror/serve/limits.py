"""What one client, and all of them together, may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """Limits of one worker process.

    Attributes:
        line_bytes: of a request line, and of each header.
        headers: in one request.
        connections: open at once.
        connections_per_address: of one client address, of these.
        idle_s: between requests.
        header_s: from the first byte of a request to the end of its headers.
        stalled_s: how long a client may take less than ``min_bytes_per_s`` of an answer.
        min_bytes_per_s: what it has to take.
        requests: on one connection; then it is closed, so that load can move.
        drain_s: for requests under way when the worker is told to stop.
    """

    line_bytes: int = 8190
    headers: int = 64
    connections: int = 10_000
    connections_per_address: int = 2_000
    idle_s: float = 75.0
    header_s: float = 15.0
    stalled_s: float = 30.0
    min_bytes_per_s: int = 1024
    requests: int = 1_000_000
    drain_s: float = 20.0
