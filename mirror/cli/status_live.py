"""``cvmfs-mirror status --live``: what a daemon says of itself."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mirror.cli.tables import new_table, print_table
from mirror.daemon.live import HEADINGS, fetch_status, remarks, row
from mirror.daemon.status_model import Status
from mirror.errors import ConfigError


def show_live(where: str, names: Sequence[str], *, as_json: bool) -> None:
    """Ask the daemon there, and show these repositories, or all if none is named.

    Raises:
        ConfigError: it has no repository of such a name.
        Unavailable, FormatError: it does not say.
    """
    status = _of(fetch_status(where), names)
    if as_json:
        click.echo(status.model_dump_json(indent=2))
        return
    table = new_table(HEADINGS)
    for told in status.repositories:
        table.add_row(*row(told, status.now))
    print_table(table)
    for remark in remarks(status):
        click.echo(remark)


def _of(status: Status, names: Sequence[str]) -> Status:
    known = {each.name: each for each in status.repositories}
    unknown = [f"{name} is not kept by this daemon" for name in names if name not in known]
    if unknown:
        raise ConfigError(unknown)
    wanted = [known[name] for name in dict.fromkeys(names)] if names else status.repositories
    return status.model_copy(update={"repositories": wanted})
