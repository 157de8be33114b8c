"""Snapshots of a generated repository, beside ``cvmfs_swissknife pull`` and ``cp -r``.

    python bench/snapshot.py [--files 20000] [--catalogs 40] [--rounds 3] [--directory DIR]

The origin is nginx where it is on PATH, else this project's own server in a process of its own;
all peers fetch from the same one. Rounds are interleaved and medians are shown. DIR decides which
file system is measured.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.keys import Keys
from tests.support.publisher import Repository

FQRN = "bench.example.org"
CLI = Path(sys.executable).with_name("cvmfs-mirror")


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--catalogs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as name:
        bench = Bench(Path(name), arguments.files, arguments.catalogs)
        with origin(bench.published.parent) as url:
            bench.run(url, arguments.rounds)


class Bench:
    """Two revisions on disk, and what each peer does with them."""

    def __init__(self, directory: Path, files: int, catalogs: int) -> None:
        self.directory = directory
        self.published = directory / "origin" / "cvmfs" / FQRN
        self.revisions = [directory / "rev1", directory / "rev2"]
        self.key = directory / "master.pub"
        keys = Keys.generate()
        self.key.write_bytes(keys.master_pem)
        repository = Repository(keys, FQRN)
        tree = generate(files, catalogs)
        repository.publish(tree)
        repository.write_to(self.revisions[0])
        draw = random.Random(2)
        for contents in tree.values():
            for path in draw.sample(sorted(contents), max(1, len(contents) // 100)):
                contents[path] = draw.randbytes(len(contents[path]))
        repository.publish(tree)
        repository.write_to(self.revisions[1])
        self.published.parent.mkdir(parents=True)

    def publish(self, revision: int) -> None:
        """Let the origin serve a revision."""
        link = self.published.with_suffix(".new")
        link.symlink_to(self.revisions[revision])
        link.replace(self.published)

    def run(self, url: str, rounds: int) -> None:
        """Measure every peer in turn, and print medians and ratios."""
        peers: dict[str, Callable[[str], tuple[float, float, float]]] = {"cvmfs-mirror": self.ours}
        if shutil.which("cvmfs_swissknife"):
            peers["cvmfs_swissknife pull -n 16"] = self.reference
        peers["cp -r (floor)"] = self.copy
        results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in peers}
        for _ in range(rounds):
            for name, peer in peers.items():
                results[name].append(peer(url))
        ours = [statistics.median(column) for column in zip(*results["cvmfs-mirror"], strict=True)]
        print(
            f"{'seconds (and times as long as ours)':38}{'first':>16}{'1 % new':>16}{'no news':>16}"
        )
        for name, rows in results.items():
            medians = [statistics.median(column) for column in zip(*rows, strict=True)]
            cells = [
                "-" if math.isnan(m) else f"{m:.2f} ({m / o:.2f}x)"
                for m, o in zip(medians, ours, strict=True)
            ]
            print(f"{name:38}" + "".join(f"{cell:>16}" for cell in cells))

    def three(self, snapshot: Callable[[bool], None]) -> tuple[float, float, float]:
        """Time the first snapshot, the incremental one, and one without news."""
        times = []
        for revision, is_initial in ((0, True), (1, False), (1, False)):
            self.publish(revision)
            began = time.perf_counter()
            snapshot(is_initial)
            times.append(time.perf_counter() - began)
        return times[0], times[1], times[2]

    def ours(self, url: str) -> tuple[float, float, float]:
        """``cvmfs-mirror snapshot``, durable."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            config = Path(name) / "mirror.toml"
            config.write_text(
                f'[storage]\npath = "{name}/srv"\nspool = "{name}/spool"\n[[replica]]\n'
                f'name = "{FQRN}"\nstratum0 = "{url}/cvmfs/{FQRN}"\nkeys = "{self.key}"\n'
            )
            command = [CLI, "--config", config, "snapshot"]
            return self.three(lambda _: _run(command))

    def reference(self, url: str) -> tuple[float, float, float]:
        """The real pull, which never syncs."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            root, scratch = Path(name) / "root", Path(name) / "scratch"
            for fan in [*(f"{byte:02x}" for byte in range(256)), "txn"]:
                (root / "data" / fan).mkdir(parents=True)
            scratch.mkdir()
            command = [
                *("cvmfs_swissknife", "pull", "-m", FQRN, "-u", f"{url}/cvmfs/{FQRN}"),
                *("-w", f"file://{root}", "-r", f"local,{root}/data/txn,{root}", "-k", self.key),
                *("-x", scratch, "-n", "16", "-t", "10", "-a", "3", "-R", f"{name}/reflog"),
            ]
            return self.three(lambda is_initial: _run([*command, "-i" if is_initial else "-p"]))

    def copy(self, _url: str) -> tuple[float, float, float]:
        """What the file system itself needs for the bytes of the first revision."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            times = []
            for _ in range(3):
                began = time.perf_counter()
                target = tempfile.mkdtemp(dir=name)
                _run(["cp", "-r", f"{self.revisions[0]}/.", target])
                times.append(time.perf_counter() - began)
            return times[0], float("nan"), float("nan")


def generate(files: int, catalogs: int) -> dict[str, dict[str, bytes]]:
    """Files of lognormal size with a median of 8 KB, half of each compressible."""
    draw = random.Random(1)
    tree: dict[str, dict[str, bytes]] = {}
    for number in range(files):
        size = min(int(draw.lognormvariate(9.0, 1.5)), 1 << 20)
        content = draw.randbytes(size // 2) + bytes(size - size // 2)
        tree.setdefault(f"/sw/p{number % catalogs}", {})[f"f{number}"] = content
    return tree


@contextmanager
def origin(storage: Path) -> Iterator[str]:
    """Serve ``storage`` as ``/cvmfs/…``; nginx if there is one."""
    if shutil.which("nginx") is None:
        command = [sys.executable, "-c", _SERVE, str(storage)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                yield server.stdout.readline().strip()
            finally:
                server.terminate()
        return
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "nginx.conf"
        user = "user root;" if os.geteuid() == 0 else ""
        port = 18_000 + os.getpid() % 10_000
        config.write_text(
            f"{user} worker_processes 1; daemon off; pid {name}/pid; error_log {name}/log;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;\n"
            f"server {{ listen 127.0.0.1:{port}; root {storage.parent}; }} }}\n"
        )
        with subprocess.Popen(["nginx", "-c", config, "-p", name]) as server:
            try:
                time.sleep(0.5)
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


_SERVE = """
import asyncio, sys, pathlib
from mirror.serve.running import serving
async def main():
    async with serving(pathlib.Path(sys.argv[1]), [("127.0.0.1", 0)]) as urls:
        print(urls[0], flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}\n{done.stderr.decode()}")


if __name__ == "__main__":
    main()
