"""Names that hosts usually know."""

from __future__ import annotations

import socket

import pytest


def _is_known(name: str) -> bool:
    try:
        socket.getaddrinfo(name, 80)
    except OSError:
        return False
    return True


needs_localhost = pytest.mark.skipif(
    not _is_known("localhost"),
    reason="this host does not know the name localhost",
)
