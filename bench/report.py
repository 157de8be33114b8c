"""Results, for people and for machines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bench.corpora import Corpus
from bench.measuring import Measure, medians
from bench.peers import STEPS

README = Path(__file__).with_name("README.md")
OURS = "cvmfs-mirror snapshot"


@dataclass(slots=True)
class Result:
    """A case, measured.

    Attributes:
        name: of the case.
        corpus: what was replicated.
        how: by whom it was served, over what.
        file_system: of the replicas.
        rounds: by peer: for each round, its steps.
    """

    name: str
    corpus: Corpus
    how: str
    file_system: str
    rounds: dict[str, list[list[Measure]]] = field(default_factory=dict)

    def medians(self, peer: str) -> list[Measure]:
        """Of each step that was reached in every round."""
        return [medians(step) for step in zip(*self.rounds[peer], strict=False)]

    def table(self) -> str:
        """For people; Markdown."""
        rows = [
            [step, peer, *self._cells(number, peer)]
            for number, step in enumerate(STEPS)
            for peer in self.rounds
            if number < min(len(self.medians(peer)), len(self.medians(OURS)))
        ]
        return f"{self._description()}\n\n{markdown(HEADER, rows, words=2)}\n"

    def _cells(self, number: int, peer: str) -> list[str]:
        theirs, ours = self.medians(peer)[number], self.medians(OURS)[number]
        objects = (self.corpus.objects, self.corpus.new_objects, 0)[number]
        least = "> " if theirs.was_given_up else ""
        return [
            f"{least}{theirs.wall_s / ours.wall_s:.2f}",
            f"{least}{theirs.wall_s:.2f}",
            f"{theirs.synced_s:.2f}",
            f"{least}{theirs.cpu_s:.2f}",
            f"{least}{1e6 * theirs.cpu_s / objects:.0f}" if objects else "",
            f"{theirs.peak_mib:.0f}",
        ]

    def _description(self) -> str:
        plan, corpus, count = self.corpus.plan, self.corpus, len(self.rounds[OURS])
        servers_us = 1e6 * self.medians(OURS)[0].servers_cpu_s / corpus.objects
        return (
            f"**{self.name}**: {plan.files:,} files in {plan.catalogs:,} nested catalogs, "
            f"{corpus.objects:,} objects, {corpus.size_bytes / 1e6:.0f} MB; {corpus.new_objects:,} "
            f"new in revision 2. Replicas on {self.file_system}. {self.how}. "
            f"Rounds: {count}. Origin and link took {servers_us:.0f} µs an object for our first, "
            f"and other work on the machine {self.others_cores():.2f} cores all the time."
        )

    def others_cores(self) -> float:
        """What something else used, on average over the time measured."""
        each = [step for rounds in self.rounds.values() for steps in rounds for step in steps]
        return sum(m.others_cores * m.wall_s for m in each) / sum(m.wall_s for m in each)

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "case": self.name,
            "corpus": self.corpus.as_json(),
            "how": self.how,
            "file_system": self.file_system,
            "others_cores": self.others_cores(),
            "peers": {
                peer: [
                    {step: asdict(m) for step, m in zip(STEPS, steps, strict=False)}
                    for steps in rounds
                ]
                for peer, rounds in self.rounds.items()
            },
        }


HEADER = (
    *("Step", "Peer", "Times ours", "Wall s", "then sync s"),
    *("Processor s", "µs/object", "Peak MiB"),
)


@dataclass(frozen=True, slots=True)
class Growth:
    """What a snapshot of one size needs."""

    corpus: Corpus
    first: Measure
    no_news: Measure

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "corpus": self.corpus.as_json(),
            "first": asdict(self.first),
            "no news": asdict(self.no_news),
        }


def growth_table(rows: Sequence[Growth]) -> str:
    """For people; Markdown."""
    header = "Files", "Catalogs", "Objects", "First, peak MiB", "No news, peak MiB", "First, wall s"
    return markdown(
        header,
        [
            [
                *(f"{row.corpus.plan.files:,}", f"{row.corpus.plan.catalogs:,}"),
                *(f"{row.corpus.objects:,}", f"{row.first.peak_mib:.0f}"),
                *(f"{row.no_news.peak_mib:.0f}", f"{row.first.wall_s:.1f}"),
            ]
            for row in rows
        ],
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What it was measured on, and how busy that was before."""

    date: str
    cores: int
    system: str
    kernel: str
    python: str
    load: float
    code: str

    @classmethod
    def here(cls) -> Self:
        """This one, now."""
        return cls(
            datetime.now(UTC).date().isoformat(),
            os.cpu_count() or 1,
            platform.freedesktop_os_release()["PRETTY_NAME"],
            platform.release(),
            platform.python_version(),
            os.getloadavg()[0],
            _code(),
        )

    def __str__(self) -> str:
        return (
            f"{self.date}; {self.cores} cores, {self.system}, Python {self.python}; "
            f"load before {self.load:.1f}; commit {self.code}"
        )


def _code() -> str:
    """The commit that is measured, and whether something is not in it."""
    command = ["git", "-C", str(README.parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def save(path: Path, machine: Machine, results: Sequence[Result], growth: Sequence[Growth]) -> None:
    """Write everything measured, each round by itself."""
    document = {
        "machine": asdict(machine),
        "cases": [each.as_json() for each in results],
        "memory": [each.as_json() for each in growth],
    }
    path.write_text(json.dumps(document, indent=1))


def put_into_readme(title: str, text: str, readme: Path = README) -> None:
    """Replace what README says between the marks of this title."""
    begin, end = f"<!-- {title} -->\n", f"<!-- end of {title} -->\n"
    before, _, rest = readme.read_text().partition(begin)
    _, _, after = rest.partition(end)
    readme.write_text(f"{before}{begin}\n{text.strip()}\n\n{end}{after}")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 0) -> str:
    """Markdown; the first columns hold words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = ["-" * (w - 1) + ("-" if at < words else ":") for at, w in enumerate(widths)]
    lines = [header, rule, *rows]
    return "\n".join(
        "| "
        + " | ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    )
