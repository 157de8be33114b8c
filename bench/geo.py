"""The Geo API: requests a second on one core, beside the reference under gunicorn.

    python bench/geo.py --reference DIRECTORY --gunicorn PROGRAM [--rounds 3] [--seconds 4]

DIRECTORY is ``cvmfs/webapi`` of a checkout of cvmfs/cvmfs; its code is loaded from there, and no
part of it is here. PROGRAM is a gunicorn whose Python has ``maxminddb``. Without them only ours is
measured. A thousand clients, each in a network of its own, ask for three servers over and over; a
database of 10,000 networks tells where they are, so nobody needs a resolver. wrk is on one core,
the server on another. Then the same clients name proxies that no resolver ever answers for.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.request import Request, urlopen

from mmdb_writer import MMDBWriter
from netaddr import IPSet  # type: ignore[import-untyped] # it has no types, and no stubs here

from bench.measuring import Command
from bench.servers import free_port

ROOT = Path(__file__).parents[1]
CLIENTS, CONNECTIONS, NETWORKS = 1_000, 64, 10_000
SERVERS = "5.5.5.5,60.7.7.7,90.1.1.1"
OURS, COMPUTED = "cvmfs-mirror", "cvmfs-mirror, each answer computed"


def main() -> None:
    """Measure, and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        _write_database(place / "city.mmdb")
        peers = dict(_peers(place, options))
        rates: dict[str, list[float]] = {name: [] for name in peers}
        for _ in range(options.rounds):
            for name, (command, prefix) in peers.items():
                with _running(command, prefix) as url:
                    rates[name].append(_rate(place, url, options.seconds))
        _show({name: statistics.median(each) for name, each in rates.items()})
        asyncio.run(_without_resolver(place))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reference", type=Path, metavar="DIRECTORY")
    parser.add_argument("--gunicorn", default=shutil.which("gunicorn"), metavar="PROGRAM")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not on PATH")
    return options


def _write_database(path: Path) -> None:
    random = Random(1)
    writer = MMDBWriter(6, "GeoLite2-City", ipv4_compatible=True, float_type="f64")
    for number in range(NETWORKS):
        point = {"latitude": random.uniform(-80, 80), "longitude": random.uniform(-179, 179)}
        network = IPSet([f"{number // 100 + 1}.{number % 100}.0.0/16"])
        writer.insert_network(network, {"location": point})
    writer.to_db_file(str(path))


def _peers(place: Path, options: argparse.Namespace) -> Iterator[tuple[str, tuple[Command, str]]]:
    """By name: the command, to which a port is added, and what stands before ``/v1.0``."""
    for name, answers in ((OURS, "16384"), (COMPUTED, "0")):
        yield name, ([sys.executable, "-c", _LAUNCHER, place / "city.mmdb", answers], _OURS)
    if options.reference is None or options.gunicorn is None:
        print("the reference does not take part: --reference and --gunicorn say where it is")
        return
    (place / "peer.py").write_text(_PEER.format(webapi=str(options.reference), database=str(place)))
    for kind, threads in (("sync", 1), ("gthread", 64)):
        command = [options.gunicorn, "--chdir", place, "--worker-class", kind]
        command += ["--threads", str(threads), "--keep-alive", "75", "peer:application", "--bind"]
        yield f"reference, gunicorn {kind}", (command, "/r")


