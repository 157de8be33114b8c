"""``cvmfs-mirror snapshot``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from mirror import wiring
from mirror.cli.exit_codes import exit_code
from mirror.cli.options import config_option, json_option, names_argument, run_async, settings
from mirror.cli.output import count_text, print_json, size_text
from mirror.cli.priority import give_way
from mirror.cli.progress import shown_progress
from mirror.config import ReplicaSettings, Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError, MirrorError
from mirror.replication.snapshot import (
    SnapshotOptions,
    SnapshotPlan,
    SnapshotReport,
    SnapshotRun,
)

Outcome = SnapshotReport | SnapshotPlan | MirrorError


@click.command("snapshot")
@names_argument
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and change nothing.")
@click.option(
    "--repair",
    is_flag=True,
    help="Believe nothing in the store: walk every catalog, hash every object, and fetch anew "
    "what is missing or wrong.",
)
@click.option(
    "--accept-rollback",
    is_flag=True,
    help="Take an older revision this once: the publisher went back on purpose.",
)
@json_option
@config_option
@click.pass_context
def command(
    context: click.Context,
    names: tuple[str, ...],
    *,
    dry_run: bool,
    repair: bool,
    accept_rollback: bool,
    as_json: bool,
) -> int:
    """Bring replicas to the revision their Stratum 0 is at.

    Without NAME, all that are configured, one after the other; one that fails does not stop the
    others. Everything is verified before it counts, and the manifest is replaced last: until then
    clients see the old, complete revision. What was fetched is kept whatever happens, so running it
    again goes on where it stopped.

    Safe beside cvmfs_server: both honour the same lock.
    """
    configured = settings(context)
    _give_way(configured)
    options = SnapshotOptions(accepts_rollback=accept_rollback, repairs=repair)
    outcomes: dict[str, Outcome] = {}
    for each in configured.select(names):
        outcome = run_async(_attempt(configured, each, options, dry_run=dry_run, as_json=as_json))
        outcomes[each.name] = outcome
        if not as_json:
            _show(each.name, outcome)
    if as_json:
        print_json([_as_json(name, outcome) for name, outcome in outcomes.items()])
    return exit_code(*(each for each in outcomes.values() if isinstance(each, MirrorError)))


def _give_way(configured: Settings) -> None:
    """Before the first thread or process is started, so that all of them do."""
    asked = configured.snapshot
    if not give_way(asked.io_priority, asked.nice) and "io_priority" in asked.model_fields_set:
        click.echo(
            f"cvmfs-mirror: snapshot.io_priority: {asked.io_priority} is not possible on this "
            "machine or in this sandbox; going on without",
            err=True,
        )


async def _attempt(
    configured: Settings,
    each: ReplicaSettings,
    options: SnapshotOptions,
    *,
    dry_run: bool,
    as_json: bool,
) -> Outcome:
    try:
        with shown_progress(Fqrn(each.name), quiet=as_json) as emit:
            replica = wiring.replica(configured, each)
            async with (
                wiring.upstream(configured, each, emit) as upstream,
                wiring.bulk(configured, each, emit) as bulk,
            ):
                run = SnapshotRun(replica, upstream, datetime.now(UTC), emit, options, bulk=bulk)
                return await (run.plan() if dry_run else run.run())
    except MirrorError as error:
        return error


def _show(name: str, outcome: Outcome) -> None:
    match outcome:
        case SnapshotReport() if outcome.was_current:
            click.echo(f"{name}: revision {outcome.revision}, up to date")
        case SnapshotReport():
            click.echo(
                f"{name}: serving revision {outcome.revision}; fetched "
                f"{count_text(outcome.stored_objects, 'object')}, "
                f"{size_text(outcome.stored_bytes)}"
            )
        case SnapshotPlan():
            click.echo(
                f"{name}: revision {outcome.revision} would need "
                f"{count_text(outcome.missing_catalogs, 'catalog')} "
                f"({size_text(outcome.missing_catalog_bytes)}) and "
                f"{count_text(outcome.missing_objects, 'object')} "
                f"(at most {size_text(outcome.missing_object_bytes)})"
            )
        case ConfigError():
            for problem in outcome.problems:
                click.echo(f"cvmfs-mirror: {name}: {problem}", err=True)
        case MirrorError():
            click.echo(f"cvmfs-mirror: {name}: {outcome}", err=True)


def _as_json(name: str, outcome: Outcome) -> dict[str, object]:
    if isinstance(outcome, MirrorError):
        error = {"kind": type(outcome).__name__, "message": str(outcome)}
        return {"name": name, "ok": False, "error": error}
    return {"name": name, "ok": True, **asdict(outcome)}
