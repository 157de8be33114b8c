"""The Geo API over HTTP: the reference's bytes, never a 500, the same from memory as anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.geo.options import GeoOptions
from mirror.serve.content import Outcome
from mirror.serve.ledger import COUNTERS, position
from mirror.serve.resources import Kind
from tests.support.geo_reference import reference
from tests.support.geo_requests import Requests
from tests.support.geo_served import geo_worker
from tests.support.geo_world import small_world, write_database
from tests.support.supervised import supervised

CERN = "128.142.0.1"
PATH = "/r/v1.0/geo/x/ihep.example.org,cern.example.org,fnal.example.org"
Ask = Callable[..., Awaitable[tuple[int, dict[str, str], bytes]]]


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> GeoOptions:
    """The small world, the host of the tests included."""
    path = tmp_path_factory.mktemp("geo") / "city.mmdb"
    write_database(path, small_world().networks)
    return GeoOptions((path,))


def over_one_connection(
    options: GeoOptions, work: Callable[[Ask], Awaitable[None]], counters: memoryview | None = None
) -> None:
    """Run questions of one client."""

    async def run() -> None:
        resolve = small_world().resolve
        async with geo_worker(Path("/nonexistent"), options, resolve, counters) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)

            async def ask(
                path: str, headers: dict[str, str] | None = None, line: str = "GET {} HTTP/1.1"
            ) -> tuple[int, dict[str, str], bytes]:
                nonlocal reader, writer
                target = "/cvmfs/" + quote(path.removeprefix("/"), encoding="latin-1", safe="/,:+")
                lines = [line.format(target), "Host: x"]
                lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                status, *fields = head.split("\r\n")[:-2]
                told = dict(each.split(": ", 1) for each in fields)
                length = 0 if line.startswith("HEAD") else int(told["Content-Length"])
                body = await reader.readexactly(length)
                if told.get("Connection") == "close" or line.endswith("1.0"):
                    writer.close()
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                return int(status.split()[1]), told, body

            try:
                await work(ask)
            finally:
                writer.close()

    asyncio.run(run())


def api(path: str) -> str:
    """Where a path of the reference is on our port."""
    _, repository, rest = path.split("/", 2)
    return f"/{repository}/api/{rest}"


def test_random_requests_asked_three_times(options: GeoOptions) -> None:
    """Parsed by aiohttp, remembered, from memory: one answer, and it is the contract's."""
    world, random = small_world(), Random(3)
    requests = Requests(world, seed=4)

    async def work(ask: Ask) -> None:
        count = 0
        while count < 400:
            asked = requests.next()
            headers = {name: value.strip() for name, value in asked.headers.items()}
            if not asked.path.startswith("/r/v") or "\0" in asked.path or not all(headers.values()):
                continue
            count += 1
            status, text, max_age_s = reference(asked.path, headers, "127.0.0.1", world)
            answers = [await ask(api(asked.path), headers) for _ in range(3)]
            for told_status, told, body in answers:
                assert (told_status, body.decode()) == (status, text), asked
                assert told["Cache-Control"] == f"max-age={max_age_s}"
                assert told["Content-Type"] == "text/plain"
            assert len({tuple(told.items())[1:] for _, told, _ in answers}) == 1
            if random.random() < 0.2:
                _, told, body = await ask(api(asked.path), headers, "HEAD {} HTTP/1.1")
                assert (told["Content-Length"], body) == (str(len(text.encode())), b"")

    over_one_connection(options, work)


@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=30)), max_size=8))
def test_nothing_gives_500(options: GeoOptions, questions: list[tuple[str, str]]) -> None:
    """Whatever stands in the path and in the headers."""

    async def work(ask: Ask) -> None:
        for path, header in questions:
            text = "".join(each for each in header if each.isprintable() and each < "\x7f")
            headers = {"X-Forwarded-For": text, "CF-Connecting-IP": text[::-1]}
            raw = path.encode("utf-8", "replace").decode("latin-1")
            for where in (f"/r/api/v1.0/geo/{raw}", f"/r/api/v1.0/geo/x/{raw}", f"/r/api/{raw}"):
                status, _, _ = await ask(where, headers)
                assert status in {200, 400}, where

    over_one_connection(options, work)


def test_an_answer_from_memory_is_only_for_who_asked(options: GeoOptions) -> None:
    """Other headers, other methods and other versions of HTTP are other questions."""

    async def work(ask: Ask) -> None:
        asked = api(PATH)
        for _ in range(3):
            for address, expected in ((CERN, b"2,3,1\n"), ("202.122.32.9", b"1,2,3\n")):
                assert (await ask(asked, {"X-Forwarded-For": address}))[2] == expected
            _, told, nothing = await ask(asked, {"X-Forwarded-For": CERN}, "HEAD {} HTTP/1.1")
            assert (told["Content-Length"], nothing) == ("6", b"")
            line = "GET {} HTTP/1.0"
            _, told, body = await ask(asked, {"X-Forwarded-For": CERN}, line)
            assert body == b"2,3,1\n"

    over_one_connection(options, work)


def test_what_is_counted(options: GeoOptions) -> None:
    """All under geo; what was answered without a database is told apart."""
    for where, path, outcome in (
        (options, PATH, Outcome.HIT_MEMORY),
        (options, "/r/v1.0/geo/x/unknown.example.org", Outcome.ERROR),
        (GeoOptions(), PATH, Outcome.BYPASS),
    ):
        counters = memoryview(bytearray(8 * COUNTERS)).cast("Q")

        async def work(ask: Ask, path: str = path) -> None:
            for _ in range(3):
                await ask(api(path), {"X-Forwarded-For": CERN})

        over_one_connection(where, work, counters)
        assert counters[position(Kind.GEO, outcome)] == 3
        assert sum(counters[::2]) == 3


def test_a_new_database_counts_at_once(tmp_path: Path) -> None:
    """Remembered answers are of the database they were made from."""
    path = tmp_path / "city.mmdb"
    networks = small_world().networks
    write_database(path, networks)

    async def work(ask: Ask) -> None:
        headers = {"X-Forwarded-For": CERN}
        for _ in range(3):
            assert (await ask(api(PATH), headers))[2] == b"2,3,1\n"
        write_database(path, networks | {"128.142.0.0/16": (39.0, 116.0)})
        async with asyncio.timeout(10):
            while (await ask(api(PATH), headers))[2] != b"2,1,3\n":  # noqa: ASYNC110 - it is asked
                await asyncio.sleep(0.01)

    over_one_connection(GeoOptions((path,), look_every_s=0.01), work)


def test_the_program_serves_it(tmp_path: Path, options: GeoOptions) -> None:
    """`cvmfs-mirror serve` answers from what [geo] says."""
    table = f'workers = 1\n[geo]\ndatabases = ["{options.databases[0]}"]'
    with supervised(tmp_path, table) as server:
        servers = f"202.122.32.9,{CERN},131.225.0.9"
        url = f"{server.url}/cvmfs/any.example.org/api/v1.0/geo/x/{servers}"
        for address, expected in ((CERN, b"2,3,1\n"), ("131.225.0.1", b"3,2,1\n")) * 3:
            with urlopen(Request(url, headers={"X-Forwarded-For": address})) as answer:
                assert answer.read() == expected
