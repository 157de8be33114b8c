"""Who serves: the mirror, and whoever of nginx and Apache is on PATH, each at its best.

All of them keep connections open for ever, log every request in the combined format through a
buffer, count requests, and answer with the same headers. None writes outside its own directory.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from bench.measuring import Command
from bench.objects import Objects
from bench.peers import CLI
from mirror.serve_settings import ServeSettings

NGINX = "nginx"
_CACHE_CONTROL = "public, max-age=259200, immutable"
_MODULES = Path("/usr/lib/apache2/modules")
_PATIENCE_S = 20.0
_IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Setup:
    """What a server is to do.

    Attributes:
        objects: to be served.
        directory: for what it has to write.
        port: to listen on.
        workers: processes, where a server has a say in it.
        open_files: to be kept open.
    """

    objects: Objects
    directory: Path
    port: int
    workers: int
    open_files: int


@dataclass(frozen=True, slots=True)
class Server:
    """One that is up."""

    name: str
    url: str
    pid: int

    def require_right(self, objects: Objects) -> None:
        """A server that sends something else was not fast."""
        path = objects.paths[0]
        with urlopen(self.url + path) as answer:
            if answer.read() != (objects.root / path[1:]).read_bytes():
                sys.exit(f"{self.name} sent other bytes")


Kind = Callable[[Setup], Command]


@contextmanager
def running(name: str, kind: Kind, setup: Setup, cores: Sequence[int]) -> Iterator[Server]:
    """Start a server on these cores, and end it."""
    setup.directory.mkdir(mode=0o755)
    command = ["taskset", "--cpu-list", ",".join(map(str, cores)), *kind(setup)]
    with (setup.directory / "said").open("wb") as said:
        program = subprocess.Popen(command, stdout=said, stderr=said)
    try:
        _wait_for(name, program, setup)
        server = Server(name, f"http://127.0.0.1:{setup.port}", program.pid)
        server.require_right(setup.objects)
        yield server
    finally:
        program.terminate()
        try:
            program.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def _wait_for(name: str, program: subprocess.Popen[bytes], setup: Setup) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while program.poll() is None and time.monotonic() < deadline:
        with socket.socket() as tried:
            if not tried.connect_ex(("127.0.0.1", setup.port)):
                return
        time.sleep(0.05)
    sys.exit(f"{name} did not come up\n{(setup.directory / 'said').read_text()}")


def free_port() -> int:
    """One at which nobody listens."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


def from_memory(setup: Setup) -> Command:
    """The mirror, with memory for everything that may be kept there."""
    return _ours(setup, memory_bytes=2 * setup.objects.size_bytes + (64 << 20))


def from_files(setup: Setup) -> Command:
    """The mirror, keeping files open and nothing in memory."""
    return _ours(setup, memory_bytes=0)


def _ours(setup: Setup, memory_bytes: int) -> Command:
    config = setup.directory / "mirror.toml"
    logs = "access_log" in ServeSettings.model_fields
    log = f'[serve.access_log]\npath = "{setup.directory}/access.log"\n' if logs else ""
    config.write_text(
        f'[storage]\npath = "{setup.objects.storage}"\nspool = "{setup.directory}/spool"\n'
        f'[serve]\nlisten = ["127.0.0.1:{setup.port}"]\nworkers = {setup.workers}\n'
        f'memory = "{memory_bytes} B"\nopen_files = {setup.open_files}\n{log}'
    )
    return [CLI, "serve", "--config", config]


def nginx(setup: Setup) -> Command:
    """With all that makes it fast."""
    own, cache = setup.directory, f"max={setup.open_files}"
    config = own / "nginx.conf"
    config.write_text(
        f"{'user root;' if _IS_ROOT else ''} worker_processes {setup.workers}; daemon off;\n"
        f"pid {own}/pid; error_log {own}/error.log;\n"
        "events { worker_connections 4096; }\n"
        "http {\nsendfile on; tcp_nopush on; keepalive_requests 1000000000; server_tokens off;\n"
        f"open_file_cache {cache} inactive=1h; open_file_cache_valid 1h;\n"
        f"access_log {own}/access.log combined buffer=64k flush=1s;\n"
        "default_type application/octet-stream; etag off;\n"
        f"server {{ listen 127.0.0.1:{setup.port} reuseport; root {setup.objects.root};\n"
        f'add_header Cache-Control "{_CACHE_CONTROL}"; add_header Last-Modified "";\n'
        "location = /status { stub_status; } }\n}\n"
    )
    return [NGINX, "-c", config, "-p", own, "-e", own / "error.log"]


def apache(setup: Setup) -> Command:
    """Its event MPM, with threads enough, and files sent by the kernel."""
    own = setup.directory
    modules = "mpm_event", "authz_core", "headers", "status"
    config = own / "apache2.conf"
    config.write_text(
        "".join(f"LoadModule {name}_module {_MODULES}/mod_{name}.so\n" for name in modules)
        + ("User www-data\nGroup www-data\n" if _IS_ROOT else "")
        + f"Listen 127.0.0.1:{setup.port}\nServerName 127.0.0.1\nServerTokens Prod\n"
        f"PidFile {own}/pid\nDefaultRuntimeDir {own}\nErrorLog {own}/error.log\n"
        f'CustomLog {own}/access.log "{_COMBINED}"\nBufferedLogs On\n'
        "KeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 75\n"
        "StartServers 8\nServerLimit 8\nThreadLimit 64\nThreadsPerChild 64\n"
        "MaxRequestWorkers 512\nMaxSpareThreads 512\nAsyncRequestWorkerFactor 8\n"
        "EnableSendfile On\nFileETag None\nForceType application/octet-stream\n"
        f'Header set Cache-Control "{_CACHE_CONTROL}"\nHeader unset Last-Modified\n'
        f'DocumentRoot "{setup.objects.root}"\nExtendedStatus On\n'
        f'<Directory "{setup.objects.root}">\nAllowOverride None\nRequire all granted\n'
        "</Directory>\n<Location /status>\nSetHandler server-status\n</Location>\n"
    )
    return ["apache2", "-d", own, "-f", config, "-DFOREGROUND"]


def there_is_apache() -> bool:
    """And its modules where Debian has them."""
    return shutil.which("apache2") is not None and _MODULES.is_dir()


_COMBINED = r"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""
