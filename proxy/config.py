"""The settings of a proxy, from one TOML file; all its problems are reported at once.

README has the reference. Nothing in a file makes an open proxy: who may come in and where they may
be sent are looked at together (`proxy.openness`).
"""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from mirror.amounts import Size, problem
from mirror.cvmfs.limits import GIB, MIB
from mirror.serve.log_settings import AccessLogSettings
from mirror.serve_settings import (
    LimitSettings,
    ListenAddresses,
    Seconds,
    TlsSettings,
    addresses,
)
from mirror.tables import AbsolutePath, HttpUrl, Table
from mirror.toml_settings import read_text, tables, validated
from proxy.destinations import DEFAULT_PORTS, PRIVATE, is_an_address, is_spelled_oddly, server_of
from proxy.openness import objections

DEFAULT_CONFIG: Final = Path("/etc/cvmfs-mirror/proxy.toml")
_ANY_HOST: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not listened on
_HTTP_PORT: Final = 80
_LAST_RESERVED_PORT: Final = 1023


def _upstream(url: str) -> str:
    parts = urlsplit(url)
    if parts.path not in ("", "/", "/cvmfs", "/cvmfs/"):
        raise problem(f"{url!r} goes too far; write http://host:port, as far as /cvmfs")
    if "@" in parts.netloc or server_of(f"{parts.scheme}://{parts.netloc}") is None:
        raise problem(f"{url!r} is no URL of a mirror; write http://host:port")
    return f"{parts.scheme}://{parts.netloc}"


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise problem(f"{text!r} is no network; write 192.0.2.0/24 or 2001:db8::/32") from error


def _host(text: str) -> str:
    bare = text.strip("[]").lower()
    if is_an_address(bare) or "*" in bare:
        return bare
    if is_spelled_oddly(bare):
        raise problem(f"{text!r} is no name; write mirror.example.org or *.example.org")
    return bare


def _port(port: int) -> int:
    if port <= _LAST_RESERVED_PORT and port != _HTTP_PORT:
        raise problem(
            f"{port} belongs to another service; of those below 1024 only 80 is allowed. "
            "Write the server itself into servers if it is a mirror"
        )
    return port


def _server(text: str) -> str:
    found = server_of(f"http://{text}")
    if found is None or ":" not in text.rpartition("]")[2]:
        raise problem(f"{text!r} is no server; write mirror.example.org:8000")
    return f"{found[0]}:{found[1]}"


def _is_loopback(host: str) -> bool:
    bare = host.strip("[]")
    return bare == "localhost" or (is_an_address(bare) and ip_address(bare).is_loopback)


class ProxySettings(Table):
    """Where clients find us, and whom we ask."""

    listen: ListenAddresses = Field(default=["127.0.0.1:3128"])
    upstreams: list[Annotated[HttpUrl, AfterValidator(_upstream)]] = Field(default=[])
    order: Literal["configured", "latency"] = "configured"
    connections: Annotated[int, Field(ge=1, le=4096)] = 256
    timeout_s: Seconds = 3.0
    workers: Annotated[int, Field(ge=1, le=256)] = os.cpu_count() or 1
    memory: Size = 256 * MIB
    limits: LimitSettings = LimitSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    tls: TlsSettings | None = None

    @model_validator(mode="after")
    def _asks_somebody_else(self) -> Self:
        ours = set(addresses(self.listen))
        anywhere = {port for host, port in ours if host in _ANY_HOST}
        for url in self.upstreams:
            host, port = server_of(url) or ("", 0)
            is_here = port in anywhere and _is_loopback(host)
            if (host.strip("[]"), port) in ours or is_here:
                raise problem(f"upstreams: {url} is this proxy itself; name the mirror")
        return self


class CacheSettings(Table):
    """The disk tier."""

    directory: AbsolutePath | None = None
    size: Annotated[Size, Field(ge=64 * MIB)] = 10 * GIB


class AccessSettings(Table):
    """Who may use it, and where it goes."""

    clients: Annotated[list[Annotated[str, AfterValidator(_network)]], Field(min_length=1)] = Field(
        default=list(PRIVATE)
    )
    servers: list[Annotated[str, AfterValidator(_server)]] = Field(default=[])
    hosts: list[Annotated[str, AfterValidator(_host)]] = Field(default=[])
    ports: list[Annotated[int, Field(ge=1, le=65_535), AfterValidator(_port)]] = Field(
        default=list(DEFAULT_PORTS)
    )

    @model_validator(mode="after")
    def _is_no_open_proxy(self) -> Self:
        for found in objections(self.clients, self.hosts):
            raise problem(found)
        return self


class StaleSettings(Table):
    """What is given while no upstream answers."""

    root_files_s: Annotated[float, Field(ge=0, le=30 * 86_400)] = 86_400.0


class Settings(Table):
    """The whole file."""

    proxy: ProxySettings = ProxySettings()
    cache: CacheSettings = CacheSettings()
    access: AccessSettings = AccessSettings()
    stale: StaleSettings = StaleSettings()

    @model_validator(mode="after")
    def _has_somebody_to_ask(self) -> Self:
        access = self.access
        if not (self.proxy.upstreams or access.servers or access.hosts):
            raise problem(
                "proxy.upstreams: nobody is to be asked; add a mirror: --upstream http://mirror:8000"
            )
        return self


def load_settings(path: Path | None, instead: dict[str, Any]) -> Settings:
    """Read the file, and what the command line says instead.

    Args:
        path: None for the default one, which need not exist.
        instead: keys that go before those of the file, by table.

    Raises:
        ConfigError: something is wrong; every problem is listed with its key and the fix.
    """
    if path is None and not DEFAULT_CONFIG.exists():
        return validated(Settings, merged({}, instead), "command line")
    path = path or DEFAULT_CONFIG
    content = tables(read_text(path, "name yours with --config, or leave that out"), str(path))
    return validated(Settings, merged(content, instead), str(path))


def parse_settings(text: str, origin: str) -> Settings:
    """Read TOML text; ``origin`` names it in errors.

    Raises:
        ConfigError: as `load_settings`.
    """
    return validated(Settings, tables(text, origin), origin)


def merged(content: dict[str, Any], instead: dict[str, Any]) -> dict[str, Any]:
    """Both, the second one first; a table that is none is left for others to complain of."""
    found = dict(content)
    for name, table in instead.items():
        before = found.get(name, {})
        found[name] = before | table if isinstance(before, dict) else before
    return found
