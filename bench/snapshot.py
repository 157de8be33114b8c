"""Snapshots of a generated repository, beside ``cvmfs_swissknife pull`` and ``cp -r``.

    python bench/snapshot.py                             every default case, in 15 minutes
    python bench/snapshot.py --cases large-disk-loopback --rounds 5 --json results.json
    python bench/snapshot.py --memory-run 20000 200000 2000000 --cases
    python bench/snapshot.py --readme                    and put the tables into bench/README.md

A case is a corpus (large, tiny), the place of the replicas (tmpfs, disk) and the way to the origin
(loopback; link: 50 ms round trip, needs root). Each round every peer makes its first snapshot, one
with 1 % changed, and one with no news; rounds are interleaved, medians are shown. Nothing is
deleted before the end, since ext4 is slow to create files for minutes after many were deleted, and
each step begins with everything synced: ours syncs what it stores, the others leave that to later,
which "then sync" shows.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.corpora import Corpus, Plan
from bench.link import Route, can_link, link, loopback
from bench.measuring import Measure, measured
from bench.origin import Origin, origin
from bench.peers import Peer, peers
from bench.report import Growth, Machine, Result, growth_table, put_into_readme, save

CORPORA, PLACES = ("large", "tiny"), ("tmpfs", "disk")
ROUTES: dict[str, Callable[[], AbstractContextManager[Route]]] = {
    "loopback": loopback,
    "link": link,
}
CASES = [f"{corpus}-{place}-{route}" for corpus in CORPORA for place in PLACES for route in ROUTES]
DEFAULT_CASES = [case for case in CASES if not case.endswith("disk-link")]
REVISIONS = 1, 2, 2
FILES_A_CATALOG = 500
_DAY_S = 86_400.0


def main() -> None:
    """Make what is missing, measure, print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = _parser().parse_args()
    machine = Machine.here()
    print(machine, end="\n\n")
    results: list[Result] = []
    with ExitStack() as stack:
        site = Site(options, stack)
        for case in options.cases:
            if case.endswith("-link") and not can_link():
                print(f"{case} is left out: it needs root and /dev/net/tun\n")
                continue
            results.append(site.measure(case))
            print(results[-1].table(), flush=True)
        growth = [site.grow(files) for files in options.memory_run]
        if growth:
            print(growth_table(growth))
    if options.json:
        save(options.json, machine, results, growth)
    if options.readme and results:
        tables = "\n".join(each.table() for each in results)
        put_into_readme("snapshots", f"{machine}.\n\n{tables}")
    if options.readme and growth:
        put_into_readme("memory", f"{machine}.\n\n{growth_table(growth)}")


class Site:
    """Where everything of one run is kept; all of it goes when the stack is closed."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        above = {"tmpfs": Path("/dev/shm"), "disk": options.directory}
        self._places = {
            name: Path(tempfile.mkdtemp("-bench", dir=path)) for name, path in above.items()
        }
        stack.callback(self._clean)
        self._plans = {
            "large": Plan(options.files, options.catalogs, 6656),
            "tiny": Plan(3 * options.tiny_catalogs, options.tiny_catalogs, 200),
        }

    def measure(self, case: str) -> Result:
        """All rounds of a case."""
        corpus_name, place, route_name = case.split("-")
        corpus = self._corpus(self._plans[corpus_name], "tmpfs")
        corpus.warm()
        is_slow = corpus_name == "tiny" or route_name == "link"
        rounds = self._options.slow_rounds if is_slow else self._options.rounds
        directory = self._places[place] / case
        directory.mkdir()
        with ROUTES[route_name]() as route, origin(corpus, route) as served:
            everybody = peers()
            result = Result(case, corpus, served.how, _file_system(directory))
            for number in range(rounds):
                for peer in everybody:
                    patience_s = _DAY_S if peer is everybody[0] else self._options.patience
                    print(f"{case}, round {number + 1}: {peer.name}", file=sys.stderr)
                    mine = directory / f"{number}-{peer.name.replace(' ', '-')}"
                    measures = self._steps(peer, mine, served, patience_s)
                    result.rounds.setdefault(peer.name, []).append(measures)
        return result

    def grow(self, files: int) -> Growth:
        """What our memory does with so many files."""
        plan = Plan(files, max(1, files // FILES_A_CATALOG), 200, revisions=1)
        corpus = self._corpus(plan, "disk")
        directory = self._places["disk"] / f"memory-{files}"
        with loopback() as route, origin(corpus, route) as served:
            first, no_news, _ = self._steps(peers()[0], directory, served, _DAY_S)
        print(f"{files} files: {first.peak_mib:.0f} MiB", file=sys.stderr)
        return Growth(corpus, first, no_news)

    def _steps(
        self, peer: Peer, directory: Path, served: Origin, patience_s: float
    ) -> list[Measure]:
        """One round of a peer; after a step that it did not end, there are no others."""
        directory.mkdir()
        measures: list[Measure] = []
        for revision, command in zip(REVISIONS, peer.commands(directory, served), strict=False):
            served.serve(revision)
            measures.append(measured(command, directory, served.servers, patience_s))
            if measures[-1].was_given_up:
                return measures
        peer.require_complete(directory, REVISIONS[len(measures) - 1], served)
        return measures

    def _clean(self) -> None:
        """With rm, which goes by inode: a fraction of the time that rmtree needs."""
        subprocess.run(["rm", "-rf", *self._places.values()], check=True)

    def _corpus(self, plan: Plan, place: str) -> Corpus:
        print(f"corpus {plan.name}", file=sys.stderr)
        cache = self._options.cache or self._places[place]
        return Corpus.made(plan, cache)


def _file_system(directory: Path) -> str:
    command = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(directory)]
    return subprocess.check_output(command, text=True).split()[-1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", nargs="*", choices=CASES, default=DEFAULT_CASES, metavar="CASE")
    add("--rounds", type=int, default=3)
    add("--slow-rounds", type=int, default=1, help="of tiny and link cases")
    add("--patience", type=float, default=100.0, help="seconds, then another peer is given up")
    add("--files", type=int, default=20_000, help="of the large corpus")
    add("--catalogs", type=int, default=40, help="of the large corpus")
    add("--tiny-catalogs", type=int, default=10_000, help="of three tiny files each")
    add("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    add("--cache", type=Path, help="keeps the corpora for the next run")
    add("--memory-run", type=int, nargs="+", default=[], metavar="FILES", help="our peak memory")
    add("--json", type=Path, help="every round of everything")
    add("--readme", action="store_true", help="put the tables into bench/README.md")
    return parser


if __name__ == "__main__":
    main()
