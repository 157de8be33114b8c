"""``cvmfs-mirror demo``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from mirror.cli.options import run_async
from mirror.cli.progress import shown_progress
from mirror.demo.stratum0 import FQRN
from mirror.demo.tour import Tour


@click.command("demo")
@click.option("--once", is_flag=True, help="Check every step and exit, instead of serving on.")
def command(*, once: bool) -> None:
    """Show the main job on this machine, with a real repository, in a minute.

    Serves a repository that the real tools published as Stratum 0, replicates it, serves the
    replica, lets Stratum 0 publish its next revision and shows it arriving. Uses free ports on
    127.0.0.1 and a temporary directory, which goes away at the end.
    """
    with tempfile.TemporaryDirectory(prefix="cvmfs-mirror-demo.") as directory:
        tour = Tour(Path(directory), click.echo, lambda: shown_progress(FQRN, quiet=False))
        try:
            run_async(tour.walk(once=once))
        except KeyboardInterrupt:
            if once:
                raise
            click.echo("the demo is over")
            return
        click.echo("Everything worked.")
