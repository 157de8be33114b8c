"""What proxies measured, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.proxies import OURS, SQUID
from bench.report import markdown
from bench.wrk import Load, medians

HEADER = (
    *("Connections", "Form", "Proxy", "Requests/s", "of squid", "p50 ms", "p99 ms"),
    *("CPU µs/request", "squid's, times", "wrk cores"),
)


@dataclass(slots=True)
class Proxying:
    """A case, measured.

    Attributes:
        name: of the case.
        machine: it was measured on, and when.
        what: was asked for.
        rounds: by connections and form, ``64 reverse``: by proxy, for each round.
    """

    name: str
    machine: str
    what: str = ""
    rounds: dict[str, dict[str, list[Load]]] = field(default_factory=dict)

    def add(self, key: str, proxy: str, load: Load) -> None:
        """One more round of a proxy."""
        self.rounds.setdefault(key, {}).setdefault(proxy, []).append(load)

    def table(self) -> str:
        """For people; Markdown."""
        rows = [
            [*key.split(), name, *_cells(medians(loads), medians(proxies.get(SQUID, loads)))]
            for key, proxies in self.rounds.items()
            for name, loads in proxies.items()
        ]
        return f"{self._description()}\n\n{markdown(HEADER, rows, words=3)}\n{self._verdict()}\n"

    def _description(self) -> str:
        loads = [load for each in self.rounds.values() for loads in each.values() for load in loads]
        others = sum(each.others_cores for each in loads) / len(loads)
        count = max(len(each) for proxies in self.rounds.values() for each in proxies.values())
        return (
            f"**{self.name}**: {self.what}. Rounds: {count}. Other work on the machine and the "
            f"origin took {others:.2f} cores. {self.machine}."
        )

    def _verdict(self) -> str:
        """Ours beside squid, and beside the best of all others."""
        return "".join(
            f"\n{key.replace(' ', ' connections, ')}: {_beside(proxies)}.\n"
            for key, proxies in self.rounds.items()
            if OURS in proxies and len(proxies) > 1
        )


def _beside(proxies: Mapping[str, list[Load]]) -> str:
    """By rate and by processor time: wrk is as busy as whoever is quick."""
    found = {name: medians(loads) for name, loads in proxies.items()}
    mine = found.pop(OURS)
    squids = found.pop(SQUID, None)
    said = []
    if squids is not None:
        rate = mine.requests_per_s / squids.requests_per_s
        said.append(f"{rate:.2f} times squid ({squids.cpu_us / mine.cpu_us:.2f} by processor time)")
    if found:
        rate = mine.requests_per_s / max(each.requests_per_s for each in found.values())
        cost = min(each.cpu_us for each in found.values()) / mine.cpu_us
        said.append(f"{rate:.2f} times the best of the others ({cost:.2f} by processor time)")
        p99 = min(each.p99_ms for each in found.values())
        said.append(f"p99 {mine.p99_ms:.1f} ms beside {p99:.1f}")
    return ", ".join(said)


def _cells(load: Load, squid: Load) -> list[str]:
    return [
        *(f"{load.requests_per_s:,.0f}", f"{load.requests_per_s / squid.requests_per_s:.2f}"),
        *(f"{load.p50_ms:.2f}", f"{load.p99_ms:.2f}"),
        *(f"{load.cpu_us:.1f}", f"{squid.cpu_us / load.cpu_us:.2f}", f"{load.wrk_cores:.2f}"),
    ]


def load(path: Path | None) -> dict[str, Proxying]:
    """What an earlier run left there, by case."""
    if path is None or not path.exists():
        return {}
    return {each["name"]: _from_json(each) for each in json.loads(path.read_text())}


def save(path: Path | None, results: Mapping[str, Proxying]) -> None:
    """Write everything measured, each round by itself."""
    if path is not None:
        path.write_text(json.dumps([asdict(each) for each in results.values()], indent=1))


def _from_json(found: dict[str, object]) -> Proxying:
    rounds = found["rounds"]
    assert isinstance(rounds, dict)
    return Proxying(
        str(found["name"]),
        str(found["machine"]),
        str(found["what"]),
        {
            key: {name: [Load(**each) for each in loads] for name, loads in proxies.items()}
            for key, proxies in rounds.items()
        },
    )
