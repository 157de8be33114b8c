"""How much of what was sent a client has taken, by the kernel's own count."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

_BYTES_ACKED: Final = struct.Struct("@120xQ")
"""``tcpi_bytes_acked`` of ``struct tcp_info`` (Linux 4.1)."""
_NO_LINGERING: Final = struct.pack("ii", 1, 0)


def acknowledged_bytes(transport: asyncio.BaseTransport) -> int:
    """Bytes the other end has acknowledged since the connection began; 0 where nobody counts."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return 0
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
    except OSError:
        return 0  # closed meanwhile
    return int(_BYTES_ACKED.unpack(info)[0]) if len(info) == _BYTES_ACKED.size else 0


def cut(transport: asyncio.Transport) -> None:
    """End a connection for good: else the kernel would keep what was not taken for minutes."""
    connection = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
    transport.abort()
