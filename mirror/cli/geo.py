"""``cvmfs-mirror geo``: why an order came out, and new databases."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

from mirror.cli.options import config_option, json_option, run_async, settings
from mirror.cli.output import print_json
from mirror.config import Settings
from mirror.errors import ConfigError, printable
from mirror.geo.explaining import Explanation, Seen, explain
from mirror.geo.fetching import Origin, checksum_of, fetch, is_current
from mirror.geo.setting_up import Geo
from mirror.geo.web import Web
from mirror.upstream.options import tls_context

_FORBIDDEN = frozenset("/,?#% ")


@click.group("geo")
@config_option
def command() -> None:
    """Explain the order in which clients get their servers, and update databases of places."""


@command.command("explain")
@click.argument("client", metavar="CLIENT")
@click.argument("servers", nargs=-1, required=True, metavar="SERVER...")
@json_option
@config_option
@click.pass_context
def explain_command(
    context: click.Context, client: str, servers: tuple[str, ...], *, as_json: bool
) -> None:
    """Show what a client is told, and why.

    CLIENT is its address, or the name of its proxy; each SERVER a host name or an address. A server
    +PXYSEP+ separates servers from fall-back proxies, as in the requests of clients.
    """
    for each in (client, *servers):
        if not each or set(each) & _FORBIDDEN:
            raise click.BadParameter(f"{printable(each)!r} is no host name and no address")
    found = run_async(_explain(settings(context), client, servers))
    if as_json:
        print_json(_as_json(found))
    else:
        _show(found)


async def _explain(configured: Settings, client: str, servers: tuple[str, ...]) -> Explanation:
    geo = Geo(configured.geo.options)
    async with geo.ready():
        return await explain(geo, client, servers)


def _show(found: Explanation) -> None:
    client = found.client
    click.echo(f"client {client.name}: {_where(client)}")
    table = Table(box=None, pad_edge=False)
    for heading in ("ASKED", "SERVER", "ADDRESS", "DISTANCE", "WHERE", "SAYS WHO"):
        table.add_column(heading, overflow="fold")
    for each in found.servers:
        distance = "-" if each.distance_km is None else f"{each.distance_km:,.0f} km"
        place = "-" if each.location is None else _point(each)
        cells = each.name, each.address or "-", distance, place, each.source
        table.add_row(str(each.position), *cells)
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    reply = found.reply
    click.echo(f"answer: {reply.text.strip()} ({reply.basis}, for {reply.max_age_s} s)")


def _where(seen: Seen) -> str:
    if seen.location is None:
        return f"nobody knows where it is: {seen.source}"
    return f"{_point(seen)} ({seen.source})"


def _point(seen: Seen) -> str:
    assert seen.location is not None
    return f"{seen.location.latitude:.2f}, {seen.location.longitude:.2f}"


def _as_json(found: Explanation) -> dict[str, object]:
    reply = found.reply
    return {
        "status": reply.status,
        "answer": reply.text.strip(),
        "basis": str(reply.basis),
        "max_age_s": reply.max_age_s,
        "client": _seen_json(found.client),
        "servers": [_seen_json(each) for each in found.servers],
    }


def _seen_json(seen: Seen) -> dict[str, object]:
    return {
        "name": seen.name,
        "position": seen.position,
        "address": seen.address,
        "location": None if seen.location is None else list(seen.location),
        "distance_km": seen.distance_km,
        "source": seen.source,
    }


@command.command("update")
@click.option("--account", metavar="ID", help="Account at MaxMind.")
@click.option(
    "--licence-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that holds its licence key.",
)
@click.option("--edition", default="GeoLite2-City", show_default=True, help="Which of MaxMind's.")
@click.option("--url", help="Take it from here instead: .mmdb, .mmdb.gz or .tar.gz.")
@click.option("--sha256", metavar="HEX|URL", help="Checksum of what is at --url, or where it is.")
@click.option(
    "--into",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The database.  [default: the first of [geo] databases]",
)
@click.option("--dry-run", is_flag=True, help="Ask for the checksum and say what would be done.")
@config_option
@click.pass_context
def update_command(
    context: click.Context,
    *,
    account: str | None,
    licence_key: Path | None,
    edition: str,
    url: str | None,
    sha256: str | None,
    into: Path | None,
    dry_run: bool,
) -> None:
    """Fetch a database of places, check it, and put it in place whole.

    Workers that serve take it up by themselves. Nothing is fetched while the checksum is that of
    the database in place.
    """
    configured = settings(context)
    origin = _origin(account, licence_key, edition, url, sha256)
    target = into or next(iter(configured.geo.databases), None)
    if target is None:
        raise ConfigError(["no database is configured: name one in [geo] databases, or use --into"])
    run_async(_update(configured, origin, target.absolute(), dry_run=dry_run))


def _origin(
    account: str | None, key_file: Path | None, edition: str, url: str | None, sha256: str | None
) -> Origin:
    if url is not None:
        if sha256 is None:
            raise ConfigError(["--url needs --sha256: the checksum, or the URL of a file with it"])
        return Origin(url, sha256)
    if account is None or key_file is None:
        raise ConfigError(["say where from: --account and --licence-key, or --url and --sha256"])
    if not edition.replace("-", "").isalnum():
        raise ConfigError([f"--edition: {edition!r} is none of MaxMind's"])
    try:
        return Origin.maxmind(account, key_file.read_text("ascii").strip(), edition)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{key_file}: {getattr(error, 'strerror', None) or error}"]) from error


async def _update(configured: Settings, origin: Origin, target: Path, *, dry_run: bool) -> None:
    fetching = configured.fetch
    web = Web(fetching.timeout_s, fetching.proxy, tls_context(fetching.ca_bundle))
    checksum = await checksum_of(origin, web)
    if is_current(target, checksum):
        click.echo(f"{target} is up to date")
        return
    if dry_run:
        click.echo(f"would fetch {origin.url} into {target}, with SHA-256 {checksum}")
        return
    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with (
        Progress(*columns, console=Console(stderr=True))
        if sys.stderr.isatty()
        else nullcontext() as bar
    ):
        task = None if bar is None else bar.add_task("", total=None)

        def tell(come: int, total: int | None) -> None:
            if bar is not None and task is not None:
                bar.update(task, completed=come, total=total)

        built_at = await fetch(origin, checksum, target, web, tell)
    click.echo(f"{target}: made {datetime.fromtimestamp(built_at, UTC):%Y-%m-%d}")
