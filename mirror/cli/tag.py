"""``cvmfs-mirror tag``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from mirror.cli.options import json_option
from mirror.cli.origin_options import (
    keys_option,
    load_keys,
    open_published,
    repository_options,
)
from mirror.cli.output import print_json
from mirror.cvmfs.fqrn import Fqrn
from mirror.stratum0.retagging import retag


@click.group("tag")
def command() -> None:
    """List, add and remove the named revisions of a repository published here."""


@command.command("list")
@repository_options
@json_option
def list_tags(name: Fqrn, into: Path, *, as_json: bool) -> None:
    """Show all tags, newest revision first."""
    repository, manifest = open_published(into, name)
    rows = repository.tags(manifest).rows
    if as_json:
        print_json(
            [
                {
                    "name": row.name,
                    "revision": row.revision,
                    "root": row.root.text,
                    "timestamp": row.timestamp,
                    "description": row.description,
                }
                for row in rows
            ]
        )
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("TAG", "REVISION", "PUBLISHED", "DESCRIPTION"):
        table.add_column(heading)
    for row in rows:
        when = datetime.fromtimestamp(row.timestamp, UTC)
        table.add_row(row.name, str(row.revision), f"{when:%Y-%m-%d %H:%M UTC}", row.description)
    Console().print(table)


@command.command("add")
@click.argument("tag")
@repository_options
@keys_option
@click.option("--message", metavar="TEXT", default="", help="What the tag is for.")
def add_tag(name: Fqrn, into: Path, key_directory: Path, *, tag: str, message: str) -> None:
    """Name the newest revision TAG."""
    repository, _ = open_published(into, name)
    keys = load_keys(key_directory, name)
    with repository.locked():
        manifest = retag(repository, keys, add=(tag, message))
    click.echo(f"{name}: revision {manifest.revision} is tagged {tag}")


@command.command("remove")
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@repository_options
@keys_option
def remove_tags(name: Fqrn, into: Path, key_directory: Path, *, tags: tuple[str, ...]) -> None:
    """Forget names. Their revisions stay until collect sweeps them."""
    repository, _ = open_published(into, name)
    keys = load_keys(key_directory, name)
    with repository.locked():
        retag(repository, keys, remove=tags)
    click.echo(f"{name}: removed {', '.join(tags)}")
