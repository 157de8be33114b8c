"""``cvmfs-mirror run``."""

from __future__ import annotations

import asyncio
from functools import partial

import click

from mirror.cli.options import config_option, settings
from mirror.cli.signals import Signals
from mirror.config import Settings
from mirror.daemon.running import running
from mirror.priority import give_way


@click.command("run")
@config_option
@click.pass_context
def command(context: click.Context) -> None:
    """Keep all replicas fresh and serve them, in the foreground, until SIGTERM or Ctrl-C.

    This is the service of a Stratum 1: each repository is looked at as often as it changes, news
    are fetched, verified and put before clients, who are served by processes of their own. Status
    is at /api/v1/status, for people: cvmfs-mirror status.

    SIGHUP reads the configuration anew, SIGUSR1 opens log files anew; no client notices either. On
    SIGTERM requests under way are completed, and whatever was fetched is kept.
    """
    configured = settings(context)
    give_way(configured.snapshot.io_priority, configured.snapshot.nice)
    asyncio.run(_run(partial(settings, context)))
    click.echo("stopped", err=True)


async def _run(read: partial[Settings]) -> None:
    signals = Signals()
    async with running(read, _say) as daemon:
        for url in daemon.workers.urls:
            click.echo(f"serving {daemon.settings.storage.path} at {url}/cvmfs/", err=True)
        await signals.obey(daemon.reload, daemon.reopen, _say)


def _say(message: str) -> None:
    click.echo(f"cvmfs-mirror: {message}", err=True)
