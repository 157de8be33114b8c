"""``cvmfs-mirror demo``."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from mirror.cli.options import run_async
from mirror.cli.progress import shown_progress
from mirror.demo.stratum0 import OwnContentStratum0, RecordedStratum0
from mirror.demo.tour import Tour


@click.command("demo")
@click.option("--once", is_flag=True, help="Check every step and exit, instead of serving on.")
@click.option(
    "--content",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Publish this directory of yours, instead of the repository that comes with the program.",
)
def command(*, once: bool, content: Path | None) -> None:
    """Show the main job on this machine, with a real repository, in a minute.

    Serves a repository that the real tools published as Stratum 0, replicates it, serves the
    replica, lets Stratum 0 publish its next revision and shows it arriving. With --content, your
    own directory is published first, and then again with one file more. Uses free ports on
    127.0.0.1 and a temporary directory, which goes away at the end; your directory is only read.
    """
    with tempfile.TemporaryDirectory(prefix="cvmfs-mirror-demo.") as directory:
        place = Path(directory)
        stratum0 = OwnContentStratum0(place, content) if content else RecordedStratum0(place)
        tour = Tour(stratum0, place, click.echo, lambda: shown_progress(quiet=False))
        try:
            run_async(tour.walk(once=once))
        except KeyboardInterrupt:
            if once:
                raise
            click.echo("the demo is over")
            return
        click.echo("Everything worked.")
