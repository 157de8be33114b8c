"""``cvmfs-mirror export``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import click

from mirror.cli.import_replicas import REPOSITORIES
from mirror.cli.options import config_option, json_option, names_argument, settings
from mirror.cli.output import print_json
from mirror.config import DEFAULT_SPOOL, ReplicaSettings, Settings
from mirror.errors import ConfigError
from mirror.follow_settings import NAME_IN_URL
from mirror.handover.handing_back import ConfFile, Ours, conf_files
from mirror.handover.hosted import Hosted, read_all_hosted, read_defaults
from mirror.handover.small_files import Unreadable
from mirror.handover.written import hand_back
from mirror.replication.lock import replica_lock

_DIRECTORY: Final = click.Path(file_okay=False, path_type=Path)


@click.command("export")
@names_argument
@click.option(
    "--repositories",
    type=_DIRECTORY,
    default=REPOSITORIES,
    show_default=True,
    help="The configuration of cvmfs_server, a directory for each repository.",
)
@click.option(
    "--stratum1",
    default=f"http://localhost/cvmfs/{NAME_IN_URL}",
    show_default=True,
    metavar="URL",
    help="Where this host serves replicas; cvmfs_server reads its own reflogs from there.",
)
@click.option("--write", is_flag=True, help="Write the files; otherwise they are only shown.")
@click.option("--force", is_flag=True, help="Replace files that say something else.")
@json_option
@config_option
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    repositories: Path,
    stratum1: str,
    *,
    write: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Hand replicas back to cvmfs_server.

    Shows the server.conf and replica.conf with which it can go on where we are; with --write they
    are written, with the checksum of the reflog. Without NAME, all that are configured. Stop
    cvmfs-mirror run afterwards; until then both wait for each other.

    \b
    Example:
      cvmfs-mirror export
      cvmfs-mirror export --write
    """  # noqa: D301 - \b is the character that click wants
    configured = settings(context)
    wanted = [_ours(configured, each, stratum1) for each in configured.select(names)]
    handed = _handed(wanted, repositories)
    if write:
        _write(wanted, handed, force=force)
    if as_json:
        print_json(_as_json(handed, is_written=write))
        return
    for each in configured.select(names):
        _show(each, handed[each.name], is_written=write)
    if configured.storage.spool != DEFAULT_SPOOL:
        click.echo(
            f"cvmfs_server looks for checksums of reflogs in {DEFAULT_SPOOL} only; "
            f"link it to {configured.storage.spool}",
            err=True,
        )


def _handed(wanted: list[Ours], repositories: Path) -> dict[str, list[ConfFile]]:
    """The files of each, by name; where it has some already, some of them under an alias, there."""
    try:
        known = read_all_hosted(repositories) if repositories.exists() else []
        defaults = read_defaults(repositories)
    except Unreadable as error:
        raise ConfigError([str(error)]) from error
    aliases = {each.fqrn.name: each.alias for each in known if isinstance(each, Hosted)}
    return {
        each.name: conf_files(each, repositories / aliases.get(each.name, each.name), defaults)
        for each in wanted
    }


def _ours(configured: Settings, each: ReplicaSettings, stratum1: str) -> Ours:
    storage, fetch = configured.storage, configured.fetch
    bundle = each.ca_bundle or fetch.ca_bundle
    return Ours(
        name=each.name,
        stratum0=each.stratum0,
        stratum1=stratum1.replace(NAME_IN_URL, each.name),
        tree=storage.path / each.name,
        spool=storage.spool / each.name,
        keys=each.keys,
        proxy=each.proxy or fetch.proxy,
        ca_bundle=bundle,
        timeout_s=math.ceil(fetch.timeout_s),
        retries=fetch.retries,
        is_pass_through=each.pass_through,
    )


def _write(wanted: list[Ours], handed: dict[str, list[ConfFile]], *, force: bool) -> None:
    """All of them, or none where one says something else."""
    differences = [line for files in handed.values() for each in files for line in each.differs]
    if differences and not force:
        raise ConfigError([*differences, "nothing was written; --force replaces these files"])
    for each in wanted:
        with replica_lock(each.spool):
            hand_back(each, handed[each.name])


def _show(each: ReplicaSettings, files: list[ConfFile], *, is_written: bool) -> None:
    for file in files:
        if file.is_there:
            click.echo(f"{file.path}: there already", err=True)
        elif is_written:
            click.echo(f"{file.path}: written", err=True)
        else:
            click.echo(f"# {file.path}\n{file.text}")
            for line in file.differs:
                click.echo(line, err=True)
    if each.mirrors:
        click.echo(f"{each.name}: cvmfs_server asks Stratum 0 only, not its mirrors", err=True)


def _as_json(handed: dict[str, list[ConfFile]], *, is_written: bool) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "path": str(file.path),
            "state": "same" if file.is_there else "written" if is_written else "to be written",
            "differs": file.differs,
            "text": file.text,
        }
        for name, files in handed.items()
        for file in files
    ]
