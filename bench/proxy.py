"""Proxies: hits, misses and stampedes beside squid, nginx, varnish and trafficserver.

    python bench/proxy.py                                    every case
    python bench/proxy.py --cases misses --rounds 5 --json results.json
    python bench/proxy.py --cases --json results.json --readme    the tables of what is in there

memory, disk: 20,000 objects, median 8 KB, each of them asked for before. disk keeps nothing in
memory, where the proxy has a say in it; all read from the page cache then. misses: each object is
asked for once, of a proxy that was just started. misses-disk: the same, and kept on a disk too.

A proxy has one core; wrk and the origin share the other. Rounds are interleaved, medians are shown.
Names of objects are the hashes of their bytes: ours verifies all it fetches or reads from a disk.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.objects import Objects, usual_sizes
from bench.proxies import NGINX, SQUID, Kind, Plan, kinds
from bench.proxying import Proxying, load, save
from bench.report import Machine, put_into_readme
from bench.serve import _cores, _raise_limit, _remove
from bench.servers import Server, Setup, free_port, running
from bench.wrk import Wrk

CASES = "memory", "disk", "misses", "misses-disk"
FORMS = "reverse", "forward"
_CONNECTIONS = 64, 512
_LONGEST_S = 60
_WARMING = 4000
"""Objects that are asked for before misses are measured: who begins has connections to open."""


def main() -> None:
    """Serve, ask, print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    options = _parser().parse_args()
    if shutil.which("wrk") is None or shutil.which(NGINX) is None or len(_cores()) < 2:
        sys.exit("this needs wrk and nginx on PATH, and two cores")
    _raise_limit()
    machine = str(Machine.here())
    results = load(options.json)
    for name in options.cases:
        with ExitStack() as stack:
            results[name] = Bench(options, stack).run(name, machine)
        print(results[name].table(), flush=True)
        save(options.json, results)
    if options.readme:
        put_into_readme("proxy", "\n".join(each.table() for each in results.values()))


@dataclass(frozen=True, slots=True)
class Asked:
    """A proxy that is up, and how it is asked in either form."""

    server: Server
    forward: Server

    def by(self, form: str) -> Server:
        """Whom to ask."""
        return self.forward if form == "forward" else self.server


class Bench:
    """Directories and origin of one case, which go when the stack is closed."""

    def __init__(self, options: argparse.Namespace, stack: ExitStack) -> None:
        self._options = options
        self._own = _directory(Path("/dev/shm"), stack)
        made = _objects(options, stack)
        self._objects = replace(made, paths=made.paths[_WARMING:])
        self._others = made.paths[:_WARMING]
        serving, asking = _cores()[:2]
        self._core = serving
        self._origin = stack.enter_context(_origin(self._objects, self._own / "origin", asking))
        self._asking = self._wrks(self._objects, asking)
        self._warming = self._wrks(replace(self._objects, paths=self._others), asking)
        self._number = 0

    def run(self, name: str, machine: str) -> Proxying:
        """All rounds of a case."""
        found = Proxying(name, machine, f"{self._objects}")
        is_miss = name.startswith("misses")
        for number in range(self._options.rounds):
            print(f"{name}, round {number + 1}", file=sys.stderr)
            if is_miss:
                self._misses(found, is_on_disk=name.endswith("disk"))
            else:
                self._hits(found, is_on_disk=name == "disk")
        return found

    def _wrks(self, objects: Objects, core: int) -> dict[str, Wrk]:
        """By form."""
        made = {}
        for form, prefix in zip(FORMS, ("", self._origin), strict=True):
            asked = replace(objects, paths=[f"{prefix}{path}" for path in objects.paths])
            directory = _new(self._own)
            made[form] = Wrk(asked, directory, [core])
        return made

    def _hits(self, found: Proxying, *, is_on_disk: bool) -> None:
        for proxy, kind in self._kinds().items():
            with self._proxy(proxy, kind, is_on_disk=is_on_disk) as asked:
                for form in self._options.forms:
                    wrk, server = self._asking[form], asked.by(form)
                    wrk.load(server, 64, _LONGEST_S, is_once=True)
                    for connections in self._options.connections:
                        seen = wrk.load(server, connections, self._options.seconds)
                        found.add(f"{connections} {form}", proxy, seen)

    def _misses(self, found: Proxying, *, is_on_disk: bool) -> None:
        for connections in self._options.connections:
            for form in self._options.forms:
                for proxy, kind in self._kinds().items():
                    with self._proxy(proxy, kind, is_on_disk=is_on_disk) as asked:
                        server = asked.by(form)
                        self._warming[form].load(server, connections, _LONGEST_S, is_once=True)
                        seen = self._asking[form].load(
                            server, connections, _LONGEST_S, is_once=True
                        )
                    found.add(f"{connections} {form}", proxy, seen)

    def _kinds(self) -> Mapping[str, Kind]:
        wanted = self._options.proxies
        return {name: kind for name, kind in kinds().items() if not wanted or name in wanted}

    @contextmanager
    def _proxy(self, name: str, kind: Kind, *, is_on_disk: bool) -> Iterator[Asked]:
        """Start one with an empty cache, and end it."""
        self._number += 1
        place = self._options.directory if is_on_disk else self._own
        with ExitStack() as stack:
            directory = _directory(place, stack) / f"{self._number}"
            setup = Setup(self._objects, directory, free_port(), 1, 0)
            plan = Plan(
                *(directory, setup.port, free_port(), int(self._origin.rpartition(":")[2])),
                *(self._objects.size_bytes * 4 + (64 << 20), is_on_disk),
            )
            server = stack.enter_context(running(name, lambda _: kind(plan), setup, [self._core]))
            port = plan.forward_port if name == SQUID else plan.port
            yield Asked(server, replace(server, url=f"http://127.0.0.1:{port}"))


