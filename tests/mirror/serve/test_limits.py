"""What a client may take: time, connections, requests; and that others do not notice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mirror.serve.limits import ServeLimits
from tests.support.served import served

SMALL = f"/cvmfs/test.example.org/data/ab/{'0' * 38}"
LARGE = f"/cvmfs/test.example.org/data/ab/{'1' * 38}"
LARGE_BYTES = 64 * 1024 * 1024
HOST = b"Host: mirror\r\n\r\n"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small object and one that fits into no buffer."""
    storage = tmp_path_factory.mktemp("srv")
    data = storage / "test.example.org" / "data" / "ab"
    data.mkdir(parents=True)
    (data / ("0" * 38)).write_bytes(b"small")
    with (data / ("1" * 38)).open("wb") as file:
        file.truncate(LARGE_BYTES)
    return storage


@contextmanager
def serving(storage: Path, limits: ServeLimits) -> Iterator[tuple[str, int]]:
    """A server with these limits; gives its address."""
    with served(storage, limits) as url:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        yield parts.hostname, parts.port


def connected(address: tuple[str, int]) -> socket.socket:
    """A client."""
    return socket.create_connection(address, timeout=60)


def get(path: str) -> bytes:
    """A plain request."""
    return b"GET %s HTTP/1.1\r\n%s" % (path.encode(), HOST)


def answer(client: socket.socket, count: int = 1) -> bytes:
    """So many small answers, headers and all."""
    received = b""
    while received.count(b"\r\n\r\nsmall") < count:
        piece = client.recv(65536)
        assert piece, received
        received += piece
    return received


def rest(client: socket.socket) -> int:
    """How many bytes come before the end."""
    count = 0
    try:
        while piece := client.recv(1 << 20):
            count += len(piece)
    except ConnectionResetError:
        pass  # an end, too
    return count


@pytest.mark.parametrize("said", [b"", b"GET /cvm", get(SMALL)[:-2], b"X", b"POST /"])
def test_headers_that_never_end(storage: Path, said: bytes) -> None:
    """The connection is closed, and nothing is answered."""
    with serving(storage, ServeLimits(header_s=0.01)) as address, connected(address) as client:
        client.sendall(said)
        assert rest(client) == 0


def test_dripping_headers(storage: Path) -> None:
    """Each further byte gives no further time."""
    request = b"GET /%s" % (b"x" * 3000)
    with serving(storage, ServeLimits(header_s=0.5)) as address, connected(address) as client:
        client.settimeout(0.02)
        ended = False
        for byte in request:
            try:
                client.sendall(bytes([byte]))
                ended = client.recv(1) == b""
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                ended = True
            if ended:
                break
        assert ended


@pytest.mark.parametrize("count", [1, 2, 3])
def test_idle_connections(storage: Path, count: int) -> None:
    """They are closed, whoever answered last."""
    with serving(storage, ServeLimits(idle_s=0.01)) as address, connected(address) as client:
        client.sendall(get(SMALL) * count)
        answer(client, count)
        assert rest(client) == 0


def test_stalled_clients(storage: Path) -> None:
    """Who does not read is cut off; who reads at the same time is not."""
    limits = ServeLimits(stalled_s=0.2)
    with serving(storage, limits) as address, connected(address) as stalled:
        stalled.sendall(get(LARGE))
        with connected(address) as reading:
            reading.sendall(get(LARGE))
            count = 0
            while count < LARGE_BYTES:
                count += len(reading.recv(1 << 20))
            until_cut_off(address, stalled)
        assert rest(stalled) < LARGE_BYTES


def until_cut_off(address: tuple[str, int], stalled: socket.socket) -> None:
    """Ask for other things until the server has ended the connection."""
    with connected(address) as client:
        while True:
            client.sendall(get(SMALL))
            answer(client)
            state = stalled.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state != 1:  # no longer established
                return


@pytest.mark.parametrize(
    "limits", [ServeLimits(connections=3), ServeLimits(connections_per_address=3)]
)
def test_connections(storage: Path, limits: ServeLimits) -> None:
    """One too many is told so and to come back; when one has gone there is room again."""
    with serving(storage, limits) as address, ExitStack() as opened:
        clients = [opened.enter_context(closing(connected(address))) for _ in range(3)]
        for client in clients:
            client.sendall(get(SMALL))
            answer(client)
        with connected(address) as client:
            said = client.recv(65536)
            assert said.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Retry-After: " in said
            assert b"Cache-Control: no-store" in said
        clients[0].close()
        while True:
            with connected(address) as client:
                client.sendall(get(SMALL))
                if client.recv(65536).startswith(b"HTTP/1.1 200 OK"):
                    return


def test_requests(storage: Path) -> None:
    """The last answer on a connection says so."""
    with serving(storage, ServeLimits(requests=4)) as address, connected(address) as client:
        for number in range(4):
            client.sendall(get(SMALL))
            assert (b"Connection: close" in answer(client)) == (number == 3)
        assert rest(client) == 0


def test_long_lines_and_many_headers(storage: Path) -> None:
    """They are refused with a clear status."""
    limits = ServeLimits(line_bytes=500, headers=10)
    long_line = b"GET /%s HTTP/1.1\r\n%s" % (b"x" * 600, HOST)
    many = b"GET /cvmfs/ HTTP/1.1\r\n%s%s" % (b"X-A: b\r\n" * 11, HOST)
    with serving(storage, limits) as address:
        for request in (long_line, many):
            with connected(address) as client:
                client.sendall(request)
                assert b" 400 Bad Request\r\n" in client.recv(65536)
