"""Serving of objects, beside nginx and Apache, with wrk on one core and each server on the other.

    python bench/serve.py                                every case, in ten minutes
    python bench/serve.py --cases small-tmpfs --rounds 5 --seconds 5 --json results.json
    python bench/serve.py --cases --json results.json --readme    the tables of what is in there

small-tmpfs, small-disk: 20,000 objects, median 8 KB; ours once from memory, once from files that
are in the page cache. large-tmpfs: objects of 8 MB. sizes-tmpfs: 1 KB to 16 MB, which --readme also
draws. two-tmpfs: two workers of each server and wrk share two cores. Everybody is up all the time,
rounds are interleaved, medians are shown. Cases already in the file that --json names stay there.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.objects import Objects, usual_sizes
from bench.plot import curves
from bench.report import Machine, put_into_readme
from bench.servers import (
    NGINX,
    Kind,
    Server,
    Setup,
    apache,
    free_port,
    from_files,
    from_memory,
    nginx,
    running,
    there_is_apache,
)
from bench.serving import FILES, MEMORY, ROOT_README, Serving, load, save, summary
from bench.wrk import Wrk

CURVE = Path(__file__).with_name("serve-sizes.svg")
KB, MB = 1000, 1_000_000
SIZES = [KB * 4**power for power in range(8)]
CASES = "small-tmpfs", "small-disk", "large-tmpfs", "sizes-tmpfs", "two-tmpfs"
_CURVE_BYTES = 128 * MB
_WARMING_S = 2
_SPARE_FILES = 2000


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked for, of whom, and how.

    Attributes:
        sizes: of the objects.
        kinds: of servers.
        connections: how many at once; each number is a measurement of its own.
        workers: of each server.
    """

    sizes: Sequence[int]
    kinds: dict[str, Kind]
    connections: Sequence[int] = (64,)
    workers: int = 1


def main() -> None:
    """Serve, ask, print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = _parser().parse_args()
    if shutil.which("wrk") is None or shutil.which(NGINX) is None or len(_cores()) < 2:
        sys.exit("this needs wrk and nginx on PATH, and two cores")
    _raise_limit()
    machine = Machine.here()
    print(machine, end="\n\n")
    results = load(options.json)
    for name in options.cases:
        results[name] = _measure(name, options, str(machine))
        print(results[name].table(), flush=True)
        save(options.json, results)
    if options.readme:
        _put_into_readmes(results)


def _measure(name: str, options: argparse.Namespace, machine: str) -> Serving:
    """All rounds of a case; for the curve, of each size in turn."""
    place = {"tmpfs": Path("/dev/shm"), "disk": options.directory}[name.rpartition("-")[2]]
    found = Serving(name, machine)
    for size in SIZES if found.is_by_size else [0]:
        with ExitStack() as stack:
            Bench(options, place, stack).run(_case(name, options, size), found, size)
    return found


def _case(name: str, options: argparse.Namespace, size: int) -> Case:
    small = usual_sizes(options.objects, 8 * KB, MB)
    others: dict[str, Kind] = {NGINX: nginx}
    if there_is_apache():
        others["apache2"] = apache
    match name.partition("-")[0]:
        case "small":
            everybody: dict[str, Kind] = {MEMORY: from_memory, FILES: from_files, **others}
            return Case(small, everybody, (64, 512))
        case "sizes":
            sizes = [size] * max(8, min(1000, _CURVE_BYTES // size))
            return Case(sizes, {MEMORY: from_memory, NGINX: nginx})
        case "large":
            return Case([8 * MB] * 24, {FILES: from_files, **others})
        case _:
            return Case(small, {MEMORY: from_memory, FILES: from_files, NGINX: nginx}, workers=2)


class Bench:
    """Directories of one case, which go when the stack is closed."""

    def __init__(self, options: argparse.Namespace, place: Path, stack: ExitStack) -> None:
        self._options = options
        self._stack = stack
        self._tree = self._directory(place)
        self._own = self._directory(Path("/dev/shm"))

    def run(self, case: Case, result: Serving, size: int = 0) -> None:
        """Start everybody, and ask each in turn."""
        objects = Objects.made(self._tree / "tree", case.sizes)
        objects.warm()
        result.what = f"{objects}; {_open_files(objects):,} files may be kept open"
        serving, asking = _shared_out(case.workers)
        wrk = Wrk(objects, self._own, asking)
        servers = [
            self._stack.enter_context(
                running(name, kind, self._setup(objects, number, case.workers), serving)
            )
            for number, (name, kind) in enumerate(case.kinds.items())
        ]
        for server in servers:
            wrk.load(server, 64, _WARMING_S)
        for number in range(self._options.rounds):
            print(f"{result.name} {size or ''}, round {number + 1}", file=sys.stderr)
            self._round(case, result, servers, wrk, size)

    def _round(
        self, case: Case, result: Serving, servers: list[Server], wrk: Wrk, size: int
    ) -> None:
        for connections in case.connections:
            for server in servers:
                seen = wrk.load(server, connections, self._options.seconds)
                result.add(size or connections, server.name, seen)

    def _setup(self, objects: Objects, number: int, workers: int) -> Setup:
        directory = self._own / str(number)
        return Setup(objects, directory, free_port(), workers, _open_files(objects))

    def _directory(self, place: Path) -> Path:
        path = Path(tempfile.mkdtemp("-bench", dir=place))
        path.chmod(0o755)  # Apache's workers are somebody else
        self._stack.callback(_remove, path)
        return path


def _remove(path: Path) -> None:
    """With rm, which goes by inode: a fraction of the time that rmtree needs."""
    subprocess.run(["rm", "-rf", path], check=True)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _shared_out(workers: int) -> tuple[list[int], list[int]]:
    """Cores to serve and to ask on: apart, but for two workers, who are to show what both give."""
    first, second = _cores()[:2]
    return ([first], [second]) if workers == 1 else ([first, second], [first, second])


def _raise_limit() -> None:
    """Every object's file is to be kept open, which the usual limit does not allow."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open_files(objects: Objects) -> int:
    """To be kept open by each server: all if the limit allows it, beside connections."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return min(len(objects.paths) * 6 // 5 + 100, limit - _SPARE_FILES)


def _put_into_readmes(results: dict[str, Serving]) -> None:
    tables = "\n".join(each.table() for each in results.values())
    put_into_readme("serving", tables)
    put_into_readme("serving", summary(results), ROOT_README)
    if found := results.get("sizes-tmpfs"):
        lines = {name: found.megabytes_per_s(name) for name in (MEMORY, NGINX)}
        CURVE.write_text(curves("MB/s by size of object, 64 connections, one core", lines))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--cases", nargs="*", choices=CASES, default=CASES, metavar="CASE")
    add("--rounds", type=int, default=3)
    add("--seconds", type=int, default=3, help="of each measurement")
    add("--objects", type=int, default=20_000, help="of the small cases")
    add("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    add("--json", type=Path, help="every round of everything")
    add("--readme", action="store_true", help="put the tables into the READMEs")
    return parser


if __name__ == "__main__":
    main()