def _objects(options: argparse.Namespace, stack: ExitStack) -> Objects:
    sizes = usual_sizes(options.objects + _WARMING, 8000, 1_000_000)
    made = Objects.made(_directory(Path("/dev/shm"), stack) / "tree", sizes)
    made.warm()
    return made


@contextmanager
def _origin(objects: Objects, directory: Path, core: int) -> Iterator[str]:
    """nginx, that sends from memory; its URL."""
    setup = Setup(objects, directory, free_port(), 1, 0)
    with running("the origin", _origin_kind, setup, [core]) as server:
        yield server.url


def _origin_kind(setup: Setup) -> list[str | Path]:
    own = setup.directory
    config = own / "nginx.conf"
    config.write_text(
        "user root; worker_processes 1; daemon off; worker_rlimit_nofile 20000;\n"
        f"pid {own}/pid; error_log {own}/log;\nevents {{ worker_connections 8192; }}\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n"
        "open_file_cache max=10000 inactive=1h; open_file_cache_valid 1h;\n"
        "default_type application/octet-stream; etag off;\n"
        f"server {{ listen 127.0.0.1:{setup.port} backlog=4096; root {setup.objects.root};\n"
        'add_header Cache-Control "public, max-age=259200, immutable"; } }\n'
    )
    return [NGINX, "-c", config, "-p", own, "-e", own / "log"]


def _new(place: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=place))


def _directory(place: Path, stack: ExitStack) -> Path:
    path = Path(tempfile.mkdtemp("-bench", dir=place))
    path.chmod(0o755)  # workers may be somebody else
    stack.callback(_remove, path)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add: Callable[..., object] = parser.add_argument
    add("--cases", nargs="*", choices=CASES, default=CASES, metavar="CASE")
    add("--proxies", nargs="*", help="rather than all")
    add("--connections", nargs="*", type=int, default=_CONNECTIONS)
    add("--forms", nargs="*", choices=FORMS, default=FORMS)
    add("--rounds", type=int, default=3)
    add("--seconds", type=int, default=3, help="of each measurement of hits")
    add("--objects", type=int, default=20_000)
    add("--directory", type=Path, default=Path("/var/tmp"), help="on the disk to be measured")
    add("--json", type=Path, help="every round of everything")
    add("--readme", action="store_true", help="put the tables into the README")
    return parser


if __name__ == "__main__":
    main()
