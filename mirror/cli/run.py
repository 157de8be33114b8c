"""``cvmfs-mirror run``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

import click

from mirror.cli.options import config_option, settings
from mirror.cli.signals import Signals
from mirror.config import Settings
from mirror.daemon.running import running
from mirror.priority import Manners

_log: Final = logging.getLogger(__name__)


@click.command("run")
@config_option
@click.pass_context
def command(context: click.Context) -> None:
    """Keep all replicas fresh and serve them, in the foreground, until SIGTERM or Ctrl-C.

    This is the service of a Stratum 1: each repository is looked at as often as it changes, news
    are fetched, verified and put before clients, who are served by processes of their own. Status
    is at /api/v1/status, for people: cvmfs-mirror status --live.

    SIGHUP reads the configuration anew, SIGUSR1 opens log files anew; no client notices either. On
    SIGTERM requests under way are completed, and whatever was fetched is kept.
    """
    _tell_on_stderr()
    asyncio.run(_run(partial(settings, context)))
    _say("stopped")


async def _run(read: Callable[[], Settings]) -> None:
    signals = Signals()
    snapshot = read().snapshot
    # lanes and threads work for snapshots; who serves is started by the main thread, as it is
    manners = Manners(snapshot.io_priority, snapshot.nice)
    executor = ThreadPoolExecutor(thread_name_prefix="work", initializer=manners.show)
    asyncio.get_running_loop().set_default_executor(executor)
    async with running(read, _say) as daemon:
        for url in daemon.workers.urls:
            _say(f"serving {daemon.settings.storage.path} at {url}/cvmfs/")
        for url in daemon.outward.urls:
            _say(f"status and push at {url}/api/v1/")
        within_s = await signals.obey(daemon.reload, daemon.reopen, _say)
        await signals.end(daemon.stop(within_s), daemon.workers.kill)


def _tell_on_stderr() -> None:
    """Logs and what is said go the same way, a line each, for the journal."""
    logging.basicConfig(level=logging.INFO, format="cvmfs-mirror: %(message)s")
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every ring


def _say(message: str) -> None:
    _log.info(message)
