"""Publications of a generated directory, beside ``tar | gzip`` and ``cvmfs_swissknife ingest``.

    python bench/publish.py [--files 20000] [--catalogs 40] [--rounds 3] [--directory DIR]

``tar cf - DIR | gzip -6`` reads, compresses and writes everything once and knows no hashes: the
floor. Rounds are interleaved and medians are shown; memory is the largest of a peer's processes.
DIR decides which file system is measured.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mirror.stratum0.source import SourceEntry
from mirror.stratum0.synthetic import SyntheticSource

FQRN = "bench.example.org"
CLI = Path(sys.executable).with_name("cvmfs-mirror")
STEPS = "first", "1 % changed", "unchanged"


@dataclass(frozen=True, slots=True)
class Measure:
    """What one run cost: wall seconds, processor seconds, most memory in MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


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

    def run(self, rounds: int) -> None:
        """Measure every peer in turn, and print medians and ratios."""
        peers: dict[str, Callable[[], Sequence[Measure]]] = {"cvmfs-mirror publish": self.ours}
        if shutil.which("cvmfs_swissknife") and os.geteuid() == 0:
            peers["cvmfs_swissknife ingest (tar)"] = self.reference
        peers["tar | gzip -6 (floor)"] = self.floor
        results: dict[str, list[Sequence[Measure]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, peer in peers.items():
                results[name].append(peer())
        ours = medians(results["cvmfs-mirror publish"])
        print(f"{len(self.files)} files; wall seconds (times as long as ours), cpu seconds, MiB")
        print(f"{'':32}" + "".join(f"{step:>34}" for step in STEPS))
        for name, rows in results.items():
            cells = [
                f"{m.wall_s:.2f} ({m.wall_s / o.wall_s:.2f}x), {m.cpu_s:.2f}, {m.peak_mib:.0f}"
                for m, o in zip(medians(rows), ours, strict=False)
            ]
            print(f"{name:32}" + "".join(f"{cell:>34}" for cell in cells))

    def ours(self) -> Sequence[Measure]:
        """``cvmfs-mirror publish``, durable: first, after a change, and without one."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            command: list[str | Path] = [
                *(CLI, "publish", self.content, "--name", FQRN),
                *("--into", f"{name}/srv", "--keys", f"{name}/keys"),
            ]
            first = measured(command)
            self.change()
            return first, measured(command), measured(command)

    def reference(self) -> Sequence[Measure]:
        """The real publisher's way for a tarball, into a repository that is empty so far."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            root, empty = Path(name) / "srv" / FQRN, Path(name) / "empty"
            empty.mkdir()
            (Path(name) / "tmp").mkdir()
            make: list[str | Path] = [
                CLI,
                "publish",
                empty,
                "--name",
                FQRN,
                "--into",
                f"{name}/srv",
            ]
            subprocess.run([*make, "--keys", f"{name}/keys"], check=True, stdout=subprocess.DEVNULL)
            manifest = (root / ".cvmfspublished").read_bytes()
            base = next(line[1:] for line in manifest.split(b"\n") if line.startswith(b"C"))
            tarball = f"{name}/content.tar"
            subprocess.run(["tar", "cf", tarball, "-C", self.content, "."], check=True)
            command: list[str | Path] = [
                *("cvmfs_swissknife", "ingest", "-u", empty, "-c", empty, "-t", f"{name}/tmp"),
                *("-b", base.decode(), "-r", f"local,{root}/data/txn,{root}"),
                *("-w", f"file://{root}", "-o", f"{name}/manifest"),
                *("-K", f"{name}/keys/{FQRN}.pub", "-N", FQRN, "-T", tarball, "-B", "content"),
            ]
            with statistics_directory():
                return [measured(command)]

    def floor(self) -> Sequence[Measure]:
        """Two processes that read, compress and write everything once."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            script = f"tar cf - -C {self.content} . | gzip -6 > {name}/content.tar.gz"
            return [measured(["sh", "-c", script])]

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


def measured(command: Sequence[str | Path]) -> Measure:
    """Run a program in a child of its own, so that its memory is its own too."""
    read, send = os.pipe()
    began = time.perf_counter()
    child = os.fork()
    if child == 0:
        done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(send, f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}".encode())
        os._exit(done.returncode)
    os.close(send)
    _, status = os.waitpid(child, 0)
    wall_s = time.perf_counter() - began
    with os.fdopen(read) as file:
        cpu_s, peak_kib = file.read().split()
    if status:
        raise SystemExit(f"{command[0]} failed")
    return Measure(wall_s, float(cpu_s), int(peak_kib) / 1024)


def medians(rounds: Sequence[Sequence[Measure]]) -> list[Measure]:
    """Per step, over the rounds."""
    return [
        Measure(
            statistics.median(each.wall_s for each in step),
            statistics.median(each.cpu_s for each in step),
            statistics.median(each.peak_mib for each in step),
        )
        for step in zip(*rounds, strict=True)
    ]


if __name__ == "__main__":
    main()
