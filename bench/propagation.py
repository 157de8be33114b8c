"""From publication to clients: how long a daemon takes, and what it costs when nothing happens.

    python bench/propagation.py [--publications 100] [--interval 2] [--idle 100] [--seconds 60]

Ten repositories of twenty files, one daemon, everything on tmpfs and on loopback (needs nginx). By
polling: each is published in turn; the time goes from the end of the publication to the first
answer with the new revision at the mirror's port. By a push: it goes from the push, which the
publisher sends then, until it is answered and a client has had the new revision.
Idle: so many unchanged repositories at the intervals of a configuration without any.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.measuring import cpu_s
from bench.peers import CLI
from mirror.cvmfs.fqrn import Fqrn
from mirror.cvmfs.manifest import Manifest
from mirror.stratum0.keys import PublisherKeys
from mirror.stratum0.publishing import Publication, PublicationOptions
from mirror.stratum0.repository import Stratum0Repository
from mirror.stratum0.synthetic import SyntheticSource

_REPOSITORIES = 10
_FILES, _CATALOGS, _MEDIAN_BYTES = 20, 2, 2000
_LOOK_S = 0.002
_PATIENCE_S = 120.0
_TOKEN = secrets.token_hex(32)


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--publications", type=int, default=100)
    parser.add_argument("--interval", type=float, default=2.0, help="of polling, seconds")
    parser.add_argument("--idle", type=int, default=100, help="unchanged repositories")
    parser.add_argument("--seconds", type=float, default=60.0, help="of idling")
    options = parser.parse_args()
    if shutil.which("nginx") is None:
        sys.exit("this needs nginx on PATH")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        directory.chmod(0o755)
        origin = Origin(directory, stack.enter_context(_origin(directory)))
        names = [f"r{number}.example.org" for number in range(_REPOSITORIES)]
        often = f"interval_s = {options.interval}\nslowest_s = {options.interval}\n"
        with _daemon(origin, names, often) as mirror:
            _report("polling", _polled(origin, mirror, names, options.publications))
        with _daemon(origin, names, "interval_s = 86400.0\nslowest_s = 86400.0\n") as mirror:
            _report("push", _pushed(origin, mirror, names, options.publications))
        idle = [f"idle{number}.example.org" for number in range(options.idle)]
        with _daemon(origin, idle, "") as mirror:
            _report_idle(origin, mirror, options.idle, options.seconds)


@dataclass
class Origin:
    """A publisher of any repositories, and the server that has them.

    Attributes:
        directory: of everything.
        port: of the server.
    """

    directory: Path
    port: int
    publications: int = 0

    def publish(self, name: str) -> int:
        """Other bytes in all files; returns the revision."""
        self.publications += 1
        fqrn = Fqrn(name)
        repository = Stratum0Repository(self.directory / "root" / "cvmfs", fqrn)
        source = SyntheticSource(_FILES, _CATALOGS, _MEDIAN_BYTES, seed=self.publications)
        with repository.locked():
            keys = PublisherKeys.load_or_make(self.directory / "keys", fqrn)
            Publication(repository, keys, PublicationOptions()).run(source)
            manifest = repository.manifest()
        assert manifest is not None
        return manifest.revision

    @property
    def requests(self) -> int:
        """How many the server has answered."""
        return len((self.directory / "access").read_bytes().splitlines())


@dataclass
class Mirror:
    """A daemon that runs."""

    pid: int
    port: int

    def revision(self, name: str) -> int:
        """That clients get; -1 for none."""
        status, raw = self._ask("GET", f"/cvmfs/{name}/.cvmfspublished")
        return Manifest.parse(raw).revision if status == 200 else -1

    def push(self, name: str) -> None:
        """And wait for its end."""
        path = f"/api/v1/repositories/{name}/snapshot?wait=60"
        status, raw = self._ask("POST", path)
        if status != 200 or json.loads(raw)["outcome"] != "done":
            sys.exit(f"a push was answered {status}: {raw.decode()}")

    def wait_for(self, name: str, revision: int) -> None:
        """Until clients get it."""
        ends = time.monotonic() + _PATIENCE_S
        while self.revision(name) < revision:
            if time.monotonic() > ends:
                sys.exit(f"{name}: revision {revision} never came")
            time.sleep(_LOOK_S)

    def _ask(self, method: str, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_S)
        connection.request(method, path, headers={"Authorization": f"Bearer {_TOKEN}"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body


def _polled(origin: Origin, mirror: Mirror, names: Sequence[str], count: int) -> list[float]:
    took_s = []
    for number in range(count):
        name = names[number % len(names)]
        revision = origin.publish(name)
        began = time.perf_counter()
        mirror.wait_for(name, revision)
        took_s.append(time.perf_counter() - began)
    return took_s


def _pushed(origin: Origin, mirror: Mirror, names: Sequence[str], count: int) -> list[float]:
    took_s = []
    for number in range(count):
        name = names[number % len(names)]
        revision = origin.publish(name)
        began = time.perf_counter()
        mirror.push(name)
        mirror.wait_for(name, revision)
        took_s.append(time.perf_counter() - began)
    return took_s


def _report(case: str, took_s: Sequence[float]) -> None:
    ordered = sorted(took_s)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    median = statistics.median(ordered)
    figures = f"median {median:.3f} s, p99 {p99:.3f} s, most {ordered[-1]:.3f} s"
    print(f"{case}: {len(ordered)} publications: {figures}", flush=True)


def _report_idle(origin: Origin, mirror: Mirror, count: int, seconds: float) -> None:
    requests, used_s = origin.requests, cpu_s([mirror.pid])
    own_s = _own_cpu_s(mirror.pid)
    time.sleep(seconds)
    per_minute = 60 / seconds
    asked = (origin.requests - requests) * per_minute
    used_s, own_s = cpu_s([mirror.pid]) - used_s, _own_cpu_s(mirror.pid) - own_s
    print(
        f"idle: {count} repositories: {asked:.0f} requests a minute; processor time a minute: "
        f"{own_s * per_minute:.2f} s of the daemon, {used_s * per_minute:.2f} s with its workers"
    )


def _own_cpu_s(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _daemon(origin: Origin, names: Sequence[str], run: str) -> Iterator[Mirror]:
    """One of its own storage that has all of these."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        directory, port = Path(place), origin.port + 1
        revisions = {name: origin.publish(name) for name in names}
        (directory / "tokens").touch(0o600)
        (directory / "tokens").write_text(f"{_TOKEN}\n")
        config = directory / "mirror.toml"
        config.write_text(
            f'[storage]\npath = "{place}/srv"\nspool = "{place}/spool"\n'
            f'[serve]\nlisten = ["127.0.0.1:{port}"]\n'
            f'[run]\ntokens = "{place}/tokens"\n{run}'
            + "".join(
                f'[[replica]]\nname = "{name}"\nkeys = "{origin.directory}/keys/{name}.pub"\n'
                f'stratum0 = "http://127.0.0.1:{origin.port}/cvmfs/{name}"\n'
                for name in names
            )
        )
        with (
            (directory / "log").open("wb") as log,
            subprocess.Popen([CLI, "--config", config, "run"], stderr=log) as process,
        ):
            try:
                mirror = Mirror(process.pid, port)
                _wait_for_port(process, directory / "log", port)
                for name, revision in revisions.items():
                    mirror.wait_for(name, revision)
                yield mirror
            finally:
                process.terminate()


def _wait_for_port(process: subprocess.Popen[bytes], log: Path, port: int) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < ends:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    sys.exit(f"the daemon does not serve\n{log.read_text()}")


@contextmanager
def _origin(directory: Path) -> Iterator[int]:
    """A server of all of them; gives its port."""
    port = 20_000 + os.getpid() % 10_000
    config = directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off;\n"
        f"pid {directory}/pid; error_log {directory}/log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log {directory}/access; sendfile on; keepalive_requests 100000000;\n"
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
