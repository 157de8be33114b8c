"""``cvmfs-mirror follow``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import tomlkit

from mirror.cli.add_replica import probe
from mirror.cli.exit_codes import exit_code
from mirror.cli.options import config_option, config_path, json_option, run_async
from mirror.cli.output import count_text, print_json
from mirror.config import ReplicaSettings, parse_settings
from mirror.config_file import ConfigFile
from mirror.errors import ConfigError, MirrorError
from mirror.follow_settings import FollowSettings
from mirror.following.described import replica_table, rules_of
from mirror.following.listing import Listed
from mirror.following.plan import Configured, Plan, plan
from mirror.following.reading import read_listing
from mirror.upstream.options import HttpOptions

_DIRECTORY: Final = click.Path(file_okay=False, path_type=Path)
_KEYS: Final = Path("/etc/cvmfs/keys")


@click.command("follow")
@click.argument("url", required=False)
@click.option("--include", multiple=True, metavar="PATTERN", help="Only names like this; several.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No names like this; several.")
@click.option(
    "--keys",
    type=_DIRECTORY,
    default=_KEYS,
    show_default=True,
    help="Directory of keys, chosen by name or domain.",
)
@click.option(
    "--stratum0",
    metavar="URL",
    help="Where repositories are published, with @fqrn@ for "
    "the name.  [default: the server of the list]",
)
@click.option("--remove", is_flag=True, help="Take out what came from the list and is gone there.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before removing.")
@click.option("--offline", is_flag=True, help="Do not ask the sources of new replicas.")
@json_option
@config_option
@click.pass_context
def command(
    context: click.Context,
    url: str | None,
    *,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    keys: Path,
    stratum0: str | None,
    remove: bool,
    dry_run: bool,
    yes: bool,
    offline: bool,
    as_json: bool,
) -> int:
    """Keep the replicas in step with another server's list of them.

    URL is a server, or its list (…/cvmfs/info/v1/repositories.json); without one, all [[follow]]
    of the configuration. What is new is added as by add-replica: only if a key fits its name and
    its manifest is signed under it. What came from the list and is gone there is removed from the
    configuration only with --remove, and its tree is left alone. What you configured yourself is
    never touched.

    \b
    Example:
      cvmfs-mirror follow http://stratum1.example.net --include '*.example.org' --dry-run
    """  # noqa: D301 - \b is the character that click wants
    file = ConfigFile(config_path(context))
    asked = {"url": url, "include": include, "exclude": exclude, "keys": keys, "stratum0": stratum0}
    follows = _said(asked) if url else file.settings.follow
    if not follows:
        raise ConfigError(["no list to follow: give its URL, or add a [[follow]] table"])
    outcomes = [run_async(_Following(file, each).look(is_online=not offline)) for each in follows]
    if not dry_run:
        _write(file, outcomes, removes=remove, is_sure=yes)
    if as_json:
        print_json([_as_json(each, removes=remove, is_dry=dry_run) for each in outcomes])
    else:
        for each in outcomes:
            _show(each, removes=remove, is_dry=dry_run)
    return exit_code(*(error for each in outcomes for error in each.failures.values()))


def _said(asked: Mapping[str, object]) -> list[FollowSettings]:
    """The options, looked at as if they stood in the configuration."""
    described = {
        key: list(value) if isinstance(value, tuple) else str(value)
        for key, value in asked.items()
        if value
    }
    described["keys"] = str(Path(str(asked["keys"])).absolute())
    return parse_settings(tomlkit.dumps({"follow": [described]}), "follow").follow


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What is to become of one list.

    Attributes:
        url: of the list.
        plan: what follows from it.
        tables: those of its additions that can be made.
        failures: why others cannot, by name.
    """

    url: str
    plan: Plan
    tables: dict[str, dict[str, object]]
    failures: dict[str, MirrorError]


class _Following:
    """One list, and what it means for the configuration."""

    def __init__(self, file: ConfigFile, follow: FollowSettings) -> None:
        self._configured = file.settings
        self._follow = follow
        self._tables: dict[str, dict[str, object]] = {}
        self._failures: dict[str, MirrorError] = {}

    async def look(self, *, is_online: bool) -> _Outcome:
        rules = rules_of(self._follow)
        fetch = self._configured.fetch
        options = HttpOptions(proxy=fetch.proxy, ca_bundle=fetch.ca_bundle)
        listing = await read_listing(self._follow.url, options)
        current = [Configured(each.name, each.followed) for each in self._configured.replica]
        planned = plan(current, listing, rules)
        turns = asyncio.Semaphore(self._configured.snapshot.parallel)
        async with asyncio.TaskGroup() as tasks:
            for each in planned.add:
                tasks.create_task(self._describe(each, turns, is_online=is_online))
        in_order = [each.name for each in planned.add if each.name in self._tables]
        tables = {name: self._tables[name] for name in in_order}
        return _Outcome(rules.url, planned, tables, dict(sorted(self._failures.items())))

    async def _describe(self, listed: Listed, turns: asyncio.Semaphore, *, is_online: bool) -> None:
        """Look at it as add-replica does; what fails now is tried again the next time."""
        async with turns:
            try:
                table = replica_table(listed, self._follow)
                if is_online:
                    await probe(self._configured, ReplicaSettings.model_validate(table))
                self._tables[listed.name] = table
            except MirrorError as error:
                self._failures[listed.name] = error


def _write(file: ConfigFile, outcomes: list[_Outcome], *, removes: bool, is_sure: bool) -> None:
    gone = [name for each in outcomes for name in each.plan.remove] if removes else []
    if gone and not is_sure:
        _ask(gone)
    added = {name: table for each in reversed(outcomes) for name, table in each.tables.items()}
    if not gone and not added:
        return
    for table in added.values():
        file.add_replica(table)
    file.remove_replicas(gone)
    _ = file.settings  # what was put together is as right as what an operator writes
    file.write()


def _ask(names: list[str]) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            [f"{', '.join(names)}: to be removed, and nobody is here to ask; add --yes"]
        )
    click.confirm(f"Remove {', '.join(names)} from the configuration?", abort=True, err=True)


def _show(outcome: _Outcome, *, removes: bool, is_dry: bool) -> None:
    added, removed = ("would add", "would remove") if is_dry else ("added", "removed")
    for name, table in outcome.tables.items():
        click.echo(f"{added} {name} from {table['stratum0']}, keys {table['keys']}")
    for name in outcome.plan.remove:
        click.echo(
            f"{removed} {name}; its tree is left alone"
            if removes
            else f"{name} is gone from the list; --remove takes it out"
        )
    for name, error in outcome.failures.items():
        for line in str(error).splitlines():
            click.echo(
                f"cvmfs-mirror: not added: {line if name in line else f'{name}: {line}'}", err=True
            )
    for problem in outcome.plan.problems:
        click.echo(f"cvmfs-mirror: {problem}", err=True)
    click.echo(f"{outcome.url}: kept {count_text(len(outcome.plan.keep), 'replica')}")


def _as_json(outcome: _Outcome, *, removes: bool, is_dry: bool) -> dict[str, object]:
    return {
        "url": outcome.url,
        "added": not is_dry,
        "removed": removes and not is_dry,
        "add": list(outcome.tables.values()),
        "remove": outcome.plan.remove,
        "keep": outcome.plan.keep,
        "failures": {name: str(error) for name, error in outcome.failures.items()},
        "problems": outcome.plan.problems,
    }
