"""The live bars of runs, on terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

from mirror.cli.output import size_text
from mirror.counts import Counts
from mirror.cvmfs.fqrn import Fqrn


@contextmanager
def live_bars() -> Iterator[tuple[Callable[[str], None], Callable[[Fqrn], LiveBar]]]:
    """Show bars on standard error; gives what prints a line above them, and what adds a bar."""
    console = Console(stderr=True)
    with _progress(console) as progress:
        yield lambda line: console.print(Text(line)), lambda fqrn: LiveBar(progress, fqrn)


def _progress(console: Console) -> Progress:
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


class LiveBar:
    """The bar: see `Display`."""

    def __init__(self, progress: Progress, fqrn: Fqrn) -> None:
        self._progress = progress
        self._task: TaskID = progress.add_task(
            fqrn.name, total=None, objects=0, wanted=0, fetched=0
        )

    def update(self, counts: Counts) -> None:
        """Show these."""
        self._progress.update(
            self._task,
            total=counts.wanted_bytes or None,
            completed=counts.object_bytes,
            objects=f"{counts.objects:,}",
            wanted=f"{counts.wanted:,}",
            fetched=counts.fetched_bytes,
        )
