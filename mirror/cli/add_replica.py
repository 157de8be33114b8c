"""``cvmfs-mirror add-replica``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from mirror import wiring
from mirror.cli.options import config_option, config_path, run_async
from mirror.config import ReplicaSettings, Settings
from mirror.config_file import ConfigFile
from mirror.cvmfs.manifest import Manifest
from mirror.events import Event, SourcePassedOver
from mirror.replication.lock import replica_lock
from mirror.replication.replica import served_manifest
from mirror.replication.snapshot import SnapshotRun


@click.command("add-replica")
@click.argument("name")
@click.argument("stratum0", metavar="STRATUM0_URL")
@click.argument("keys", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--storage",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where replicas lie, if the configuration file is new.  [default: /srv/cvmfs]",
)
@click.option(
    "--mirror",
    "mirrors",
    multiple=True,
    metavar="URL",
    help="Another server that has it, asked before Stratum 0; may be repeated.",
)
@click.option("--offline", is_flag=True, help="Do not ask Stratum 0 whether all this is right.")
@config_option
@click.pass_context
def command(
    context: click.Context,
    name: str,
    stratum0: str,
    keys: Path,
    *,
    storage: Path | None,
    mirrors: tuple[str, ...],
    offline: bool,
) -> None:
    """Add a repository to the configuration, after a look at its Stratum 0.

    NAME is the fully qualified repository name, STRATUM0_URL where it is published, KEYS the file
    or directory of master keys (*.pub). The manifest there must be signed for NAME under these
    keys; with mirrors, that of one of them will do, and the others are told. A tree that
    cvmfs_server left at the storage path is adopted as it is. Comments in the configuration file
    stay.

    \b
    Example:
      cvmfs-mirror add-replica software.example.org \\
          http://stratum0.example.org/cvmfs/software.example.org /etc/cvmfs/keys/example.org
    """  # noqa: D301 - \b is the character that click wants
    path = config_path(context)
    table: dict[str, object] = {"name": name, "stratum0": stratum0, "keys": str(keys.absolute())}
    if mirrors:
        table["mirrors"] = list(mirrors)
    file = ConfigFile(path, storage)
    file.add_replica(table)
    configured = file.settings
    each = configured.select((name,))[0]
    if not offline:
        manifest = run_async(probe(configured, each))
        click.echo(f"{name}: signed under {keys}, at revision {manifest.revision}")
    served = run_async(_adopt(configured, each))
    file.write()
    if served is not None:
        click.echo(f"{name}: adopted the tree that is there, serving revision {served.revision}")
    click.echo(f"{name}: added to {path}; next: cvmfs-mirror snapshot {name}")


async def probe(configured: Settings, each: ReplicaSettings) -> Manifest:
    """What its sources have, if it is signed for that name under these keys."""
    replica = wiring.replica(configured, each)
    async with (
        wiring.shared(configured) as common,
        wiring.upstream(configured, each, _warn, common) as upstream,
    ):
        return await SnapshotRun(replica, upstream, datetime.now(UTC), _warn).probe()


def _warn(event: Event) -> None:
    """A source that is of no use now may be so later, but whoever adds it wants to know."""
    if isinstance(event, SourcePassedOver):
        click.echo(f"cvmfs-mirror: {event.fqrn}: {event.source}: {event.reason}", err=True)


async def _adopt(configured: Settings, each: ReplicaSettings) -> Manifest | None:
    replica = wiring.replica(configured, each)
    with replica_lock(replica.spool):
        await replica.store.prepare()
    return await served_manifest(replica.store, replica.limits)
