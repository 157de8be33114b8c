"""How to talk to servers; the same for every client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from mirror.errors import ConfigError


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to talk to servers.

    Attributes:
        timeout_s: to connect, to wait for the first byte, and the window of ``min_bytes_per_s``;
            from the request to the end of the answer's headers twice as long.
        min_bytes_per_s: slower than this over a whole window is `TooSlow`.
        max_connections: open at once, to one server.
        follow_redirects: whether a 3xx is obeyed.
        proxy: a forward proxy, ``http://host:port``; None goes directly.
        ca_bundle: certificate authorities for HTTPS instead of the system's.
    """

    timeout_s: float = 10.0
    min_bytes_per_s: int = 1024
    max_connections: int = 256
    follow_redirects: bool = False
    proxy: str | None = None
    ca_bundle: Path | None = None


def tls_context(ca_bundle: Path | None) -> ssl.SSLContext:
    """What a server's certificate is checked against.

    Raises:
        ConfigError: the CA bundle cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"ca_bundle {ca_bundle}: not readable as PEM: {error}"]) from error
