"""``cvmfs-mirror publish``."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click
from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn

from mirror.cli.options import json_option
from mirror.cli.origin_options import keys_option, repository_options
from mirror.cli.output import count_text, print_json, size_text
from mirror.cvmfs.content_hash import Algorithm
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import ConfigError
from mirror.stratum0.entry import ROOT
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.packer import PackingOptions
from mirror.stratum0.publishing import (
    Progress,
    Publication,
    PublicationOptions,
    PublicationReport,
)
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.source import DirectorySource, Source, TarSource
from mirror.stratum0.synthetic import SyntheticSource

_ALGORITHMS: Final = {
    "sha1": Algorithm.SHA1,
    "rmd160": Algorithm.RMD160,
    "shake128": Algorithm.SHAKE128,
}
_LINE_EVERY_S: Final = 10.0


@click.command("publish")
@click.argument("content", required=False, metavar="(DIR | TARBALL | -)")
@repository_options
@keys_option
@click.option("--base", metavar="PATH", default="/", help="Publish below this path.")
@click.option(
    "--overlay", is_flag=True, help="Add to what is at the base, instead of replacing it."
)
@click.option("--delete", "deletes", multiple=True, metavar="PATH", help="Remove a path first.")
@click.option("--tag", metavar="NAME", help="Name the revision; without, it is named by date.")
@click.option("--message", metavar="TEXT", default="", help="What the tag is for.")
@click.option(
    "--hash",
    "algorithm",
    type=click.Choice(list(_ALGORITHMS)),
    default="sha1",
    show_default=True,
    help="Names all objects; decided by the first publication.",
)
@click.option(
    "--compression",
    type=click.Choice(["zlib", "none"]),
    default="zlib",
    show_default=True,
    help="Of file contents.",
)
@click.option("--gc/--no-gc", "collects", default=None, help="Whether old revisions may be swept.")
@click.option(
    "--synthetic",
    metavar="KEY=VALUE,…",
    help="Publish made-up content: files=20000,catalogs=40,median=8k,seed=7.",
)
@click.option("--change", metavar="SHARE", help="Other bytes in this share of it, like 1%.")
@json_option
def command(
    content: str | None,
    name: Fqrn,
    into: Path,
    key_directory: Path,
    *,
    base: str,
    overlay: bool,
    deletes: tuple[str, ...],
    tag: str | None,
    message: str,
    algorithm: str,
    compression: str,
    collects: bool | None,
    synthetic: str | None,
    change: str | None,
    as_json: bool,
) -> None:
    """Publish a directory or tarball as the next signed revision of a repository.

    Needs no root, no FUSE and no overlay. The content replaces what is at the base; - reads a
    tarball from standard input, of any compression. On first use keys are made, and a whitelist
    that is valid for 30 days (renew it with resign). Clients and mirrors need the master key,
    KEYS/FQRN.pub. A publication that is killed leaves the published revision as it was.

    Directories that hold a file .cvmfscatalog, or that a line of /.cvmfsdirtab names, get a nested
    catalog, and so do large ones by themselves.

    \b
    Examples:
      cvmfs-mirror publish ./software --name software.example.org --into /srv/cvmfs
      cvmfs-mirror publish pkg.tar.gz --base /pkg/1.0 --tag pkg-1.0 --name … --into …
      curl … | cvmfs-mirror publish - --base /pkg --overlay --name … --into …
    """  # noqa: D301 - \b is the character that click wants
    source = _source(content, synthetic, change)
    options = PublicationOptions(
        base=_path(base),
        overlays=overlay,
        deletes=tuple(_path(each) for each in deletes),
        tag=tag,
        message=message,
        packing=PackingOptions(_ALGORITHMS[algorithm], compression == "zlib"),
        is_garbage_collectable=collects,
    )
    keys = PublisherKeys.load_or_make(key_directory, name)
    repository = Stratum0Repository(into, name)
    with _stoppable(), repository.locked(), _progress(quiet=as_json) as progress:
        report = Publication(repository, keys, options, progress).run(source)
    if as_json:
        print_json(_as_json(name, report, key_directory))
    else:
        _show(name, report, key_directory)


def _source(content: str | None, synthetic: str | None, change: str | None) -> Source:
    if (content is None) == (synthetic is None):
        raise click.UsageError("name a directory, a tarball, or - for standard input")
    if synthetic is not None:
        return SyntheticSource.parse(synthetic, change)
    if content == "-":
        return TarSource(sys.stdin.buffer, "standard input")
    path = Path(content or "")
    if path.is_dir():
        return DirectorySource(path)
    try:
        return TarSource(click.get_current_context().with_resource(path.open("rb")), str(path))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error


def _path(text: str) -> bytes:
    """A path inside the repository; slashes at the ends do not count."""
    parts = [part for part in text.split("/") if part]
    if any(part in (".", "..") for part in parts):
        raise click.BadParameter(f"{text}: write a path inside the repository, without . or ..")
    return "".join(f"/{part}" for part in parts).encode("utf-8", "surrogateescape") or ROOT


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM, like Ctrl-C, ends it only after everything is cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    console = Console(stderr=True)
    if quiet:
        yield lambda _entries, _bytes: None
    elif console.is_terminal:
        columns = SpinnerColumn(), TextColumn("{task.description}")
        with Bar(*columns, console=console, transient=True) as bar:
            task = bar.add_task("")
            yield lambda entries, size_bytes: bar.update(
                task, description=_so_far(entries, size_bytes)
            )
    else:
        yield _lines()


def _lines() -> Progress:
    next_s = time.monotonic() + _LINE_EVERY_S

    def hear(entries: int, size_bytes: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _LINE_EVERY_S
            click.echo(_so_far(entries, size_bytes), err=True)

    return hear


def _so_far(entries: int, size_bytes: int) -> str:
    return f"{entries:,} entries, {size_text(size_bytes)}"


def _show(name: Fqrn, report: PublicationReport, keys: Path) -> None:
    if report.was_unchanged:
        click.echo(f"{name}: nothing changed; still revision {report.revision}")
        return
    changes = report.changes
    click.echo(
        f"{name}: published revision {report.revision}: {changes.added:,} entries added, "
        f"{changes.changed:,} changed, {changes.removed:,} removed; "
        f"{count_text(report.new_objects, 'new object')}, {size_text(report.new_bytes)}"
    )
    click.echo(f"{name}: clients and mirrors verify it with {keys / f'{name}.pub'}")


def _as_json(name: Fqrn, report: PublicationReport, keys: Path) -> dict[str, object]:
    return {
        **asdict(report),
        "name": name.name,
        "root": report.root.text,
        "public_key": str(keys / f"{name}.pub"),
    }
