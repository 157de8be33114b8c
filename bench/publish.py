"""Publications of a generated directory, beside ``tar | gzip`` and ``cvmfs_swissknife ingest``.

    python bench/publish.py [--files 20000] [--catalogs 40] [--rounds 3] [--directory DIR]

``tar cf - DIR | gzip -6`` reads, compresses and writes everything once and knows no hashes: the
floor. Rounds are interleaved and medians are shown; DIR decides which file system is measured.
Nothing is deleted before the end, since ext4 is slow to create files for minutes after many were
deleted, and each step begins with everything synced: ours syncs what it stores, the others leave
that to later, which "then sync" shows.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.measuring import Command, Measure, measured, medians
from mirror.stratum0.source import SourceEntry
from mirror.stratum0.synthetic import SyntheticSource

FQRN = "bench.example.org"
CLI = Path(sys.executable).with_name("cvmfs-mirror")
OURS = "`cvmfs-mirror publish`"
STEPS = "first", "1 % changed", "unchanged"


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--catalogs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        bench = Bench(Path(name), SyntheticSource(arguments.files, arguments.catalogs))
        bench.run(arguments.rounds)


class Bench:
    """A directory, the same with 1 % changed, and what each peer does with them."""

    def __init__(self, directory: Path, source: SyntheticSource) -> None:
        self.directory = directory
        self.content = directory / "content"
        write(source, self.content)
        self.files = sorted(path for path in self.content.rglob("*") if path.is_file())
        self._numbers = count()

    def run(self, rounds: int) -> None:
        """Measure every peer in turn, and print medians and ratios."""
        peers: dict[str, Callable[[], Sequence[Measure]]] = {OURS: self.ours}
        if shutil.which("cvmfs_swissknife") and os.geteuid() == 0:
            peers["`cvmfs_swissknife ingest` of a tarball"] = self.reference
        peers[r"`tar \| gzip -6`"] = self.floor
        results: dict[str, list[Sequence[Measure]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, peer in peers.items():
                results[name].append(peer())
        steps = [step for each in results.values() for steps in each for step in steps]
        others = sum(m.others_cores * m.wall_s for m in steps) / sum(m.wall_s for m in steps)
        print(f"{len(self.files):,} files, medians of {rounds} rounds; other work on the machine")
        print(f"took {others:.2f} of {os.cpu_count()} cores\n")
        print("| Step | Peer | Times ours | Wall s | then sync s | Processor s | Peak MiB |")
        print("|---|---|--:|--:|--:|--:|--:|")
        ours = [medians(step) for step in zip(*results[OURS], strict=True)]
        for number, step in enumerate(STEPS):
            for name, each in results.items():
                if number < len(each[0]):
                    theirs = medians([steps[number] for steps in each])
                    print(f"| {step} | {name} | {_cells(theirs, ours[number])} |")

    def ours(self) -> Sequence[Measure]:
        """``cvmfs-mirror publish``, durable: first, after a change, and without one."""
        place = self.fresh()
        command: Command = [
            *(CLI, "publish", self.content, "--name", FQRN),
            *("--into", place / "srv", "--keys", place / "keys"),
        ]
        first = measured(command, place)
        self.change()
        return first, measured(command, place), measured(command, place)

    def reference(self) -> Sequence[Measure]:
        """The real publisher's way for a tarball, into a repository that is empty so far."""
        place = self.fresh()
        root, empty, tarball = place / "srv" / FQRN, place / "empty", place / "content.tar"
        empty.mkdir()
        (place / "tmp").mkdir()
        make: Command = [CLI, "publish", empty, "--name", FQRN, "--into", place / "srv"]
        subprocess.run([*make, "--keys", place / "keys"], check=True, stdout=subprocess.DEVNULL)
        manifest = (root / ".cvmfspublished").read_bytes()
        base = next(line[1:] for line in manifest.split(b"\n") if line.startswith(b"C"))
        subprocess.run(["tar", "cf", tarball, "-C", self.content, "."], check=True)
        command: Command = [
            *("cvmfs_swissknife", "ingest", "-u", empty, "-c", empty, "-t", place / "tmp"),
            *("-b", base.decode(), "-r", f"local,{root}/data/txn,{root}"),
            *("-w", f"file://{root}", "-o", place / "manifest"),
            *("-K", place / "keys" / f"{FQRN}.pub", "-N", FQRN, "-T", tarball, "-B", "content"),
        ]
        with statistics_directory():
            return [measured(command, place)]

    def floor(self) -> Sequence[Measure]:
        """Two processes that read, compress and write everything once."""
        place = self.fresh()
        script = f"tar cf - -C {self.content} . | gzip -6 > {place}/content.tar.gz"
        return [measured(["sh", "-c", script], place)]

    def fresh(self) -> Path:
        """An empty directory; it stays until the end."""
        place = self.directory / f"{next(self._numbers)}"
        place.mkdir()
        return place

    def change(self) -> None:
        """Other bytes in one file of a hundred."""
        for path in random.Random().sample(self.files, max(1, len(self.files) // 100)):
            path.write_bytes(random.randbytes(path.stat().st_size))


@contextmanager
def statistics_directory() -> Iterator[None]:
    """Where the real publisher insists on writing statistics."""
    spool = Path("/var/spool/cvmfs") / FQRN
    spool.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(spool)


def write(source: SyntheticSource, target: Path) -> None:
    """Write a source out to a directory."""
    entries: list[SourceEntry] = list(source.entries())
    for entry in entries:
        path = target / os.fsdecode(entry.path[1:])
        if entry.content is None:
            path.mkdir()
        else:
            with entry.content() as file:
                path.write_bytes(file.read())


def _cells(theirs: Measure, ours: Measure) -> str:
    figures = theirs.wall_s / ours.wall_s, theirs.wall_s, theirs.synced_s, theirs.cpu_s
    return " | ".join([*(f"{each:.2f}" for each in figures), f"{theirs.peak_mib:.0f}"])


if __name__ == "__main__":
    main()
