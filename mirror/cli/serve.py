"""``cvmfs-mirror serve``."""

from __future__ import annotations

import asyncio

import click

from mirror.cli.options import config_option, run_async, settings
from mirror.config import Settings, split_address
from mirror.serve.running import serving


@click.command("serve")
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Listen here instead of where the configuration says; may be given several times.",
)
@config_option
@click.pass_context
def command(context: click.Context, *, listen: tuple[str, ...]) -> None:
    """Serve all replicas over HTTP, in the foreground, until SIGTERM or Ctrl-C.

    Clients use http://HOST:PORT/cvmfs/@fqrn@ in CVMFS_SERVER_URL. Replicas may be replaced by
    snapshots meanwhile.
    """
    configured = settings(context)
    try:
        addresses = [split_address(each) for each in listen or configured.serve.listen]
    except ValueError as error:
        raise click.BadParameter(f"{error} is no address; write host:port") from error
    try:
        run_async(_serve(configured, addresses))
    except KeyboardInterrupt:
        click.echo("stopped serving", err=True)


async def _serve(configured: Settings, addresses: list[tuple[str, int]]) -> None:
    async with serving(configured.storage.path, addresses) as urls:
        for url in urls:
            click.echo(f"serving {configured.storage.path} at {url}/cvmfs/", err=True)
        await asyncio.Event().wait()
