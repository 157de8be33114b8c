"""``cvmfs-mirror snapshot``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from mirror import wiring
from mirror.cli.exit_codes import exit_code
from mirror.cli.options import config_option, json_option, names_argument, run_async, settings
from mirror.cli.output import count_text, print_json, size_text
from mirror.cli.passing import stored
from mirror.cli.progress import shown_progress
from mirror.config import ReplicaSettings, Settings
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError, MirrorError
from mirror.events import Emit
from mirror.priority import give_way
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

    Without NAME, all that are configured, several at the same time; one that fails does not stop
    the others. Everything is verified before it counts, and the manifest is replaced last: until
    then clients see the old, complete revision. What was fetched is kept whatever happens, so
    running it again goes on where it stopped.

    Safe beside cvmfs_server: both honour the same lock.
    """
    configured = settings(context)
    _give_way(configured)
    options = SnapshotOptions(accepts_rollback=accept_rollback, repairs=repair)
    wanted = stored(configured.select(names))
    snapshots = _Snapshots(configured, options, dry_run=dry_run, as_json=as_json)
    outcomes = run_async(snapshots.all(wanted))
    if as_json:
        print_json([_as_json(each.name, outcomes[each.name]) for each in wanted])
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


class _Snapshots:
    """Snapshots of some replicas, so many at the same time; each is shown as it ends."""

    def __init__(
        self, configured: Settings, options: SnapshotOptions, *, dry_run: bool, as_json: bool
    ) -> None:
        self._configured = configured
        self._options = options
        self._dry_run = dry_run
        self._as_json = as_json

    async def all(self, wanted: Sequence[ReplicaSettings]) -> dict[str, Outcome]:
        """One outcome for each name."""
        outcomes: dict[str, Outcome] = {}
        at_once = max(1, min(len(wanted), self._configured.snapshot.parallel))
        turns = asyncio.Semaphore(at_once)

        async def one(each: ReplicaSettings, common: wiring.Shared, emit: Emit) -> None:
            async with turns:
                outcomes[each.name] = outcome = await self._attempt(each, common, emit)
            if not self._as_json:
                _show(each.name, outcome)

        async with wiring.shared(self._configured, at_once) as common:
            with shown_progress(quiet=self._as_json) as shown:
                async with asyncio.TaskGroup() as tasks:
                    for each in wanted:
                        tasks.create_task(one(each, common, shown(Fqrn(each.name))))
        return outcomes

    async def _attempt(self, each: ReplicaSettings, common: wiring.Shared, emit: Emit) -> Outcome:
        configured = self._configured
        try:
            replica = wiring.replica(configured, each)
            async with (
                wiring.upstream(configured, each, emit, common) as upstream,
                wiring.bulk(configured, each, emit, common) as bulk,
            ):
                now = datetime.now(UTC)
                run = SnapshotRun(replica, upstream, now, emit, self._options, bulk=bulk)
                return await (run.plan() if self._dry_run else run.run())
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
