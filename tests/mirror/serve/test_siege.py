"""What clients that take, send or finish nothing cost the server: a stated amount of memory.

Each slow reader of a large file costs what the kernel holds for it and next to nothing of ours;
each connection some kilobytes. Others are served all the time.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.supervised import CONTENT, OBJECT, Supervised, storage_at, supervised
from tests.support.tasks import until

LARGE = OBJECT[:-1] + "d"
LARGE_BYTES = 16 * 1024 * 1024
EACH_BYTES = 64 * 1024
"""Of one connection, whatever its client does; the bound that README states."""
BASE_BYTES = 16 * 1024 * 1024
"""Of all of them together, beside that: pools of the allocator."""
pytestmark = pytest.mark.soak
IS_SOAK = bool(os.environ.get("CVMFS_MIRROR_SOAK"))


def clients(wanted: int) -> int:
    """So many, or as many as this process may have descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - 500) if IS_SOAK else min(wanted // 5, hard - 500)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    """One worker, so that there is one process to look at."""
    storage = storage_at(tmp_path / "srv")
    with (storage / LARGE.removeprefix("/cvmfs/")).open("wb") as file:
        file.truncate(LARGE_BYTES)
    limits = "[serve.limits]\nconnections = 20_000\nconnections_per_address = 20_000\n"
    with supervised(tmp_path, f'workers = 1\nmemory = "1 MiB"\n{limits}') as server:
        served_meanwhile(server)
        yield server


def memory_bytes(server: Supervised) -> int:
    """What its worker takes that is nobody else's."""
    (worker,) = server.workers()
    rollup = Path(f"/proc/{worker}/smaps_rollup").read_text()
    fields = dict(line.split(":", 1) for line in rollup.splitlines()[1:])
    return sum(int(fields[name].split()[0]) for name in ("Private_Dirty", "Private_Clean")) * 1024


def connect(server: Supervised) -> socket.socket:
    """A client whose kernel takes little for it."""
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(60)
    client.connect((parts.hostname, parts.port))
    return client


def ask(client: socket.socket, path: str) -> None:
    """A plain request."""
    client.sendall(b"GET %s HTTP/1.1\r\nHost: mirror\r\n\r\n" % path.encode())


def served_meanwhile(server: Supervised) -> None:
    """Somebody else gets what they ask for, whole."""
    with connect(server) as client:
        ask(client, OBJECT)
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < len(CONTENT):
            received += client.recv(1 << 20)
        assert received.endswith(CONTENT)


@contextmanager
def besieged(
    server: Supervised, count: int, each: Callable[[socket.socket], None]
) -> Iterator[list[socket.socket]]:
    """So many clients, each of which has done something."""
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(server)) for _ in range(count)]
        for client in opened:
            each(client)
        yield opened


def test_slow_readers(server: Supervised) -> None:
    """They ask for a large file and take a little of it."""
    count = clients(1000)
    before = memory_bytes(server)

    def begin(client: socket.socket) -> None:
        ask(client, LARGE)
        assert client.recv(1024).startswith(b"HTTP/1.1 200 OK")

    with besieged(server, count, begin):
        served_meanwhile(server)
        assert memory_bytes(server) - before < count * EACH_BYTES + BASE_BYTES


def test_half_sent_requests(server: Supervised) -> None:
    """They begin to ask and never end."""
    count = clients(1000)
    before = memory_bytes(server)
    with besieged(server, count, lambda client: client.sendall(b"GET /cvmfs/test.example.org/da")):
        served_meanwhile(server)
        assert memory_bytes(server) - before < count * EACH_BYTES + BASE_BYTES


def test_idle_connections(server: Supervised) -> None:
    """They say nothing at all."""
    count = clients(10_000)
    before = memory_bytes(server)
    with besieged(server, count, lambda _client: None):
        served_meanwhile(server)
        assert memory_bytes(server) - before < count * EACH_BYTES // 4 + BASE_BYTES


def test_aborted_downloads(server: Supervised) -> None:
    """They leave in the middle, over and over; nothing of them stays."""

    def abort() -> None:
        with connect(server) as client:
            ask(client, LARGE)
            client.recv(1024)

    count = clients(10_000)
    for _ in range(count // 4):
        abort()
    before = memory_bytes(server)
    for _ in range(count):
        abort()
    served_meanwhile(server)
    until(lambda: memory_bytes(server) - before < BASE_BYTES)
