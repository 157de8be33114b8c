"""``cvmfs-mirror import``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from mirror.cli.options import config_option, config_path, json_option
from mirror.cli.output import count_text, print_json
from mirror.config import DEFAULT_SPOOL, DEFAULT_STORAGE, Settings, parse_settings
from mirror.config_file import ConfigFile, replica_text
from mirror.errors import ConfigError, printable
from mirror.handover.adoption import Adoption, Places, adopt
from mirror.handover.hosted import Hosted, Skipped, read_all_hosted
from mirror.handover.neighbours import Neighbour, neighbours
from mirror.handover.small_files import Unreadable

REPOSITORIES: Final = Path("/etc/cvmfs/repositories.d")
KEYS: Final = Path("/etc/cvmfs/keys")
_DIRECTORY: Final = click.Path(file_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class _Findings:
    """What was found, and what is to be done about it."""

    added: list[Adoption]
    present: list[Adoption]
    skipped: list[Skipped]
    beside: list[Neighbour]

    @property
    def has_work(self) -> bool:
        """Whether anything is to be changed."""
        return bool(self.added) or any(each.links for each in self.present)

    @property
    def text(self) -> str:
        """What the configuration gets."""
        return "\n".join(replica_text(each.table) for each in self.added)


@click.command("import")
@click.option(
    "--from",
    "storage",
    type=_DIRECTORY,
    help=f"Where its trees lie.  [default: as the configuration says, or {DEFAULT_STORAGE}]",
)
@click.option(
    "--repositories",
    type=_DIRECTORY,
    default=REPOSITORIES,
    show_default=True,
    help="Its configuration, a directory for each repository.",
)
@click.option(
    "--keys",
    type=_DIRECTORY,
    default=KEYS,
    show_default=True,
    help="Where keys are looked for that a repository does not name.",
)
@click.option("--write", is_flag=True, help="Change the configuration, and make the links needed.")
@click.option("--root", type=_DIRECTORY, default=Path("/"), hidden=True)
@json_option
@config_option
@click.pass_context
def command(
    context: click.Context,
    storage: Path | None,
    repositories: Path,
    keys: Path,
    root: Path,
    *,
    write: bool,
    as_json: bool,
) -> None:
    """Take over the replicas that cvmfs_server keeps on this host.

    Prints what would be added to the configuration, and what there is to know; with --write it is
    added. Trees stay where they are, and cvmfs_server can go on with them. Its files are read, and
    none of them is run or changed. A second time there is nothing to do.

    \b
    Example:
      cvmfs-mirror import
      cvmfs-mirror import --write
    """  # noqa: D301 - \b is the character that click wants
    found = _hosted(repositories)
    file = _file(config_path(context), storage, found)
    findings = _findings(file.settings, found, file.path, keys, root)
    for each in findings.added:
        file.add_replica(each.table)
    _ = file.settings  # together they are as right as each of them
    if write and findings.has_work:
        _make_links(findings)
        file.write()
    if as_json:
        print_json(_as_json(findings, file.path, is_written=write and findings.has_work))
    else:
        _show(findings, file, is_written=write)


def _hosted(repositories: Path) -> list[Hosted | Skipped]:
    try:
        return read_all_hosted(repositories)
    except Unreadable as error:
        raise ConfigError([str(error)]) from error


def _file(path: Path, storage: Path | None, found: list[Hosted | Skipped]) -> ConfigFile:
    """The configuration; a new one gets the places that cvmfs_server uses."""
    spools = {each.spool.parent for each in found if isinstance(each, Hosted)}
    spool = spools.pop() if len(spools) == 1 else DEFAULT_SPOOL
    file = ConfigFile(path, storage, None if spool == DEFAULT_SPOOL else spool)
    ours = file.settings.storage.path
    if storage is not None and storage.absolute() != ours:
        raise ConfigError(
            [f"{path}: storage.path is {ours}, --from says {storage.absolute()}; they must agree"]
        )
    return file


def _findings(
    configured: Settings, found: list[Hosted | Skipped], config: Path, keys: Path, root: Path
) -> _Findings:
    storage = configured.storage
    places = Places(storage.path, storage.spool, keys.absolute(), config.absolute().parent / "keys")
    known = {each.name for each in configured.replica}
    findings = _Findings([], [], [], neighbours(root))
    for each in found:
        adopted = _valid(adopt(each, places)) if isinstance(each, Hosted) else each
        if isinstance(adopted, Skipped):
            findings.skipped.append(adopted)
        elif adopted.hosted.fqrn.name in known:
            findings.present.append(adopted)
        else:
            known.add(adopted.hosted.fqrn.name)
            findings.added.append(adopted)
    return findings


def _valid(adopted: Adoption | Skipped) -> Adoption | Skipped:
    """One whose values our configuration does not take stops no other."""
    if isinstance(adopted, Adoption):
        try:
            parse_settings(replica_text(adopted.table), adopted.hosted.alias)
        except ConfigError as error:
            return Skipped(adopted.hosted.alias, "; ".join(error.problems))
    return adopted


def _make_links(findings: _Findings) -> None:
    try:
        for adopted in (*findings.added, *findings.present):
            for link in adopted.links:
                link.make()
    except Unreadable as error:
        raise ConfigError([str(error)]) from error


def _show(findings: _Findings, file: ConfigFile, *, is_written: bool) -> None:
    """The text for the configuration on standard output, what is to be known on standard error."""
    if findings.text:
        click.echo(findings.text, nl=False)
    for line in _remarks(findings, is_written=is_written):
        click.echo(line, err=True)
    if not findings.has_work:
        click.echo(
            f"nothing to do: {count_text(len(findings.present), 'replica')} of "
            f"cvmfs_server in {file.path} already",
            err=True,
        )
    elif is_written:
        click.echo(f"written to {file.path}; next: cvmfs-mirror snapshot --dry-run", err=True)
    else:
        click.echo(f"nothing was changed; --write adds this to {file.path}", err=True)


def _remarks(findings: _Findings, *, is_written: bool) -> list[str]:
    made = "link made" if is_written else "a link is needed"
    lines = [f"{each.name}: skipped: {each.reason}" for each in findings.skipped]
    for each in (*findings.added, *findings.present):
        lines += [
            f"{each.hosted.alias}: {made}: {link.path} -> {link.target}" for link in each.links
        ]
        lines += [f"{each.hosted.alias}: {note}" for note in each.notes]
    lines += [
        f"{printable(str(each.path))}, line {each.line}: {each.does}: {each.advice}"
        for each in findings.beside
    ]
    return lines


def _as_json(findings: _Findings, config: Path, *, is_written: bool) -> dict[str, object]:
    both = (*findings.added, *findings.present)
    return {
        "config": str(config),
        "written": is_written,
        "add": [each.table for each in findings.added],
        "present": [each.hosted.fqrn.name for each in findings.present],
        "skipped": [{"name": each.name, "reason": each.reason} for each in findings.skipped],
        "links": [
            {"path": str(link.path), "target": str(link.target)}
            for each in both
            for link in each.links
        ],
        "notes": {each.hosted.alias: each.notes for each in both if each.notes},
        "beside": [
            {"path": str(each.path), "line": each.line, "does": each.does, "advice": each.advice}
            for each in findings.beside
        ],
        "toml": findings.text,
    }
