"""``cvmfs-proxy run``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from mirror.cli.signals import Signals
from mirror.serve.workers import Workers
from proxy.cli.options import proxy_options, settings
from proxy.cli.report import report
from proxy.config import Settings
from proxy.plan import proxy_plan


@click.command("run")
@proxy_options
def command(*, config: Path | None, **said: Any) -> None:  # noqa: ANN401 - see `proxy_options`
    """Cache for the clients of a site, in the foreground, until SIGTERM or Ctrl-C.

    Works without any file: --upstream is all it needs. What is given here goes before what the
    configuration says.

    Clients use it as CVMFS_HTTP_PROXY=http://HOST:PORT (forward: they name the mirror), or as
    CVMFS_SERVER_URL=http://HOST:PORT/cvmfs/@fqrn@ (reverse: it asks its upstreams).

    Only addresses of private networks are let in, and only the upstreams are asked, unless [access]
    of the configuration says otherwise. There is no CONNECT, and no way to anything but CernVM-FS.

    SIGHUP reads the configuration anew, SIGUSR1 opens log files anew; no client notices either.
    SIGTERM ends it when clients have what they asked for.
    """
    with TemporaryDirectory(prefix="cvmfs-proxy.") as siblings:
        asyncio.run(_run(lambda: settings(config, said), Path(siblings)))


async def _run(read: Callable[[], Settings], siblings: Path) -> None:
    signals = Signals()
    async with Workers(_say) as workers:
        follow = partial(_follow, workers, read, siblings)
        await follow()
        within_s = await signals.obey(follow, workers.reopen, _say)
        await signals.end(workers.stop(within_s), workers.kill)
        click.echo(f"stopped serving; {report(workers.counters.totals())}", err=True)


async def _follow(workers: Workers, read: Callable[[], Settings], siblings: Path) -> None:
    found = read()
    await workers.follow(proxy_plan(found, siblings))
    asked = ", ".join(found.proxy.upstreams) or "whom clients name"
    for url in workers.urls:
        click.echo(f"caching {asked} at {url}", err=True)


def _say(problem: str) -> None:
    click.echo(f"cvmfs-proxy: {problem}", err=True)
