"""``cvmfs-mirror collect``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from mirror.cli.options import json_option
from mirror.cli.origin_options import open_published, repository_options
from mirror.cli.output import count_text, print_json, size_text
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError
from mirror.stratum0.collection import CollectionPlan, plan_collection, sweep

_DAY_S = 86_400


@click.command("collect")
@repository_options
@click.option(
    "--keep-days",
    type=click.IntRange(0, 36_500),
    default=3,
    show_default=True,
    help="Keep revisions published since then, tagged or not: clients may still hold them.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@json_option
def command(name: Fqrn, into: Path, *, keep_days: int, dry_run: bool, as_json: bool) -> None:
    """Collect garbage in a repository published here.

    Deletes the objects that neither the newest revision, nor a tag, nor a young revision reaches.
    Every publication without --tag leaves a tag of its own (generic-…); remove those first if their
    revisions are to go: cvmfs-mirror tag remove.
    """
    repository, _ = open_published(into, name)
    with repository.locked():
        _, manifest = open_published(into, name)  # somebody may have published meanwhile
        if not manifest.is_garbage_collectable:
            raise ConfigError([f"{name} does not allow garbage collection; publish it with --gc"])
        plan = plan_collection(repository, manifest, int(time.time()) - keep_days * _DAY_S)
        if not dry_run:
            sweep(repository, plan)
    if as_json:
        print_json(_as_json(name, plan, dry_run=dry_run))
    else:
        verb = "would delete" if dry_run else "deleted"
        click.echo(
            f"{name}: {verb} {count_text(len(plan.condemned), 'object')}, "
            f"{size_text(plan.condemned_bytes)}, of "
            f"{count_text(len(plan.condemned_roots), 'revision')}; "
            f"{count_text(len(plan.preserved_roots), 'revision')} kept"
        )


def _as_json(name: Fqrn, plan: CollectionPlan, *, dry_run: bool) -> dict[str, object]:
    return {
        "name": name.name,
        "dry_run": dry_run,
        "preserved_roots": [each.text for each in plan.preserved_roots],
        "condemned_roots": [each.text for each in plan.condemned_roots],
        "condemned_objects": len(plan.condemned),
        "condemned_bytes": plan.condemned_bytes,
    }
