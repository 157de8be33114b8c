"""What serving measured, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.report import markdown
from bench.servers import NGINX
from bench.wrk import Load, medians

ROOT_README = Path(__file__).parents[1] / "README.md"
MEMORY, FILES = "cvmfs-mirror, from memory", "cvmfs-mirror, from files"
HEADER = (
    *("Server", "Requests/s", "of nginx", "MB/s", "of nginx", "p50 ms", "p99 ms"),
    *("CPU µs/request", "of nginx", "wrk cores"),
)


@dataclass(slots=True)
class Serving:
    """A case, measured.

    Attributes:
        name: of the case.
        machine: it was measured on, and when.
        what: was served.
        rounds: by number of connections, or size of the objects: by server, for each round.
    """

    name: str
    machine: str
    what: str = ""
    rounds: dict[int, dict[str, list[Load]]] = field(default_factory=dict)

    def add(self, key: int, server: str, load: Load) -> None:
        """One more round of a server."""
        self.rounds.setdefault(key, {}).setdefault(server, []).append(load)

    def medians(self, key: int, server: str) -> Load | None:
        """Of a server; None if it did not take part."""
        loads = self.rounds.get(key, {}).get(server)
        return medians(loads) if loads else None

    def table(self) -> str:
        """For people; Markdown."""
        rows = [
            [f"{key:,}", name, *_cells(medians(loads), medians(servers[NGINX]))]
            for key, servers in self.rounds.items()
            for name, loads in servers.items()
        ]
        header = "Bytes" if self.is_by_size else "Connections", *HEADER
        return f"{self._description()}\n\n{markdown(header, rows, words=2)}\n"

    @property
    def is_by_size(self) -> bool:
        """Rather than by connections."""
        return self.name.startswith("sizes")

    def megabytes_per_s(self, server: str) -> dict[int, float]:
        """By key."""
        found = {key: self.medians(key, server) for key in self.rounds}
        return {key: each.bytes_per_s / 1e6 for key, each in found.items() if each}

    def _description(self) -> str:
        loads = [load for each in self.rounds.values() for loads in each.values() for load in loads]
        others = sum(each.others_cores for each in loads) / len(loads)
        count = max(len(each) for servers in self.rounds.values() for each in servers.values())
        what = "64 connections" if self.is_by_size else self.what
        return (
            f"**{self.name}**: {what}. Rounds: {count}. Other work on the machine took "
            f"{others:.2f} cores. {self.machine}."
        )


def _cells(load: Load, nginx: Load) -> list[str]:
    return [
        *(f"{load.requests_per_s:,.0f}", f"{load.requests_per_s / nginx.requests_per_s:.2f}"),
        *(f"{load.bytes_per_s / 1e6:,.0f}", f"{load.bytes_per_s / nginx.bytes_per_s:.2f}"),
        *(f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}"),
        *(f"{load.cpu_us:.1f}", f"{load.cpu_us / nginx.cpu_us:.2f}", f"{load.wrk_cores:.2f}"),
    ]


_SUMMARY = (
    ("objects of 8 KB, in memory", "small-tmpfs", MEMORY),
    ("the same, from files in the page cache", "small-tmpfs", FILES),
    ("the same, on a disk", "small-disk", FILES),
    ("files of 8 MB", "large-tmpfs", FILES),
    ("objects of 8 KB, two workers on two cores", "two-tmpfs", MEMORY),
)


def summary(results: Mapping[str, Serving]) -> str:
    """The few figures for the project's README, at 64 connections."""
    rows = [
        [what, *_times(mine, theirs, results[case].medians(64, "apache2"))]
        for what, case, ours in _SUMMARY
        if case in results
        and (mine := results[case].medians(64, ours))
        and (theirs := results[case].medians(64, NGINX))
    ]
    header = "Served", "Bytes/s, nginx = 1", "apache2", "CPU a request, nginx = 1", "p99, nginx = 1"
    return markdown(header, rows, words=1)


def _times(ours: Load, nginx: Load, apache: Load | None) -> list[str]:
    return [
        f"{ours.bytes_per_s / nginx.bytes_per_s:.2f}",
        f"{apache.bytes_per_s / nginx.bytes_per_s:.2f}" if apache else "",
        f"{ours.cpu_us / nginx.cpu_us:.2f}",
        f"{ours.p99_ms / nginx.p99_ms:.2f}",
    ]


def load(path: Path | None) -> dict[str, Serving]:
    """What an earlier run left there, by case."""
    if path is None or not path.exists():
        return {}
    return {each["name"]: _from_json(each) for each in json.loads(path.read_text())}


def save(path: Path | None, results: Mapping[str, Serving]) -> None:
    """Write everything measured, each round by itself."""
    if path is not None:
        path.write_text(json.dumps([asdict(each) for each in results.values()], indent=1))


def _from_json(found: dict[str, object]) -> Serving:
    rounds = found["rounds"]
    assert isinstance(rounds, dict)
    return Serving(
        str(found["name"]),
        str(found["machine"]),
        str(found["what"]),
        {
            int(key): {name: [Load(**each) for each in loads] for name, loads in servers.items()}
            for key, servers in rounds.items()
        },
    )
