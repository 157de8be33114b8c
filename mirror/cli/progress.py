"""How a run is shown while it goes on: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol

import click

from mirror.cli.output import count_text, size_text
from mirror.counts import Counts
from mirror.cvmfs.fqrn import Fqrn
from mirror.errors import printable
from mirror.events import (
    Emit,
    Event,
    FetchRetried,
    ManifestAccepted,
    ObjectFailed,
    ReflogHealed,
    RootSkipped,
    SnapshotStarted,
    SourceFailed,
    SourceLied,
    SourcePassedOver,
    SourceRecovered,
    SourceSuspended,
    ignore,
)

_LINE_EVERY_S: Final = 10.0
_SHOWN_RETRIES: Final = 5


@contextmanager
def shown_progress(*, quiet: bool) -> Iterator[Callable[[Fqrn], Emit]]:
    """Show runs on standard error; gives what makes the one that hears a replica's events."""
    if quiet:
        yield lambda _fqrn: ignore
    elif sys.stderr.isatty():
        from mirror.cli.bar import live_bars  # noqa: PLC0415 - rich: slow to import, useless in cron

        with live_bars() as (say, bar):
            yield lambda fqrn: _Shown(fqrn, say, bar(fqrn))
    else:
        yield lambda fqrn: _Shown(fqrn, lambda line: click.echo(line, err=True), _Lines(fqrn))


class Display(Protocol):
    """Whatever shows how far a run is."""

    def update(self, counts: Counts) -> None:
        """Show these."""


class _Lines:
    """A line every ten seconds."""

    def __init__(self, fqrn: Fqrn) -> None:
        self._fqrn = fqrn
        self._began_s = time.monotonic()
        self._next_s = self._began_s + _LINE_EVERY_S

    def update(self, counts: Counts) -> None:
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

    def __init__(self, fqrn: Fqrn, say: Callable[[str], None], display: Display) -> None:
        self._fqrn = fqrn
        self._say = say
        self._display = display
        self._counts = Counts()
        self._retries = 0
        self._told: Counter[tuple[type[Event], str]] = Counter()

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
                return self._source_line(event)

    def _source_line(self, event: Event) -> str | None:
        """What one of several sources does, as often as is worth reading."""
        match event:
            case SourcePassedOver():
                return f"passed over {event.source}: {event.reason}"
            case SourceLied():
                line = f"WRONG BYTES from {event.source}: {event.reason}; thrown away"
            case SourceFailed():
                line = f"asking another source for {event.path}: {event.reason}"
            case SourceSuspended():
                line = f"not asking {event.source} for {event.pause_s:g} s: {event.reason}"
            case SourceRecovered():
                line = f"{event.source} delivers again"
            case _:
                return None
        kind = (type(event), event.source)
        self._told[kind] += 1
        if self._told[kind] > _SHOWN_RETRIES:
            return None
        return line + " (no more of this is shown)" * (self._told[kind] == _SHOWN_RETRIES)


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
