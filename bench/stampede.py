"""A thousand clients want the same two hundred objects, that no proxy has yet: how long it takes.

    python bench/stampede.py --rounds 3

The mirror answers 50 ms after it was asked, and counts. All clients ask for all objects, each in an
order of its own or all in the same order, one after the other on one connection. The proxy has one
core, clients and mirror share the other. Clients count bytes; that they are right is for tests.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.objects import Objects, usual_sizes
from bench.proxies import Plan, kinds
from bench.proxy import _directory
from bench.report import markdown
from bench.serve import _cores, _raise_limit
from bench.servers import Setup, free_port, running

DELAY_S = 0.05
ORDERS = "shuffled", "same"
_END = b"\r\n\r\n"
_PIECE_BYTES = 1 << 20


def main() -> None:
    """Ask everybody in turn, print."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=200)
    options = parser.parse_args()
    _raise_limit()
    seen: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for _ in range(options.rounds):
        for name in kinds():
            for order in ORDERS:
                found = _stampede(name, order, options)
                print(name, order, *found, file=sys.stderr)
                seen.setdefault((order, name), []).append(found)
    rows = [[*key, *_cells(found)] for key, found in sorted(seen.items())]
    print(markdown(("Order", "Proxy", "Seconds", "Upstream fetches"), rows, words=2))


def _cells(found: Sequence[tuple[float, int]]) -> list[str]:
    seconds, fetches = zip(*found, strict=True)
    return [f"{statistics.median(seconds):.2f}", str(max(fetches))]


def _stampede(name: str, order: str, options: argparse.Namespace) -> tuple[float, int]:
    """How long it took, and how often the mirror was asked."""
    serving, asking = _cores()[:2]
    with ExitStack() as stack:
        own = _directory(Path("/dev/shm"), stack)
        objects = Objects.made(own / "tree", usual_sizes(options.objects, 8000, 200_000))
        port = free_port()
        mirror = stack.enter_context(_mirror(own, port, asking))
        setup = Setup(objects, own / "proxy", free_port(), 1, 0)
        plan = Plan(own / "proxy", setup.port, free_port(), port, 1 << 30)
        # one object is asked for to see that it is up: another one than those that count
        up = replace(setup, objects=replace(objects, paths=objects.paths[:1]))
        stack.enter_context(running(name, lambda _: kinds()[name](plan), up, [serving]))
        (own / "paths").write_text("\n".join(objects.paths[1:]))
        command = ["taskset", "-c", str(asking), sys.executable, __file__]
        done = subprocess.run(
            [*command, "ask", str(setup.port), str(options.connections), order, own / "paths"],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        mirror.send_signal(signal.SIGTERM)
        assert mirror.stdout is not None
        return float(done.stdout), int(mirror.stdout.read()) - 1


@contextmanager
def _mirror(own: Path, port: int, core: int) -> Iterator[subprocess.Popen[str]]:
    command = ["taskset", "-c", str(core), sys.executable, __file__, "mirror", str(port)]
    with subprocess.Popen([*command, own / "tree"], stdout=subprocess.PIPE, text=True) as program:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            yield program
        finally:
            program.terminate()


# --- the mirror -----------------------------------------------------------------------------------


async def _serve(port: int, root: Path) -> None:
    asked = 0
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while True:
            try:
                head = await reader.readuntil(_END)
            except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
                return
            asked += 1
            content = (root / head.split(b" ", 2)[1].decode().lstrip("/")).read_bytes()
            await asyncio.sleep(DELAY_S)
            writer.write(
                b"HTTP/1.1 200 OK\r\nCache-Control: public, max-age=259200\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(content), content)
            )

    async with await asyncio.start_server(answer, "127.0.0.1", port):
        await is_over.wait()
    print(asked)


# --- the clients ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Client:
    """One connection, and what it still wants."""

    connection: socket.socket
    left: list[bytes]
    due_bytes: int = 0

    def ask(self) -> bool:
        """For the next object; False if there is none."""
        if not self.left:
            return False
        self.connection.sendall(self.left.pop())
        self.due_bytes = 0
        return True

    def take(self, piece: bytes) -> bool:
        """Some of an answer; whether that was the last of it."""
        if not piece:
            sys.exit("a connection was closed")
        if not self.due_bytes:
            end = piece.index(_END) + len(_END)
            at = piece[:end].lower().index(b"content-length:") + len(b"content-length:")
            if b" 200 " not in piece[:20]:
                sys.exit(piece[:end].decode("latin-1"))
            self.due_bytes = end + int(piece[at : piece.index(b"\r\n", at)])
        self.due_bytes -= len(piece)
        return not self.due_bytes


def _ask(port: int, count: int, order: str, paths: Sequence[str]) -> None:
    dice = random.Random(count)
    requests = [f"GET {path} HTTP/1.1\r\nHost: mirror\r\n\r\n".encode() for path in paths]
    clients: dict[int, _Client] = {}
    poll = select.epoll()
    for _ in range(count):
        wanted = dice.sample(requests, len(requests)) if order == "shuffled" else list(requests)
        client = _Client(socket.create_connection(("127.0.0.1", port)), wanted)
        clients[client.connection.fileno()] = client
        poll.register(client.connection, select.EPOLLIN)
    began = time.perf_counter()
    for client in clients.values():
        client.ask()
    left = count
    while left:
        for descriptor, _ in poll.poll():
            client = clients[descriptor]
            is_over = client.take(client.connection.recv(_PIECE_BYTES))
            left -= is_over and not client.ask()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["mirror", port, root]:
            asyncio.run(_serve(int(port), Path(root)))
        case ["ask", port, count, order, file]:
            _ask(int(port), int(count), order, Path(file).read_text().split())
        case _:
            main()
