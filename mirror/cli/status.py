"""``cvmfs-mirror status``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from mirror import wiring
from mirror.cli.options import config_option, json_option, names_argument, run_async, settings
from mirror.cli.output import age_text, duration_text, print_json
from mirror.cli.tables import new_table, print_table
from mirror.config import ReplicaSettings, Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.limits import Limits
from mirror.cvmfs.paths import WHITELIST
from mirror.cvmfs.whitelist import Whitelist
from mirror.errors import FormatError, StoreError
from mirror.replication.lock import is_locked
from mirror.replication.replica import served_manifest
from mirror.replication.state import last_snapshot


@dataclass(frozen=True, slots=True)
class ReplicaStatus:
    """What is known of one replica without asking anybody else.

    Attributes:
        name: of the repository.
        stratum0: where it comes from.
        state: ``served``, ``no snapshot yet``, or what is wrong.
        is_snapshotting: whether somebody is writing to it now.
        revision: served; None for nothing.
        published_at: when that was signed.
        last_snapshot: when the last one ended well.
        whitelist_expires: from then on clients refuse the repository.
    """

    name: str
    stratum0: str
    state: str
    is_snapshotting: bool = False
    revision: int | None = None
    published_at: datetime | None = None
    last_snapshot: datetime | None = None
    whitelist_expires: datetime | None = None


@click.command("status")
@names_argument
@click.option(
    "--live",
    is_flag=True,
    help="Ask the daemon of this host: lag, alarms, progress, and what to do.",
)
@click.option("--url", help="Ask a daemon elsewhere, http://HOST:PORT; goes with --live.")
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="Ask the daemon at this socket instead of the configured one; goes with --live.",
)
@json_option
@config_option
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    *,
    live: bool,
    url: str | None,
    socket: Path | None,
    as_json: bool,
) -> None:
    """Show what is served, how old it is, and what is under way.

    Looks at the files of this host and asks nobody, unless --live asks a daemon.
    """
    if live or url or socket:
        # imported for those who ask only: looking at files shall be quick
        from mirror.cli.status_live import show_live  # noqa: PLC0415

        show_live(url or _socket(context, socket), names, as_json=as_json)
        return
    configured = settings(context)
    statuses = [run_async(_status(configured, each)) for each in configured.select(names)]
    if as_json:
        print_json([_as_json(each) for each in statuses])
    else:
        _show(statuses, datetime.now(UTC))


def _socket(context: click.Context, named: Path | None) -> str:
    from mirror.daemon.front import socket_path  # noqa: PLC0415 - as above

    return str(named.absolute() if named else socket_path(settings(context).storage.spool))


async def _status(configured: Settings, each: ReplicaSettings) -> ReplicaStatus:
    if each.pass_through:
        return ReplicaStatus(each.name, each.stratum0, "passed through, nothing is stored")
    fqrn = Fqrn(each.name)
    store = wiring.local_store(configured, fqrn)
    limits = Limits()
    try:
        running = is_locked(configured.storage.spool / fqrn.name)
        manifest = await served_manifest(store, limits)
        if manifest is None:
            return ReplicaStatus(each.name, each.stratum0, "no snapshot yet", running)
        raw = await store.read_root_file(WHITELIST, limits.letter_bytes)
        expires = Whitelist.parse(raw).expires_at if raw is not None else None
        published = datetime.fromtimestamp(manifest.published_at, UTC)
        return ReplicaStatus(
            name=each.name,
            stratum0=each.stratum0,
            state="served" if expires is not None else f"{WHITELIST} is missing",
            is_snapshotting=running,
            revision=manifest.revision,
            published_at=published if manifest.published_at else None,
            last_snapshot=await last_snapshot(store),
            whitelist_expires=expires,
        )
    except (StoreError, FormatError) as error:
        return ReplicaStatus(each.name, each.stratum0, str(error))


def _show(statuses: list[ReplicaStatus], now: datetime) -> None:
    table = new_table(
        ("REPOSITORY", "REVISION", "PUBLISHED", "LAST SNAPSHOT", "WHITELIST", "STATE")
    )
    for each in statuses:
        table.add_row(
            each.name,
            "-" if each.revision is None else str(each.revision),
            "-" if each.published_at is None else age_text(each.published_at, now),
            age_text(each.last_snapshot, now),
            _expiry(each.whitelist_expires, now),
            f"{each.state}, snapshot running" if each.is_snapshotting else each.state,
        )
    print_table(table)


def _expiry(expires: datetime | None, now: datetime) -> str:
    if expires is None:
        return "-"
    return "EXPIRED" if now >= expires else f"{duration_text(expires - now)} left"


def _as_json(status: ReplicaStatus) -> dict[str, object]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(status).items()
    }
