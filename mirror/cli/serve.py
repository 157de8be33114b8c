"""``cvmfs-mirror serve``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

import click

from mirror.cli.options import config_option, settings
from mirror.errors import ConfigError
from mirror.serve.workers import Plan, Workers
from mirror.serve_plan import serve_plan
from mirror.serve_settings import addresses

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_HURRY_S: Final = 2.0
"""For requests under way, when somebody at a terminal presses Ctrl-C."""


@click.command("serve")
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Listen here instead of where the configuration says; may be given several times.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
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
    heard: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for each in _SIGNALS:
        loop.add_signal_handler(each, heard.put_nowait, each)
    async with Workers(_say) as workers:
        await _follow(workers, read())
        end = await _obey(heard, workers, read)
        stopping = loop.create_task(workers.stop(_HURRY_S if end is signal.SIGINT else None))
        await _unless_again(heard, stopping, workers)


async def _obey(
    heard: asyncio.Queue[signal.Signals], workers: Workers, read: Callable[[], Plan]
) -> signal.Signals:
    """Do what signals ask for; gives the one that asks for the end."""
    reading: asyncio.Task[None] | None = None
    while (asked := await heard.get()) not in (signal.SIGTERM, signal.SIGINT):
        if asked is signal.SIGUSR1:
            workers.reopen()
        else:
            await _cancelled(reading)
            reading = asyncio.get_running_loop().create_task(_change(workers, read))
    await _cancelled(reading)
    return asked


async def _change(workers: Workers, read: Callable[[], Plan]) -> None:
    """Follow the configuration as it is now, if it is right."""
    try:
        await _follow(workers, read())
    except ConfigError as error:
        for problem in error.problems:
            _say(problem)
        _say("the configuration is not taken over; serving goes on as before")


async def _follow(workers: Workers, plan: Plan) -> None:
    await workers.follow(plan)
    for url in workers.urls:
        click.echo(f"serving {plan.about['storage']} at {url}/cvmfs/", err=True)


async def _unless_again(
    heard: asyncio.Queue[signal.Signals], stopping: asyncio.Task[None], workers: Workers
) -> None:
    """Wait for the end; who asks for it a second time gets it at once."""
    asking = asyncio.get_running_loop().create_task(heard.get())
    await asyncio.wait([stopping, asking], return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        workers.kill()
    await stopping
    await _cancelled(asking)


async def _cancelled(task: asyncio.Task[signal.Signals] | asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _say(problem: str) -> None:
    click.echo(f"cvmfs-mirror: {problem}", err=True)
