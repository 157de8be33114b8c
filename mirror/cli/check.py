"""``cvmfs-mirror check``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from mirror import wiring
from mirror.cli.options import config_option, json_option, names_argument, run_async, settings
from mirror.cli.output import count_text, print_json
from mirror.cli.passing import stored
from mirror.cli.progress import check_progress
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import DamageError, printable
from mirror.upkeep.check import CheckReport, check_replica

_SHOWN = 20


@click.command("check")
@names_argument
@click.option("--full", is_flag=True, help="Hash every object too, instead of only looking for it.")
@json_option
@config_option
@click.pass_context
def command(context: click.Context, names: tuple[str, ...], *, full: bool, as_json: bool) -> None:
    """Look whether replicas are whole.

    Walks everything that the manifest and the tags refer to, down to the last chunk, and verifies
    the signatures; changes nothing. What it finds missing or wrong, cvmfs-mirror snapshot --repair
    NAME fetches anew. Exit code 6 tells of damage.
    """
    configured = settings(context)
    reports: dict[str, CheckReport] = {}
    for each in stored(configured.select(names)):
        heard = check_progress(Fqrn(each.name))
        report = run_async(
            check_replica(
                wiring.replica(configured, each),
                datetime.now(UTC),
                full=full,
                progress=lambda so_far, heard=heard: heard(so_far.catalogs, so_far.objects),  # type: ignore[misc]
            )
        )
        reports[each.name] = report
        if not as_json:
            _show(each.name, report)
    if as_json:
        print_json([_as_json(name, report) for name, report in reports.items()])
    damaged = [name for name, report in reports.items() if report.damage_count]
    if damaged:
        raise DamageError(f"damaged: {', '.join(damaged)}; run cvmfs-mirror snapshot --repair")


def _show(name: str, report: CheckReport) -> None:
    for tag in report.collected_tags:
        click.echo(
            f"{name}: tag {printable(tag)}: its root catalog was collected at the origin; "
            "not damage"
        )
    for failure in report.damage[:_SHOWN]:
        click.echo(f"{name}: {failure}")
    if report.damage_count > _SHOWN:
        click.echo(f"{name}: and {report.damage_count - _SHOWN:,} more; see --json")
    state = f"{report.damage_count:,} damaged" if report.damage_count else "sound"
    click.echo(
        f"{name}: revision {report.revision}, {count_text(report.catalogs, 'catalog')}, "
        f"{count_text(report.objects, 'object')} looked at: {state}"
    )


def _as_json(name: str, report: CheckReport) -> dict[str, object]:
    return {
        "name": name,
        "ok": report.damage_count == 0,
        "revision": report.revision,
        "catalogs": report.catalogs,
        "objects": report.objects,
        "damage_count": report.damage_count,
        "damage": [
            {"object": each.name, "catalog": each.catalog_path, "reason": str(each.error)}
            for each in report.damage
        ],
        "collected_tags": report.collected_tags,
    }
