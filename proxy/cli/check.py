"""``cvmfs-proxy check``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxy.cli.options import proxy_options, settings


@click.command("check")
@proxy_options
def command(*, config: Path | None, **said: Any) -> None:  # noqa: ANN401 - see `proxy_options`
    """Say whether a configuration is right, and what it allows; nothing is started."""
    found = settings(config, said)
    access = found.access
    click.echo(f"clients   {', '.join(access.clients)}")
    click.echo(f"upstreams {', '.join(found.proxy.upstreams) or 'none'}")
    click.echo(f"servers   {', '.join(access.servers) or 'none beside the upstreams'}")
    hosts = ", ".join(access.hosts)
    ports = ", ".join(map(str, access.ports))
    click.echo(f"hosts     {f'{hosts} at ports {ports}' if hosts else 'none'}")
