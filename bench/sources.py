"""First snapshots from three good sources, and from a dead, a slow and a lying one.

    python bench/sources.py [--files 60000] [--rounds 3] [--cache DIR]

The liar has other bytes under the names of one object in ten. The slow one works a tenth of a
second on each answer, one after the other on each connection, and takes little of the machine for
it. Nobody listens at the dead one. Rounds are interleaved; medians and the ratio are shown.
Everything is on tmpfs and on loopback.
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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.corpora import FQRN, Corpus, Plan, objects
from bench.measuring import measured
from bench.peers import CLI

_FILES_A_CATALOG = 500
_SLOW_S = 0.1
_DEAD = 1  # a port at which nobody listens


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    if shutil.which("nginx") is None:
        sys.exit("this needs nginx on PATH")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        plan = Plan(options.files, max(1, options.files // _FILES_A_CATALOG), 2000, revisions=1)
        corpus = Corpus.made(plan, options.cache or directory)
        ports = stack.enter_context(_servers(directory, corpus))
        cases = {"three good": ports["good"], "dead, slow, lying": ports["bad"]}
        walls: dict[str, list[float]] = {name: [] for name in cases}
        for number in range(options.rounds):
            for name, sources in cases.items():
                walls[name].append(_snapshot(directory / f"{number} {name}", corpus, sources))
        _report(corpus, walls)


def _snapshot(directory: Path, corpus: Corpus, ports: Sequence[int]) -> float:
    """Seconds for a first snapshot from these; it has to be complete."""
    directory.mkdir()
    first, *others = [f"http://127.0.0.1:{port}/cvmfs/{FQRN}" for port in ports]
    config = directory / "mirror.toml"
    config.write_text(
        f'[storage]\npath = "{directory}/srv"\nspool = "{directory}/spool"\n'
        f'[[replica]]\nname = "{FQRN}"\nkeys = "{corpus.key}"\nstratum0 = "{first}"\n'
        f"mirrors = {others}\n"
    )
    measure = measured([CLI, "--config", config, "snapshot"], directory)
    if objects(directory / "srv" / FQRN.name).keys() != objects(corpus.revision(1)).keys():
        sys.exit(f"{directory} is not complete")
    return measure.wall_s


def _report(corpus: Corpus, walls: dict[str, list[float]]) -> None:
    good_s, bad_s = (statistics.median(each) for each in walls.values())
    print(f"{corpus.objects:,} objects; medians of {len(walls['three good'])} rounds")
    print(f"three good sources   {good_s:.2f} s  1.00")
    print(f"dead, slow, lying    {bad_s:.2f} s  {bad_s / good_s:.2f}")


@contextmanager
def _servers(directory: Path, corpus: Corpus) -> Iterator[dict[str, list[int]]]:
    """All servers, by ports; Stratum 0 first, which is the dead one of the bad."""
    base = 20_000 + os.getpid() % 10_000
    right, wrong = directory / "right", directory / "wrong"
    for tree in (right, wrong):
        (tree / "cvmfs").mkdir(parents=True)
    (right / "cvmfs" / FQRN.name).symlink_to(corpus.revision(1))
    _copy_with_lies(corpus.revision(1), wrong / "cvmfs" / FQRN.name)
    roots = [right, right, right, wrong]
    slow = base + len(roots)
    with ExitStack() as stack:
        commands: list[list[str | Path]] = [
            ["nginx", "-c", _nginx(directory, base, roots), "-p", directory],
            [sys.executable, "-c", _SLOW, right, str(slow), str(_SLOW_S)],
        ]
        for command in commands:
            server = stack.enter_context(subprocess.Popen(command))
            stack.callback(server.terminate)
        time.sleep(1.0)
        yield {"good": [base, base + 1, base + 2], "bad": [_DEAD, slow, base + 3]}


def _copy_with_lies(tree: Path, target: Path) -> None:
    """One data object of ten has other bytes; the rest are links."""
    subprocess.run(["cp", "--recursive", "--link", f"{tree}/.", target], check=True)
    for path in (target / "data").glob("[0-9a-f][0-9a-f]/*"):
        if path.name.endswith(tuple("0123456789abcdef")) and int(path.name[:6], 16) % 10 == 0:
            lie = bytes(path.stat().st_size)
            path.unlink()
            path.write_bytes(lie)


def _nginx(directory: Path, base: int, roots: Sequence[Path]) -> Path:
    config = directory / "nginx.conf"
    servers = "".join(
        f"server {{ listen 127.0.0.1:{base + number}; root {root}; }}\n"
        for number, root in enumerate(roots)
    )
    config.write_text(
        f"{'user root;' if os.geteuid() == 0 else ''} worker_processes 1; daemon off;\n"
        f"pid {directory}/pid; error_log {directory}/log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; sendfile on; keepalive_requests 100000000;\n{servers}}}\n"
    )
    return config


_SLOW = """
import asyncio, sys
class Slow(asyncio.Protocol):
    rest = b""
    def connection_made(self, transport):
        self.transport, self.due = transport, 0.0
    def data_received(self, data):
        *heads, self.rest = (self.rest + data).split(b"\\r\\n\\r\\n")
        loop = asyncio.get_running_loop()
        for head in heads:
            self.due = max(self.due, loop.time()) + float(sys.argv[3])  # one after the other
            loop.call_at(self.due, self.answer, head.split(b" ", 2)[1].decode())
    def answer(self, path):
        try:
            with open(sys.argv[1] + path, "rb") as file:
                status, body = b"200 OK", file.read()
        except OSError:
            status, body = b"404 Not Found", b""
        head = b"HTTP/1.1 %b\\r\\nContent-Length: %d\\r\\n\\r\\n"
        self.transport.write(head % (status, len(body)) + body)
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Slow, "127.0.0.1", int(sys.argv[2]))
    await server.serve_forever()
asyncio.run(main())
"""


if __name__ == "__main__":
    main()