@contextmanager
def _running(command: Command, prefix: str) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    server = subprocess.Popen(
        ["taskset", "--cpu-list", "0", *command, address], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    url = f"http://{address}{prefix}/v1.0/geo"
    try:
        _require_answer(url)
        yield url
    finally:
        server.terminate()
        server.wait()


def _require_answer(url: str) -> None:
    """The order is the reference's, known beforehand."""
    deadline = time.monotonic() + 20
    request = Request(f"{url}/1.1.0.1/{SERVERS}", headers={"X-Forwarded-For": "1.1.0.1"})
    while True:
        try:
            with urlopen(request) as answer:
                assert answer.read() == b"2,1,3\n"
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _rate(place: Path, url: str, seconds: int) -> float:
    script = place / "wrk.lua"
    script.write_text(_SCRIPT.format(url=url.partition("//")[2].partition("/")[2]))
    rate = 0.0
    for length in (1, seconds):  # the first warms caches
        command = ["taskset", "--cpu-list", "1", "wrk", "-t1", f"-c{CONNECTIONS}"]
        command += [f"-d{length}s", "--script", str(script), url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        if "Non-2xx" in said:
            sys.exit(said)
        rate = float(said.partition("Requests/sec:")[2].split()[0])
    return rate


def _show(rates: dict[str, float]) -> None:
    theirs = max((rate for name, rate in rates.items() if "reference" in name), default=None)
    print("\n| Server | Requests/s | times the reference |\n|---|--:|--:|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} | {f'{rate / theirs:.1f}' if theirs else ''} |")


async def _without_resolver(place: Path) -> None:
    """The clients name proxies for which there never is an answer."""
    command: Command = [sys.executable, "-c", _LAUNCHER, place / "city.mmdb", "16384"]
    with _running(command, _OURS) as url:
        host, _, port = url.split("/")[2].partition(":")
        taken: list[float] = []

        async def client(numbers: Sequence[int]) -> None:
            reader, writer = await asyncio.open_connection(host, int(port))
            for number in numbers:
                began = time.perf_counter()
                path = f"{_OURS}/v1.0/geo/p{number % CLIENTS}.never.example/{SERVERS}"
                address = f"{number % 100 + 1}.{number // 100 % 10}.0.1"
                writer.write(
                    f"GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n\r\n".encode()
                )
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                await reader.readuntil(b"\n")
                taken.append(time.perf_counter() - began)
            writer.close()

        count = 50 * CLIENTS
        await asyncio.gather(
            *(client(range(each, count, CONNECTIONS)) for each in range(CONNECTIONS))
        )
    p50, p99 = (statistics.quantiles(taken, n=100)[each] * 1e3 for each in (49, 98))
    late = sum(each > 1 for each in taken)
    print(
        f"\nA resolver that never answers, {CLIENTS:,} proxies' names, {count:,} requests, all "
        f"answered: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(taken):.2f} s; "
        f"{late} took more than a second."
    )


_OURS = "/cvmfs/software.example.org/api"
_LAUNCHER = """
import asyncio, sys
from pathlib import Path
from mirror.geo.limits import GeoLimits
from mirror.geo.options import GeoOptions
from mirror.geo.setting_up import Geo
from mirror.serve.app import create_app
from mirror.serve.geo import Answers, GeoGate, GeoRoute
from mirror.serve.ledger import COUNTERS, Ledger
from mirror.serve.listening import listening
from mirror.serve.running import Worker
from mirror.serve.tree import Tree

async def never(name):
    await asyncio.Event().wait()

async def main(database, answers, address):
    host, _, port = address.partition(":")
    ledger = Ledger(memoryview(bytearray(8 * COUNTERS)).cast("Q"), lambda now, records: None)
    gate = GeoGate(Tree(Path("/nonexistent")), ledger)
    geo = Geo(GeoOptions((Path(database),)), never)
    if answers != "0":
        gate.answers = Answers(geo, GeoLimits(answers=int(answers)))
    worker = Worker(gate, lambda it: create_app(it, GeoRoute(geo, it).add_to))
    with listening([(host, int(port))]) as sockets:
        await worker.start([(each, None) for each in sockets])
        await asyncio.Event().wait()

asyncio.run(main(*sys.argv[1:]))
"""
_PEER = """
import runpy, sys
sys.path.insert(0, {webapi!r})
import cvmfs_geo
cvmfs_geo.gidb = {database!r} + "/city.mmdb"
application = runpy.run_path({webapi!r} + "/cvmfs-api.wsgi")["application"]
"""
_SCRIPT = """
local count = 0
function request()
   count = count + 1
   local address = string.format("%d.%d.0.1", count % 100 + 1, math.floor(count / 100) % 10)
   return wrk.format("GET", "/{url}/" .. address .. "/5.5.5.5,60.7.7.7,90.1.1.1",
      {{["X-Forwarded-For"] = address}})
end
"""

if __name__ == "__main__":
    main()
