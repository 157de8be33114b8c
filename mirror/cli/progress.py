"""How a run is shown while it goes on: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mirror.cli.output import count_text, size_text
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import printable
from mirror.events import (
    CatalogStored,
    Emit,
    Event,
    FetchRetried,
    ManifestAccepted,
    ObjectFailed,
    ObjectsPresent,
    ObjectStored,
    ObjectsWanted,
    ReflogHealed,
    RootSkipped,
    SnapshotStarted,
    ignore,
)

_LINE_EVERY_S: Final = 10.0
_SHOWN_RETRIES: Final = 5


@contextmanager
def shown_progress(fqrn: Fqrn, *, quiet: bool) -> Iterator[Emit]:
    """Show a run on standard error; gives what is to hear its events."""
    console = Console(stderr=True)
    if quiet:
        yield ignore
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _Shown(fqrn, lambda line: console.print(Text(line)), _Bar(bar, fqrn))
    else:
        yield _Shown(fqrn, lambda line: click.echo(line, err=True), _Lines(fqrn))


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[objects]}/{task.fields[wanted]} objects"),
        DownloadColumn(),
        _Rate(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        console=console,
    )


class _Rate(ProgressColumn):
    """Fetched bytes a second; the bar itself counts unpacked ones, which catalogs foretell."""

    def render(self, task: Task) -> Text:
        elapsed_s = task.elapsed or 0.0
        rate = task.fields["fetched"] / elapsed_s if elapsed_s > 0 else 0.0
        return Text(f"{size_text(rate)}/s")


class _Counts:
    """What the events add up to."""

    def __init__(self) -> None:
        self.wanted = self.wanted_bytes = 0
        self.objects = self.object_bytes = 0
        self.catalogs = self.present = self.failed = self.fetched_bytes = 0

    def add(self, event: Event) -> None:
        match event:
            case ObjectsWanted():
                self.wanted += event.count
                self.wanted_bytes += event.size_bytes
            case ObjectStored():
                self.objects += 1
                self.object_bytes += event.size_bytes
                self.fetched_bytes += event.stored_bytes
            case CatalogStored():
                self.catalogs += 1
                self.fetched_bytes += event.stored_bytes
            case ObjectsPresent():
                self.present += event.count
            case ObjectFailed():
                self.failed += 1


class _Bar:
    """The live bar."""

    def __init__(self, bar: Progress, fqrn: Fqrn) -> None:
        self._bar = bar
        self._task: TaskID = bar.add_task(fqrn.name, total=None, objects=0, wanted=0, fetched=0)

    def update(self, counts: _Counts) -> None:
        self._bar.update(
            self._task,
            total=counts.wanted_bytes or None,
            completed=counts.object_bytes,
            objects=f"{counts.objects:,}",
            wanted=f"{counts.wanted:,}",
            fetched=counts.fetched_bytes,
        )


class _Lines:
    """A line every ten seconds."""

    def __init__(self, fqrn: Fqrn) -> None:
        self._fqrn = fqrn
        self._began_s = time.monotonic()
        self._next_s = self._began_s + _LINE_EVERY_S

    def update(self, counts: _Counts) -> None:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _LINE_EVERY_S
        elapsed_s = now_s - self._began_s
        rate = counts.object_bytes / elapsed_s
        eta_s = (counts.wanted_bytes - counts.object_bytes) / rate if rate else 0.0
        click.echo(
            f"{self._fqrn}: {counts.objects:,}/{counts.wanted:,} objects, "
            f"{counts.catalogs:,} catalogs, {size_text(counts.fetched_bytes)}, "
            f"{size_text(counts.fetched_bytes / elapsed_s)}/s, ETA {eta_s:.0f} s",
            err=True,
        )


class _Shown:
    """Hears events: some become lines at once, all go into the counts."""

    def __init__(self, fqrn: Fqrn, say: Callable[[str], None], display: _Bar | _Lines) -> None:
        self._fqrn = fqrn
        self._say = say
        self._display = display
        self._counts = _Counts()
        self._retries = 0

    def __call__(self, event: Event) -> None:
        line = self._line(event)
        if line:
            self._say(f"{self._fqrn}: {line}")
        self._counts.add(event)
        self._display.update(self._counts)

    def _line(self, event: Event) -> str | None:
        match event:
            case SnapshotStarted():
                kind = "first snapshot" if event.is_initial else "snapshot"
                return f"{kind} from {event.source}"
            case ManifestAccepted():
                return _manifest_line(event)
            case RootSkipped():
                wanted_by = printable(event.wanted_by)
                return f"{wanted_by}: its root catalog was collected at the origin; skipped"
            case ReflogHealed():
                return f"reflog: {event.how}"
            case FetchRetried():
                self._retries += 1
                if self._retries > _SHOWN_RETRIES:
                    return None
                last = " (further retries are not shown)" * (self._retries == _SHOWN_RETRIES)
                return f"retrying {event.path}: {event.reason}{last}"
            case ObjectFailed() if self._counts.failed < _SHOWN_RETRIES:
                return f"failed: {event.failure}"
            case _:
                return None


def _manifest_line(event: ManifestAccepted) -> str:
    if event.served_revision is None:
        return f"signatures hold; bringing revision {event.revision}"
    if event.served_revision == event.revision:
        return f"signatures hold; still revision {event.revision}"
    return f"signatures hold; from revision {event.served_revision} to {event.revision}"


def check_progress(fqrn: Fqrn) -> Callable[[int, int], None]:
    """Hears how many catalogs and objects a check has looked at; a line every ten seconds."""
    next_s = time.monotonic() + _LINE_EVERY_S

    def hear(catalogs: int, objects: int) -> None:
        nonlocal next_s
        if time.monotonic() >= next_s:
            next_s = time.monotonic() + _LINE_EVERY_S
            click.echo(
                f"{fqrn}: {count_text(catalogs, 'catalog')} and "
                f"{count_text(objects, 'object')} looked at",
                err=True,
            )

    return hear
