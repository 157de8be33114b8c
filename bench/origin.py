"""The origin that all peers of a case fetch from: nginx, else this project's own server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.corpora import FQRN, Corpus
from bench.link import Route

_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Origin:
    """A server that is up.

    Attributes:
        url: of the repository.
        how: what serves, and how far away it is.
        corpus: what can be served.
        route: from the peers to it.
        servers: its processes and those of the route.
        link: names the revision that is served.
    """

    url: str
    how: str
    corpus: Corpus
    route: Route
    servers: tuple[int, ...]
    link: Path

    def serve(self, revision: int) -> None:
        """Let this revision be the current one."""
        fresh = self.link.with_suffix(".new")
        fresh.symlink_to(self.corpus.revision(revision))
        fresh.replace(self.link)


@contextmanager
def origin(corpus: Corpus, route: Route) -> Iterator[Origin]:
    """Serve a corpus at the far end of a route."""
    with tempfile.TemporaryDirectory() as name:
        link = Path(name) / "cvmfs" / FQRN.name
        link.parent.mkdir()
        link.symlink_to(corpus.revision(1))
        port = 18_000 + os.getpid() % 10_000
        how, command = _server(Path(name), route.address, port)
        with subprocess.Popen([*route.server, *command]) as server:
            try:
                trip_ms = _wait_for(server, route, port)
                yield Origin(
                    f"http://{route.address}:{port}/cvmfs/{FQRN}",
                    f"{how}; {route.how}, round trip {trip_ms:.2f} ms",
                    corpus,
                    route,
                    (server.pid, *route.helpers),
                    link,
                )
            finally:
                server.terminate()


def _wait_for(server: subprocess.Popen[bytes], route: Route, port: int) -> float:
    """The round trip, once the server answers."""
    deadline = time.monotonic() + _PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            return route.round_trip_ms(port)
        except subprocess.CalledProcessError:
            time.sleep(0.05)
    sys.exit("the origin did not come up")


def _server(directory: Path, address: str, port: int) -> tuple[str, list[str | Path]]:
    if shutil.which("nginx") is None:
        command = [sys.executable, "-c", _OURS, str(directory / "cvmfs"), address, str(port)]
        return "our own server, since there is no nginx", [*command]
    config = directory / "nginx.conf"
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off;\n"
        f"pid {directory}/pid; error_log {directory}/log;\n"
        "events { worker_connections 4096; }\n"
        "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;\n"
        f"server {{ listen {address}:{port}; root {directory}; }} }}\n"
    )
    return "nginx, one worker", ["nginx", "-c", config, "-p", directory]


_OURS = """
import asyncio, sys, pathlib
from mirror.serve.running import serving
async def main():
    async with serving(pathlib.Path(sys.argv[1]), [(sys.argv[2], int(sys.argv[3]))]):
        await asyncio.Event().wait()
asyncio.run(main())
"""
