"""``cvmfs-mirror serve``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import click

from mirror.cli.options import config_option, settings
from mirror.cli.signals import Signals
from mirror.serve.workers import Plan, Workers
from mirror.serve_plan import serve_plan
from mirror.serve_settings import addresses


@click.command("serve")
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Listen here instead of where the configuration says; may be given several times.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="So many processes instead of what the configuration says.",
)
@config_option
@click.pass_context
def command(context: click.Context, *, listen: tuple[str, ...], workers: int | None) -> None:
    """Serve all replicas over HTTP, in the foreground, until SIGTERM or Ctrl-C.

    Clients use http://HOST:PORT/cvmfs/@fqrn@ in CVMFS_SERVER_URL. Replicas may be replaced by
    snapshots meanwhile. SIGHUP reads the configuration anew, SIGUSR1 opens log files anew; no
    client notices either.
    """
    try:
        instead = addresses(listen)
    except ValueError as error:
        raise click.BadParameter(f"{error} is no address; write host:port") from error
    asyncio.run(_serve(lambda: serve_plan(settings(context), instead, workers)))
    click.echo("stopped serving", err=True)


async def _serve(read: Callable[[], Plan]) -> None:
    signals = Signals()
    async with Workers(_say) as workers:
        await _follow(workers, read)
        within_s = await signals.obey(partial(_follow, workers, read), workers.reopen, _say)
        await signals.end(workers.stop(within_s), workers.kill)


async def _follow(workers: Workers, read: Callable[[], Plan]) -> None:
    plan = read()
    await workers.follow(plan)
    for url in workers.urls:
        click.echo(f"serving {plan.about['storage']} at {url}/cvmfs/", err=True)


def _say(problem: str) -> None:
    click.echo(f"cvmfs-mirror: {problem}", err=True)
