"""Ten repositories at once, one of them a thousand times as large: what that costs the nine.

    python bench/together.py [--files 20] [--times 1000] [--rounds 3]

Each of the nine is brought home by a run of its own; then the nine are by one run, which shows what
they cost each other; then all ten, the large one first. A repository's time ends when its manifest
is there. It begins with the program, which is what an operator waits for, and counts the program's
own start in all cases; or when its own snapshot begins, which leaves that out. Everything is on
tmpfs and on loopback.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.peers import CLI
from mirror.cvmfs.fqrn import Fqrn
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.publishing import Publication, PublicationOptions
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.synthetic import SyntheticSource

_SMALL = [f"small{number}.example.org" for number in range(9)]
_LARGE = "large.example.org"
_ALL = [_LARGE, *_SMALL]
_FILES_A_CATALOG = 500
_MEDIAN_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Took:
    """How long one repository took.

    Attributes:
        since_program_s: from the start of the program,
        since_own_s: from that of its snapshot.
    """

    since_program_s: float
    since_own_s: float


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20, help="of a small one")
    parser.add_argument("--times", type=int, default=1000, help="as many has the large one")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if shutil.which("nginx") is None:
        sys.exit("this needs nginx on PATH")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        _publish(directory, options.files, options.files * options.times)
        site = Site(directory, stack.enter_context(_origin(directory)))
        runs = {"alone": [[name] for name in _SMALL], "the nine": [_SMALL], "all ten": [_ALL]}
        cases: dict[str, dict[str, list[Took]]] = {
            case: {name: [] for name in _ALL} for case in runs
        }
        for _ in range(options.rounds):
            for case, runs_of_case in runs.items():
                for names in runs_of_case:
                    for name, took in site.took(names).items():
                        cases[case][name].append(took)
        _report(cases)


@dataclass
class Site:
    """Replicas that begin anew with each run."""

    directory: Path
    port: int
    runs: int = 0

    def took(self, names: Sequence[str]) -> dict[str, Took]:
        """Bring these home in one run."""
        self.runs += 1
        place = self.directory / f"run{self.runs}"
        place.mkdir()
        config = place / "mirror.toml"
        config.write_text(
            f'[storage]\npath = "{place}/srv"\nspool = "{place}/spool"\n'
            f"[snapshot]\nparallel = {len(names)}\n" + "".join(map(self._replica, names))
        )
        begun_s, starts_s = _run(config)
        flips_s = {
            name: (place / "srv" / name / ".cvmfspublished").stat().st_mtime for name in names
        }
        return {
            name: Took(flips_s[name] - begun_s, flips_s[name] - starts_s[name]) for name in names
        }

    def _replica(self, name: str) -> str:
        return (
            f'[[replica]]\nname = "{name}"\nkeys = "{self.directory}/keys/{name}.pub"\n'
            f'stratum0 = "http://127.0.0.1:{self.port}/cvmfs/{name}"\n'
        )


def _run(config: Path) -> tuple[float, dict[str, float]]:
    """When the program was started, and when it said of each repository that it begins."""
    starts_s: dict[str, float] = {}
    said = []
    begun_s = time.time()
    with subprocess.Popen(
        [CLI, "--config", config, "snapshot"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stderr is not None
        for line in program.stderr:
            said.append(line)
            starts_s.setdefault(line.partition(":")[0], time.time())
    if program.returncode:
        sys.exit(f"it ended with {program.returncode}\n{''.join(said)}")
    return begun_s, starts_s


def _report(cases: Mapping[str, Mapping[str, Sequence[Took]]]) -> None:
    """Medians, and how many times as long as alone."""
    for since in ("since_program_s", "since_own_s"):
        print(f"\n{since.replace('_', ' ')[:-2]:20}" + "".join(f"{case:>16}" for case in cases))
        for name in [*_SMALL, _LARGE]:
            medians_s = {
                case: statistics.median(getattr(each, since) for each in took[name])
                for case, took in cases.items()
                if took[name]
            }
            alone_s = medians_s.get("alone")
            print(f"{name:20}" + "".join(_cell(medians_s.get(case), alone_s) for case in cases))


def _cell(median_s: float | None, alone_s: float | None) -> str:
    if median_s is None:
        return " " * 16
    ratio = f"{median_s / alone_s:6.2f}" if alone_s else " " * 6
    return f"{median_s:8.2f}s{ratio} "


def _publish(directory: Path, small: int, large: int) -> None:
    for name in _ALL:
        files = large if name == _LARGE else small
        repository = Stratum0Repository(directory / "root" / "cvmfs", Fqrn(name))
        source = SyntheticSource(files, max(1, files // _FILES_A_CATALOG), _MEDIAN_BYTES)
        with repository.locked():
            keys = PublisherKeys.load_or_make(directory / "keys", Fqrn(name))
            Publication(repository, keys, PublicationOptions()).run(source)


@contextmanager
def _origin(directory: Path) -> Iterator[int]:
    """A server of all of them; gives its port."""
    port = 20_000 + os.getpid() % 10_000
    config = directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off;\n"
        f"pid {directory}/pid; error_log {directory}/log;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; sendfile on; keepalive_requests 100000000;\n"
        f"server {{ listen 127.0.0.1:{port}; root {directory}/root; }} }}\n"
    )
    with subprocess.Popen(["nginx", "-c", config, "-p", directory]) as server:
        time.sleep(1.0)
        try:
            yield port
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
