"""``[serve]`` of the configuration: where clients find us, and what they may take."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from mirror.amounts import Size, problem
from mirror.cvmfs.limits import MIB
from mirror.serve.limits import ServeLimits
from mirror.serve.log_settings import AccessLogSettings
from mirror.tables import AbsolutePath, Table

_LIMITS: Final = ServeLimits()


def split_address(text: str) -> tuple[str, int]:
    """``host:port`` into its parts; ``[::1]:80`` for IPv6, ``:80`` or ``*:80`` for any host.

    Raises:
        ValueError: it is not of that form.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(text)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(text)
    return ("" if host == "*" else host), int(port)


def addresses(texts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Several of them.

    Raises:
        ValueError: one is none.
    """
    return tuple(split_address(each) for each in texts)


def _listen_address(text: str) -> str:
    try:
        split_address(text)
    except ValueError as error:
        raise problem(f"{text!r} is no address; write host:port, like [::]:8000") from error
    return text


ListenAddresses = Annotated[
    list[Annotated[str, AfterValidator(_listen_address)]], Field(min_length=1)
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class LimitSettings(Table):
    """What clients may take of each worker."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = _LIMITS.connections
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = (
        _LIMITS.connections_per_address
    )
    requests: Annotated[int, Field(ge=1)] = _LIMITS.requests
    line_bytes: Annotated[int, Field(ge=1024, le=MIB)] = _LIMITS.line_bytes
    headers: Annotated[int, Field(ge=16, le=1024)] = _LIMITS.headers
    header_s: Seconds = _LIMITS.header_s
    idle_s: Seconds = _LIMITS.idle_s
    stalled_s: Seconds = _LIMITS.stalled_s
    min_bytes_per_s: Annotated[int, Field(ge=0)] = _LIMITS.min_bytes_per_s
    drain_s: Annotated[float, Field(ge=0, le=3600)] = _LIMITS.drain_s

    @property
    def limits(self) -> ServeLimits:
        """As the serving core takes them."""
        return ServeLimits(**self.model_dump())


class TlsSettings(Table):
    """Serving with TLS."""

    listen: ListenAddresses
    certificate: AbsolutePath
    key: AbsolutePath


class ServeSettings(Table):
    """Where clients find us."""

    listen: ListenAddresses = Field(default=["127.0.0.1:8000"])
    workers: Annotated[int, Field(ge=1, le=256)] = os.cpu_count() or 1
    memory: Size = 256 * MIB
    open_files: Annotated[int, Field(ge=0, le=1_000_000)] = 1024
    limits: LimitSettings = LimitSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    tls: TlsSettings | None = None
