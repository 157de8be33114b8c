"""``cvmfs-mirror resign``."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.cli.origin_options import (
    keys_option,
    load_keys,
    open_published,
    repository_options,
)
from mirror.cvmfs.fqrn import Fqrn
from mirror.stratum0.keys import WHITELIST_DAYS


@click.command("resign")
@repository_options
@keys_option
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    default=WHITELIST_DAYS,
    show_default=True,
    help="How long the new whitelist is valid.",
)
def command(name: Fqrn, into: Path, key_directory: Path, *, days: int) -> None:
    """Renew the whitelist of a repository published here.

    Clients refuse a repository whose whitelist has expired, so run this well before: once a week,
    say. Mirrors pick the new one up at their next snapshot. The manifest stays as it is.
    """
    repository, manifest = open_published(into, name)
    keys = load_keys(key_directory, name)
    with repository.locked():
        expires = repository.renew_whitelist(keys, manifest.root_catalog.algorithm, days)
    click.echo(f"{name}: whitelist valid until {expires:%Y-%m-%d %H:%M UTC}")
